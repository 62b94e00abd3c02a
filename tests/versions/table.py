"""Runs all pairs of PostgreSQL versions that can be had, and writes the table of them into
docs/versions.md.

python tests/versions/table.py [FOLDER] [-n 2]

FOLDER is where servers and clients are kept, /var/tmp/biso-postgres if none is named; what it lacks
is fetched.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from servers import FETCHED, fetch

ROOT = Path(__file__).parents[2]
DOC = ROOT / "docs" / "versions.md"
_BEGIN = "<!-- table: python tests/versions/table.py -->\n"
_END = "<!-- end of table -->"


def main() -> int:
    words = sys.argv[1:]
    folder = Path(words.pop(0) if words and words[0][0] != "-" else "/var/tmp/biso-postgres")
    fetch(folder)
    with tempfile.TemporaryDirectory() as place:
        report = Path(place, "report.xml")
        pytest = [sys.executable, "-m", "pytest", "tests/versions", f"--junitxml={report}", "-q"]
        whole = {**os.environ, "BISO_FAULTS": "all", FETCHED: str(folder.absolute())}
        done = subprocess.run([*pytest, *words], cwd=ROOT, env=whole, check=False)
        if done.returncode not in (0, 1):
            return done.returncode  # interrupted: not all of it was run
        rows = table(report)
    head, _, rest = DOC.read_text("utf-8").partition(_BEGIN)
    DOC.write_text(f"{head}{_BEGIN}{rows}{_END}{rest.partition(_END)[2]}", "utf-8")
    return done.returncode


def table(report: Path) -> str:
    """A row a source, a column a target."""
    cells: dict[tuple[int, int], str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        told = case.find("properties/property[@name='pair']")
        if told is None:
            continue
        source, target, why = told.attrib["value"].split("|")
        held = case.find("failure") is None and case.find("error") is None
        said = "works" if not why else "refused: older" if "older" in why else "refused: client"
        cells[int(source), int(target)] = said if held else "**broken**"
    targets = sorted({pair[1] for pair in cells})
    lines = [f"| from, to | {' | '.join(map(str, targets))} |", "|---" * (len(targets) + 1) + "|"]
    for source in sorted({pair[0] for pair in cells}):
        row = [cells.get((source, target), "not run") for target in targets]
        lines.append(f"| **{source}** | {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
