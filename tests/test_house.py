"""The house: a folder imports only lower floors; folders on one floor do not import each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "biso_tasks"

FLOORS = {
    "errors": 1, "values": 1, "version": 1,
    "config": 2, "host": 2, "flow": 2, "hooks": 2,
    "instance": 3, "database": 3, "files": 3,
    "stage": 4, "privacy": 4, "backup": 4, "session": 4, "ui": 4,
    "api": 5, "demo": 5,
    "actions": 6, "testing": 6,
    "cli": 7,
}  # fmt: skip
# What flow must not know, so that it could be lifted out whole.
FLOW_KNOWS = {"errors"}
HEAVY = ("paramiko", "fabric", "psycopg", "pypdf", "rich", "pytest")


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and room of each import from our own package, those for types included."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            if node.module == "biso_tasks":
                names = [f"biso_tasks.{alias.name}" for alias in node.names]
            elif node.module is not None:
                names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("biso_tasks."):
                yield node.lineno, name.split(".")[1]


def problems(path: Path, own: str, found: list[tuple[int, str]]) -> list[str]:
    bad = []
    for line, other in found:
        if other == own:
            continue
        if other not in FLOORS:
            bad.append(f"{path}:{line}: {other} is on no floor")
        elif FLOORS[other] >= FLOORS[own]:
            bad.append(f"{path}:{line}: {own} ({FLOORS[own]}) imports {other} ({FLOORS[other]})")
        elif own == "flow" and other not in FLOW_KNOWS:
            bad.append(f"{path}:{line}: flow knows {other}")
    return bad


def test_every_room_has_a_floor() -> None:
    rooms = {room(path) for path in modules()}
    assert rooms <= set(FLOORS), rooms - set(FLOORS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_lower_floors_only(path: Path) -> None:
    assert not problems(path, room(path), list(imported(path)))


def test_the_rule_sees_a_breach() -> None:
    assert problems(Path("x"), "files", [(1, "database")])
    assert problems(Path("x"), "host", [(1, "stage")])
    assert problems(Path("x"), "flow", [(1, "values")])
    assert problems(Path("x"), "cli", [(1, "attic")])


def test_plugins_import_nothing_but_the_api() -> None:
    for path in sorted((ROOT / "plugins").glob("*.py")):
        assert {other for _, other in imported(path)} <= {"api"}, path


def test_listing_the_tasks_imports_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys; from biso_tasks.cli.tasks import namespace; namespace();"
        f"bad = [m for m in {HEAVY!r} if m in sys.modules]; sys.exit(' '.join(bad) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def drawing() -> str:
    """The house as a Mermaid chart, from what imports what: a floor is a box, and of the edges only
    those that say something new (who uses `stage` need not be drawn to `errors` as well)."""
    uses: dict[str, set[str]] = {one: set() for one in FLOORS}
    for path in modules():
        uses[room(path)] |= {other for _, other in imported(path) if other != room(path)}
    below = {one: set(uses[one]) for one in sorted(FLOORS, key=FLOORS.__getitem__)}
    for one, found in below.items():
        for other in uses[one]:
            found |= below[other]
    lines = ["flowchart TB"]
    for floor in sorted(set(FLOORS.values()), reverse=True):
        names = [one for one, at in FLOORS.items() if at == floor]
        lines += [f"  subgraph floor{floor}[floor {floor}]", f"    {' ~~~ '.join(names)}", "  end"]
    for one in FLOORS:
        told = {o for o in uses[one] if not any(o in below[x] for x in uses[one] if x != o)}
        lines += [f"  {one} --> {' & '.join(sorted(told))}"] if told else []
    return "\n".join(lines)


def test_the_drawing_of_the_house_is_the_house() -> None:
    page = (ROOT / "docs/map.md").read_text("utf-8")
    assert f"```mermaid\n{drawing()}\n```" in page, drawing()
