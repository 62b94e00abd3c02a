"""Finds plugins: files and packages in a site's folders by path, installed ones by entry point."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final, Literal, TypeVar

from biso_tasks.errors import ConfigError
from biso_tasks.hooks.specs import PROJECT

__all__ = ["Candidate", "attempt", "in_folders", "installed", "line_of"]

DEFAULT: Final = "plugins"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plugin that was found and not yet imported. `source` is its file, or its distribution."""

    name: str
    kind: Literal["folder", "installed", "built in"]
    source: str
    load: Callable[[], object]


def attempt(call: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """The one place of this folder that isolates plugins: what comes back, or what was raised.
    What is no Exception (Ctrl-C) passes; a SystemExit is a plugin's, and must not end the run."""
    try:
        return call(), None
    except SystemExit as error:
        left = RuntimeError(f"it called sys.exit({error.code!r})")
        return None, left.with_traceback(error.__traceback__)
    except Exception as error:  # noqa: BLE001 (a plugin is foreign code)
        return None, error


def line_of(error: BaseException, source: str) -> str:
    """`file:line` in the plugin where it went wrong, or its file where that cannot be seen."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    inside = str(Path(source).parent) if source.endswith("__init__.py") else source
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if one.filename == source or one.filename.startswith(inside)]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else source


def in_folders(folders: Iterable[str | Path], root: Path) -> list[Candidate]:
    """The plugins in these folders, by name within each. Relative folders start at `root`. Raises
    ConfigError for a folder that does not exist, unless it is the default one."""
    found: list[Candidate] = []
    seen: set[Path] = set()
    taken: set[str] = set()
    for folder in folders:
        path = (root / Path(folder).expanduser()).resolve()
        if path in seen:
            continue
        seen.add(path)
        if not path.is_dir():
            if path == (root / DEFAULT).resolve():  # the config gives absolute paths
                continue
            raise ConfigError(
                f"site.plugins: {path} is no folder",
                hint="make it, or take it out of `plugins` in biso.toml",
            )
        for file in sorted(_files(path)):
            stem = file.parent.name if file.name == "__init__.py" else file.stem
            # Two folders may hold the same file name: the later one is told apart by its folder.
            name = f"{folder}/{stem}" if stem in taken else stem
            taken.add(stem)
            found.append(Candidate(name, "folder", str(file), _importer(file)))
    return found


def installed() -> list[Candidate]:
    """Installed plugins, each entry point by itself, by name."""
    # Entry points first: to read the metadata of every distribution takes a quarter of a second.
    named: dict[str, None] = {}
    for dist in importlib.metadata.distributions():
        if _points(dist):
            # Metadata may be damaged.
            name, _ = attempt(lambda dist=dist: str(dist.metadata["Name"]).lower())  # type: ignore[misc]
            named |= {name: None} if name else {}
    found: dict[tuple[str, str], Candidate] = {}
    for name in named:
        # The first on sys.path counts: it shadows others, and may have no entry point at all.
        first, _ = attempt(lambda name=name: importlib.metadata.distribution(name))  # type: ignore[misc]
        if first is None:
            continue
        for point in _points(first):
            label = f"{first.metadata['Name']} {first.version}"
            key = (point.name, point.value)
            found.setdefault(key, Candidate(point.name, "installed", label, point.load))
    return sorted(found.values(), key=lambda one: (one.name, one.source))


def _points(dist: importlib.metadata.Distribution) -> list[importlib.metadata.EntryPoint]:
    points, _ = attempt(lambda: [one for one in dist.entry_points if one.group == PROJECT])
    return points or []


def _files(folder: Path) -> list[Path]:
    """Modules and packages; what starts with "_" is private, and tests may lie beside plugins."""
    found: list[Path] = []
    for entry in folder.iterdir():
        if entry.name.startswith(("_", ".", "test_")) or entry.name in ("conftest.py", "tests"):
            continue
        if entry.suffix == ".py" and entry.is_file():
            found.append(entry)
        elif (entry / "__init__.py").is_file():
            found.append(entry / "__init__.py")
    return found


def _importer(file: Path) -> Callable[[], ModuleType]:
    def load() -> ModuleType:
        package = file.name == "__init__.py"
        stem = file.parent.name if package else file.stem
        digest = hashlib.sha256(str(file).encode("utf-8", "surrogateescape")).hexdigest()[:12]
        name = f"_biso_plugin_{digest}_" + re.sub(r"\W", "_", stem)
        places: Sequence[str] | None = [str(file.parent)] if package else None
        spec = importlib.util.spec_from_file_location(
            name, file, submodule_search_locations=list(places) if places else None
        )
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} cannot be imported")
        module = importlib.util.module_from_spec(spec)
        for old in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
            del sys.modules[old]
        # Known before it runs: dataclasses look up their module, relative imports their package.
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        return module

    return load
