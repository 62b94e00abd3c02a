"""Runs the whole matrix of faults and writes its table into docs/reliability.md.

python tests/faults/table.py [-n 2]
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
_MARKS = ("<!-- table: python tests/faults/table.py -->", "<!-- end of table -->")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        words = [sys.executable, "-m", "pytest", "tests/faults", f"--junitxml={report}", "-q"]
        done = subprocess.run(
            [*words, *sys.argv[1:]],
            cwd=ROOT,
            env={**os.environ, "BISO_FAULTS": "all"},
            check=False,
        )
        rows = table(report)
    text = DOC.read_text("utf-8")
    head, _, rest = text.partition(_MARKS[0])
    tail = rest.partition(_MARKS[1])[2]
    DOC.write_text(f"{head}{_MARKS[0]}\n{rows}{_MARKS[1]}{tail}", "utf-8")
    return done.returncode


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
