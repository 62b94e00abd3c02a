"""Changes one thing at a time in what must not fail, and looks whether a test notices.

python tests/mutants/run.py retention [guards …]

Each name is a table of mutants.toml: a module, the tests that answer for it, and the survivors that
somebody has looked at, with why they change nothing. A clone of HEAD is what is changed. Writes the
figures into docs/mutants.md; ends with 1 where a survivor is not explained. The mutants are
cosmic-ray's, which is installed from requirements/mutation.txt beside the clone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
KNOWN = Path(__file__).with_name("mutants.toml")
DOC = ROOT / "docs" / "mutants.md"
_CONFIG = """\
[cosmic-ray]
module-path = "{module}"
timeout = {seconds}
excluded-modules = []
test-command = "{command}"

[cosmic-ray.distributor]
name = "local"
"""


@dataclass
class Outcome:
    """What became of the mutants of one module; `survived` are their diffs, one line each."""

    killed: int = 0
    survived: list[str] = field(default_factory=list)

    @property
    def mutants(self) -> int:
        return self.killed + len(self.survived)


def main() -> int:
    tables = tomllib.loads(KNOWN.read_text("utf-8"))
    names = sys.argv[1:]
    if not names or not set(names) <= set(tables):
        raise SystemExit(f"{__doc__}\nThere are: {', '.join(tables)}")
    unexplained = 0
    with tempfile.TemporaryDirectory(prefix="biso-mutants-") as place:
        tool = _install(Path(place, "tool"))
        for name in names:
            outcome = mutate(Path(place, name), tool, tables[name])
            known = [one["diff"] for one in tables[name].get("explained", ())]
            new = [one for one in outcome.survived if one not in known]
            unexplained += len(new)
            print(
                f"{name}: {outcome.killed} of {outcome.mutants} noticed, {len(new)} not explained"
            )
            print("\n".join(f"    {one}" for one in new))
            _write(name, outcome, len(new))
    return 1 if unexplained else 0


def mutate(clone: Path, tool: Path, table: dict[str, Any]) -> Outcome:
    """Run the tests of one module against each of its mutants."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *table["tests"]]
    text = _CONFIG.format(
        module=table["module"], seconds=table.get("seconds", 60), command=" ".join(words)
    )
    (clone / "mutants.cfg").write_text(text, "utf-8")
    for verb in (("baseline", "mutants.cfg"), ("init", "mutants.cfg", "s.sqlite"),
                 ("exec", "mutants.cfg", "s.sqlite")):  # fmt: skip
        subprocess.run([str(tool), *verb], cwd=clone, env=_environ(), check=True)
    said = subprocess.run(
        [str(tool), "dump", "s.sqlite"], cwd=clone, check=True, capture_output=True, text=True
    )
    outcome = Outcome()
    for line in said.stdout.splitlines():
        _, result = json.loads(line)
        if result is None or result["worker_outcome"] == "skipped":
            continue
        changed = _changed(result["diff"])
        if _of_annotations(changed):
            continue
        if result["test_outcome"] == "survived":
            outcome.survived.append(" ".join(changed))
        else:
            outcome.killed += 1
    return outcome


def _changed(diff: str) -> list[str]:
    """The lines that were taken out and put in, with a space for each run of them: their numbers
    change with every edit above."""
    lines = [line for line in diff.splitlines() if re.match(r"[+-](?![+-]{2} )", line)]
    return [re.sub(r"\s+", " ", line) for line in lines]


_ANNOTATION = re.compile(r"(?:(?<=\w): |\) -> )[\w, \[\].]+ [^\w ]{1,2} None(?=,?$| = |:$)")


def _of_annotations(changed: list[str]) -> bool:
    """Nothing evaluates them (`from __future__ import annotations`): mypy reads them."""
    before, after = ([_ANNOTATION.sub("", line[1:]) for line in changed if line[0] == sign]
                     for sign in "-+")  # fmt: skip
    return before == after


def _environ() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def _install(place: Path) -> Path:
    venv.create(place, with_pip=True)
    locked = str(ROOT / "requirements/mutation.txt")
    words = ["-m", "pip", "install", "-q", "--require-hashes", "-r", locked]
    subprocess.run([str(place / "bin/python"), *words], check=True)
    return place / "bin/cosmic-ray"


def _write(name: str, outcome: Outcome, new: int) -> None:
    row = (
        f"| {name} | {outcome.mutants} | {outcome.killed} | {len(outcome.survived) - new} | {new} |"
    )
    text = DOC.read_text("utf-8")
    made, count = re.subn(rf"(?m)^\| {re.escape(name)} \|.*$", row, text)
    if not count:
        raise SystemExit(f"{DOC} has no row for {name}")
    DOC.write_text(made, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
