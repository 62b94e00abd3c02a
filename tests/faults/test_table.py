"""The table of faults: what was not run is said, what did not hold is bold, a row that is not run
again stays as it was."""

from __future__ import annotations

from pathlib import Path

import table


def report(folder: Path, *cases: tuple[str, bool | None]) -> Path:
    ends = {True: "", False: "<failure/>", None: "<skipped/>"}
    told = "".join(
        f'<testcase name="test_x[{name}]">{ends[held]}</testcase>' for name, held in cases
    )
    path = folder / "report.xml"
    path.write_text(f"<testsuite>{told}</testsuite>", "utf-8")
    return path


def test_rows_are_kept_until_their_step_is_run_again(tmp_path: Path) -> None:
    first = report(
        tmp_path,
        ("rollback-lock-kill-before-local", True),
        ("rollback-lock-kill-middle-local", False),
        ("rollback-lock-full-before-test-local", True),
        ("rollback-lock-hang-middle-local", None),
        ("rollback-swap-cut-middle-test-ssh", True),
    )
    before = table.step_table(first, "rollback")
    lock, swap = (line for line in before.splitlines() if line.startswith("| **"))
    assert lock.startswith("| **lock** | **1 of 2** | – |")
    assert [cell.strip() for cell in lock.split("|")].count("1") == 1
    assert "Not run yet: guard" in before and "each command of the swap" in before

    again = report(
        tmp_path, ("rollback-lock-kill-before-local", True), ("rollback-term-before-1of8-ssh", True)
    )
    after = table.step_table(again, "rollback", before)
    rows = [line for line in after.splitlines() if line.startswith("| **")]
    assert [row.split("**")[1] for row in rows] == ["lock", "swap", table.EXCHANGE]
    assert rows[0].startswith("| **lock** | 1 |")
    assert rows[1] == swap


def test_each_step_of_a_recipe_has_its_row() -> None:
    assert table.steps_of("verify") == ["verify"]
    assert table.steps_of("rollback")[-2:] == ["unlock", table.EXCHANGE]
