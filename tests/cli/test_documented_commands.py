"""Every command of ours that the documentation names is run, as it stands there: with --plan where
it would change something, since what the tasks do is tested elsewhere. The transcripts of the
tutorial and of the how-tos are run whole (test_tutorial.py, test_howtos.py)."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from biso_tasks.cli import main
from biso_tasks.cli.declare import CHANGING, HELP
from biso_tasks.testing import ThrowawaySite

pytest_plugins = ["biso_tasks.testing"]
pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql", "php"), pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
WHOLE = ("tutorial.md", "first-site.md", "offsite.md", "disaster.md")
OURS = ("biso", "./biso", "invoke")
NAMES = {
    "new": "test",
    "kanton-bern-test,kanton-uri-test": "kanton-bern-test",
    "rechnungen/2026": "rechnungen/2024",
}


@dataclass(frozen=True)
class Line:
    """`folder`: BISO_CONFIG names a folder of sites where it stands."""

    page: str
    words: tuple[str, ...]
    folder: bool

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def lines() -> Iterator[Line]:
    for page in (ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))):
        blocks = re.findall(r"^```console\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
        for block in blocks if page.name not in WHOLE else ():
            for line in re.findall(r"^\$ (.*)$", block, re.M):
                words = shlex.split(line.partition(" > ")[0], comments=True)
                while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                    del words[0]
                if words and words[0] in OURS:
                    folder = "export BISO_CONFIG=" in block
                    yield Line(page.name, tuple(words[1:]), folder)


def here(line: Line, called: dict[str, str]) -> list[str]:
    """The words, with what is called otherwise on this machine."""
    found = [NAMES.get(word, word) for word in line.words]
    for there, ours in called.items():
        found = [word.replace(there, ours) for word in found]
    if HELP[found[0]]["plan"] == CHANGING["plan"][1] and "--plan" not in found:
        found.append("--plan")
    return found


def cantons(site: ThrowawaySite, prod: str, test: str) -> None:
    """The site of docs/fleets.md, once in one file and once in a folder: with two of its names."""
    text = (site.root / "biso.toml").read_text("utf-8")
    (site.root / "folder/kanton-bern").mkdir(parents=True)
    (site.root / "folder/kanton-bern/biso.toml").write_text(text, "utf-8")
    text = text.replace("[environments.prod", f"[environments.{prod}")
    text = text.replace("[environments.test]", f'[environments.{test}]\ncopy_of = "{prod}"')
    text = text.replace("[environments.test.", f"[environments.{test}.")
    text = text.replace('"prod"', f'"{prod}"').replace('"test"', f'"{test}"')
    (site.root / "cantons.toml").write_text(text.replace(f'role = "{test}"', 'role = "test"'))


def test_every_command_in_the_documentation_runs(
    biso_site: ThrowawaySite, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    site = biso_site
    with (site.root / "biso.toml").open("a") as file:
        file.write("# .biso/demo/\n")  # it is the demo's
    cantons(site, "kanton-bern", "kanton-bern-test")
    made = site.run("backup")
    site.run("release")
    site.run("refresh-test", "--no-anonymize")
    copied = site.root / "copied" / made["set"]
    shutil.copytree(made["path"], copied, symlinks=True)
    called = {
        "nas:/srv/biso": str(copied.parent),
        "/media/disk/20261120_031500-prod": str(copied),
        "20261120_031500-prod": made["set"],
    }
    monkeypatch.chdir(site.root)
    monkeypatch.setenv("HOME", str(site.root))
    found, failed = list(lines()), []
    set_of_canton = Line("fleets.md", ("backup", "--env", "kanton-bern", "--yes"), folder=False)
    for line in [set_of_canton, *found]:
        one_file = "cantons.toml" if line.page == "fleets.md" else "biso.toml"
        config = site.root / ("folder" if line.folder else one_file)
        monkeypatch.setenv("BISO_CONFIG", str(config))
        program = main._Program(namespace=main.namespace(), name="biso", binary="biso")
        code: object = 0
        try:
            words = list(line.words) if line is set_of_canton else here(line, called)
            program.run(["biso", *main._arguments(words)])
        except SystemExit as ended:
            code = ended.code
        out, err = capfd.readouterr()
        if code not in (0, None) or not out + err:
            failed.append(f"{line}\n  ended with {code}: {err[-600:]}")
    assert not failed, "\n".join(failed)
    assert len(found) > 40
