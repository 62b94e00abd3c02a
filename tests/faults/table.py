"""Runs the matrix of faults of one recipe, the tests of faults at no step, or all pairs of
commands, and writes the table of it into docs/fault-matrix.md or docs/reliability.md.

python tests/faults/table.py refresh-test [-n 3]
python tests/faults/table.py refresh-test swap,close-stage [-n 3]   only these rows, the others stay
python tests/faults/table.py others [-n 3]
python tests/faults/table.py pairs [-n 2]
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAIRS = ROOT / "docs" / "reliability.md"
MATRIX = ROOT / "docs" / "fault-matrix.md"
_END = "<!-- end of table -->"
EXCHANGE = "each command of the swap"

COLUMNS = {
    "kill": "SIGKILL", "term": "SIGTERM", "int2": "Ctrl-C twice", "cut": "ssh reset",
    "silent": "link silent", "stall": "silent 20 s", "fail": "command fails",
    "truncate": "output cut short", "hang": "command hangs", "full": "disk full",
    "restart": "PostgreSQL restarts", "crash": "PostgreSQL crashes", "rights": "role locked out",
    "reboot": "host reboots", "clock": "clock set back", "down": "link down",
}  # fmt: skip
"""What befalls a run, by its name in the cases."""
CASE = re.compile(
    rf"(?:(?P<step>.+)-)?(?P<act>{'|'.join(COLUMNS)})-(?P<side>before|middle|after|during|each)"
    r"(?:-(?P<share>\d+of\d+))?(?:-(?P<at>prod|test|here))?-(?:local|ssh)"
)
OF_STEPS = (
    "test_a_fault_at_a_step_leaves_the_old_instance_or_the_complete_new_one",
    "test_a_fault_at_any_verb_of_the_swap_is_put_right_from_another_machine",
    "test_a_fault_in_place_leaves_the_old_instance_or_the_complete_new_one",
    "test_a_backup_that_ends_at_a_step_leaves_no_set_that_is_not_good_and_no_maintenance",
    "test_a_release_that_ends_at_a_step_hands_out_nothing_that_is_not_whole",
    "test_a_piece_is_there_whole_or_not_at_all",
    "test_a_bare_host_has_the_complete_instance_or_is_as_bare_as_it_was",
    "test_what_is_kept_and_what_is_served_are_what_they_were",
    "test_two_at_once_run_or_are_refused_by_name",
)
"""Tests that have tables of their own."""


# Most of a case is waiting for the disk: /tmp and /var/tmp are in memory, for these processes only.
_IN_MEMORY = r"""
root=$1
shift
mount -t tmpfs -o mode=1777 biso-tests /var/tmp
new=/var/tmp/.new
mkdir -m 1777 "$new"
mount -t tmpfs -o mode=1777 biso-tests "$new"
case $root in
  /tmp/*)
    mkdir -p "$new/${root#/tmp/}"
    mount --bind "$root" "$new/${root#/tmp/}" ;;
esac
mount --rbind "$new" /tmp
exec "$@"
"""


def main() -> int:
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    what, *words = sys.argv[1:]
    paths = ["tests/faults/test_pairs.py"] if what == "pairs" else ["tests/faults"]
    if what == "others":
        words += ["-k", f"not ({' or '.join(OF_STEPS)})"]
    elif what != "pairs":
        own = words and not words[0].startswith("-")
        wanted = words.pop(0).split(",") if own else steps_of(what)
        words += ["-k", " or ".join(_chosen(what, step) for step in wanted)]
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".fault-report-") as folder:
        report = Path(folder, "report.xml")
        run = [sys.executable, "-m", "pytest", *paths, f"--junitxml={report}", "-q", *words]
        if _may_mount():
            run = ["unshare", "--mount", "bash", "-euc", _IN_MEMORY, "table", str(ROOT), *run]
        everything = {**os.environ, "BISO_FAULTS": "all"}
        done = subprocess.run(run, cwd=ROOT, env=everything, check=False)
        if done.returncode in (0, 1):  # else it was interrupted, and not all of it was run
            write(what, report)
    return done.returncode


def _may_mount() -> bool:
    unshare = shutil.which("unshare")
    probe = [unshare or "", "--mount", "true"]
    return unshare is not None and subprocess.run(probe, check=False).returncode == 0


def write(what: str, report: Path) -> None:
    """Put the table of what was run where the document has a place for it."""
    made = {"pairs": pair_table, "others": other_table}.get(what)
    document = PAIRS if what == "pairs" else MATRIX
    text = document.read_text("utf-8")
    begin = f"<!-- table: python tests/faults/table.py {what} -->\n"
    head, found, rest = text.partition(begin)
    if not found:
        raise SystemExit(f"{document} has no place for {what}: {begin}")
    before, _, tail = rest.partition(_END)
    rows = made(report) if made else step_table(report, what, before)
    document.write_text(f"{head}{begin}{rows}{_END}{tail}", "utf-8")


def _cases(report: Path) -> Iterator[tuple[str, str, bool]]:
    """The name, the parameters and whether it held, of each case that was run."""
    for case in ElementTree.parse(report).iter("testcase"):
        name, _, given = case.attrib["name"].partition("[")
        ended = {child.tag for child in case}
        if "skipped" not in ended:
            yield name, given.removesuffix("]"), not ended & {"failure", "error"}


def steps_of(recipe: str) -> list[str]:
    """The rows that its table has."""
    path = ROOT / "biso_tasks" / "actions" / "builtin_recipes" / f"{recipe}.toml"
    steps = tomllib.loads(path.read_text("utf-8"))["steps"]
    swaps = any(step["uses"] in ("swap", "swap-previous") for step in steps)
    # what it swaps in has nothing to be swapped with
    exchange = [EXCHANGE] if swaps and recipe != "restore-bare" else []
    return [*(step["name"] for step in steps), *exchange]


def _chosen(recipe: str, step: str) -> str:
    """What pytest's -k takes for the cases of a row."""
    if step == EXCHANGE:
        return f"(test_a_fault_at_any_verb_of_the_swap and [{recipe}-)"
    # a step whose name goes on after this one's is told apart by what follows
    acts = " or ".join(f"[{recipe}-{step}-{act}-" for act in COLUMNS)
    return f"(not test_a_fault_at_any_verb_of_the_swap and ({acts}))"


def step_table(report: Path, recipe: str, before: str = "") -> str:
    """A row a step, a column a fault: how many cases were run, and how many of them held. Rows of
    the table `before` stay where nothing of their step was run."""
    cells: dict[str, dict[str, list[bool]]] = {}
    for _, given, held in _cases(report):
        found = CASE.fullmatch(given.removeprefix(f"{recipe}-"))
        if found is not None:
            row = cells.setdefault(found["step"] or EXCHANGE, {})
            row.setdefault(found["act"], []).append(held)
    head = f"| | {' | '.join(COLUMNS.values())} | run at |"
    rows = {}
    if head in before:
        lines = [line for line in before.splitlines() if line.startswith("| **")]
        rows = {line.split("**")[1]: line for line in lines}
    for step, row in cells.items():
        shown = [_cell(row.get(act, [])) for act in COLUMNS]
        rows[step] = f"| **{step}** | {' | '.join(shown)} | {_when()} |"
    steps = steps_of(recipe)
    missing = [step for step in steps if step not in rows]
    lines = [
        head,
        "|---" * (len(COLUMNS) + 2) + "|",
        *(rows[step] for step in steps if step in rows),
    ]
    if missing:
        lines += ["", f"Not run yet: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def _cell(held: list[bool]) -> str:
    if not held:
        return "–"
    return str(len(held)) if all(held) else f"**{sum(held)} of {len(held)}**"


def _when() -> str:
    words = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return f"{datetime.now(UTC):%Y-%m-%d} {commit.strip()}"


def other_table(report: Path) -> str:
    """One row a test that takes no step: its cases, and how many held."""
    cases: Counter[str] = Counter()
    held: Counter[str] = Counter()
    for name, _, well in _cases(report):
        if name in OF_STEPS:
            continue
        kind = name.removeprefix("test_").replace("_", " ")
        cases[kind] += 1
        held[kind] += well
    lines = [f"{cases.total()} cases, run at {_when()}.", "", "| | cases | held |", "|---|---|---|"]
    lines += [f"| {kind} | {cases[kind]} | {held[kind]} |" for kind in sorted(cases)]
    return "\n".join(lines) + "\n"


def pair_table(report: Path) -> str:
    """A row and a column for each command: how two that began together ended, from one machine and
    from two."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        told = case.find("properties/property[@name='pair']")
        if told is None:
            continue
        first, second, place, *codes = told.attrib["value"].split("|")
        held = case.find("failure") is None and case.find("error") is None
        said = _ended(first, second, [int(code) for code in codes]) if held else "**broken**"
        cells.setdefault((first, second), {})[place] = said
    names = sorted({name for pair in cells for name in pair})
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for row in names:
        found = [cells.get((row, name)) or cells.get((name, row), {}) for name in names]
        shown = ["<br>".join(dict.fromkeys(one.values())) or "not run" for one in found]
        lines.append(f"| **{row}** | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def _ended(first: str, second: str, codes: list[int]) -> str:
    if codes == [0, 0]:
        return "both run"
    if first == second:
        return "one is refused"
    return f"{second if codes[1] else first} is refused"


if __name__ == "__main__":
    sys.exit(main())
