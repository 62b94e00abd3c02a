"""Runs the whole matrix of faults, or all pairs of commands, and writes the table of it into
docs/reliability.md.

python tests/faults/table.py [-n 2]
python tests/faults/table.py pairs [-n 2]
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOC = ROOT / "docs" / "reliability.md"
_END = "<!-- end of table -->"


def main() -> int:
    pairs = sys.argv[1:2] == ["pairs"]
    command = f"python tests/faults/table.py{' pairs' if pairs else ''}"
    what = ["tests/faults/test_pairs.py"] if pairs else ["tests/faults"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        words = [sys.executable, "-m", "pytest", *what, f"--junitxml={report}", "-q"]
        done = subprocess.run(
            [*words, *sys.argv[2 if pairs else 1 :]],
            cwd=ROOT,
            env={**os.environ, "BISO_FAULTS": "all"},
            check=False,
        )
        rows = pair_table(report) if pairs else table(report)
    text = DOC.read_text("utf-8")
    head, begin, rest = text.partition(f"<!-- table: {command} -->\n")
    tail = rest.partition(_END)[2]
    DOC.write_text(f"{head}{begin}{rows}{_END}{tail}", "utf-8")
    return done.returncode


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


def table(report: Path) -> str:
    """One row a kind of fault: cases, and how many held."""
    cases: Counter[str] = Counter()
    held: Counter[str] = Counter()
    for case in ElementTree.parse(report).iter("testcase"):
        name, _, fault = case.attrib["name"].partition("[")
        manner = re.search(r"(kill|fail|term|int2|cut|down)-(before|middle|after|during)", fault)
        kind = name.removeprefix("test_").replace("_", " ")
        kind += f": {manner[0]}" if manner else ""
        cases[kind] += 1
        held[kind] += not any(case.iter("failure")) and not any(case.iter("error"))
    lines = ["| fault | cases | held |", "|---|---|---|"]
    lines += [f"| {kind} | {cases[kind]} | {held[kind]} |" for kind in sorted(cases)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
