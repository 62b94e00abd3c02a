"""`plugin-new`: a plugin that works, with its test, to be changed into what a site needs. Nothing
that is there is overwritten.
"""

from __future__ import annotations

import keyword
import os
import re
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from biso_tasks.cli.call import Call
from biso_tasks.cli.site import find_site
from biso_tasks.config.model import Site
from biso_tasks.errors import ConfigError, Refused, StepFailed, UsageError
from biso_tasks.hooks.loader import in_folders, installed

__all__ = ["plugin_new"]

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_EXAMPLE: Final = "such as `biso plugin-new quiet_hours`"

_PLUGIN: Final = '''\
"""A line of `biso doctor`: whether this machine has room for journals and reports.

`biso plugin-new` wrote this file. It works as it stands: change it into what your site needs. Its
section of biso.toml, each key with its default:

    [plugins.@NAME@]
    free_gb = 1.0
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from biso_tasks.api import Check, Site, hookimpl


@dataclass(frozen=True)
class Settings:
    """The section. Unknown keys and wrong types are refused before any host is contacted."""

    free_gb: float = 1.0

    def __post_init__(self) -> None:
        # What a type cannot say. The text is shown with file and line of biso.toml.
        if self.free_gb < 0:
            raise ValueError("free_gb is a number of gigabytes, 0 or more")


# @hookimpl makes a function the plugin's answer to the hook of its name; `biso hooks` lists them.
@hookimpl
def biso_config() -> type[Settings]:
    return Settings


# A hook takes the arguments that it needs, by their names; `config` is the section.
@hookimpl
def biso_checks(site: Site, config: Settings) -> list[Check]:
    free = shutil.disk_usage(site.root).free / 10**9
    return [
        Check(
            host="",  # this machine; else the name of an environment
            name="@NAME@: room for reports",
            ok=free >= config.free_gb,
            detail=f"{free:.1f} GB are free in {site.root}, {config.free_gb:g} are wanted",
            remedy="make room, or lower plugins.@NAME@.free_gb",
        )
    ]
'''

_TEST: Final = '''\
"""The tests of the plugin @NAME@."""

from types import SimpleNamespace

import pytest
from biso_tasks.api import ConfigError

# The fixtures biso_plugin, biso_secret, biso_stage, biso_site: `pytest --fixtures` tells of them.
pytest_plugins = ["biso_tasks.testing"]


def test_doctor_says_how_much_room_there_is(biso_plugin, tmp_path):
    # Loaded as a site does it, with this section.
    plugin = biso_plugin("@NAME@", free_gb=0)
    (check,) = plugin.call("biso_checks", site=SimpleNamespace(root=tmp_path))
    assert check.ok
    assert str(tmp_path) in check.detail


def test_too_little_room_is_told_with_what_to_do(biso_plugin, tmp_path):
    plugin = biso_plugin("@NAME@", free_gb=10**9)
    (check,) = plugin.call("biso_checks", site=SimpleNamespace(root=tmp_path))
    assert not check.ok
    assert "make room" in check.remedy


def test_a_negative_size_is_refused(biso_plugin):
    with pytest.raises(ConfigError, match="0 or more"):
        biso_plugin("@NAME@", free_gb=-1)
'''


def plugin_new(call: Call, name: str) -> None:
    """Write both, say what to do next. Raises UsageError for a name that cannot be a plugin's,
    Refused where something of that name is there, StepFailed where it cannot be written."""
    site = find_site()
    name = _checked(name)
    folder = _folder(site)
    _require_free(site, name)
    wanted = {
        folder / f"{name}.py": _PLUGIN.replace("@NAME@", name),
        folder / "tests" / f"test_{name}.py": _TEST.replace("@NAME@", name),
    }
    for path in wanted:
        if os.path.lexists(path):
            raise _there(path)
    call.document |= {"plugin": name, "written": []}
    if call.options.plan:
        call.outlook("plugin-new", changes=[f"writes {path}" for path in wanted])
        return
    _write(wanted)
    call.document["written"] = [str(path) for path in wanted]
    _tell(call, *wanted)


def _checked(given: str) -> str:
    """A hyphen becomes an underscore, as in the name of a package. Raises UsageError."""
    name = given.replace("-", "_")
    shown = ascii(given if len(given) <= 60 else f"{given[:60]}…")
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{shown} cannot be a plugin's name: it is the name of its file and of its section",
            hint="up to 40 letters (a to z), digits and _, a letter first, " + _EXAMPLE,
        )
    if keyword.iskeyword(name):
        raise UsageError(
            f"{shown} is a word of Python's own and cannot be a plugin's name", hint=_EXAMPLE
        )
    if name.lower().startswith("test_") or name.lower() in ("tests", "conftest"):
        raise UsageError(
            f"{shown} is a name of tests: beside plugins, it is not loaded as one", hint=_EXAMPLE
        )
    return name


def _folder(site: Site) -> Path:
    if not site.plugins:
        raise ConfigError(
            f"{site.file.name}: site.plugins names no folder for plugins",
            hint='set plugins = ["plugins"] in [site]',
        )
    return Path(site.root, site.plugins[0])


def _require_free(site: Site, name: str) -> None:
    """Raises Refused where the site would take the plugin for another one, or not load it."""
    folders = [one for one in site.plugins if Path(site.root, one).is_dir()]
    for one in (*in_folders(folders, site.root), *installed()):
        if one.name.casefold() == name.casefold():
            raise Refused(
                f'there is a plugin "{one.name}" already: {one.source}',
                hint="choose another name; `biso plugins` lists all",
            )
    if name in site.disable:
        raise Refused(
            f'{site.file.name}: site.disable turns the plugin "{name}" off',
            hint="take it out there, or choose another name",
        )


def _there(path: Path) -> Refused:
    return Refused(
        f"{path} is there already, and plugin-new overwrites nothing",
        hint="choose another name, or move it away",
    )


def _write(wanted: dict[Path, str]) -> None:
    """All of it or nothing. "x": what appeared in the meantime is not overwritten either."""
    written: list[Path] = []
    try:
        for path, text in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as handle:
                written.append(path)
                handle.write(text)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        if isinstance(error, FileExistsError) and str(error.filename) in map(str, wanted):
            raise _there(Path(str(error.filename))) from error
        raise StepFailed(
            f"{error.filename or path} cannot be written: {error.strerror}",
            hint="look at that folder, or name another one first in site.plugins",
        ) from error


def _tell(call: Call, plugin: Path, test: Path) -> None:
    shown, tested = (os.path.relpath(path) for path in (plugin, test))
    command = shlex.join([sys.executable, "-m", "pytest", os.path.dirname(tested)])  # noqa: PTH120
    call.text(f"Written: {shown}, {tested}")
    missing = (
        ""
        if find_spec("pytest")
        else "    first install pytest: pip install 'biso-tasks[testing]'\n"
    )
    call.text(
        "\nNext:\n"
        f"  {command}\n{missing}"
        "    its test, which passes as it stands\n"
        "  biso doctor\n"
        "    has a line of it now\n"
        f"  edit {shlex.quote(shown)}\n"
        "    make it yours; docs/plugins.md has every hook with an example\n"
    )
