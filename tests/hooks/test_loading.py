from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.errors import ConfigError
from biso_tasks.hooks.loader import installed
from biso_tasks.hooks.manager import PluginManager
from biso_tasks.hooks.specs import hookimpl

GOOD = """
@hookimpl
def biso_verify(stage):
    return [Finding(True, __file__)]
"""


def names(manager: PluginManager) -> list[tuple[str, str, str]]:
    return [
        (one.name, one.kind, one.status) for one in manager.plugins() if one.kind != "installed"
    ]


def test_modules_and_packages_of_a_folder_are_plugins(
    folder: Path, write: Any, load: Callable[..., PluginManager]
) -> None:
    write("one", GOOD)
    write("two/__init__", "from .part import answer\n" + GOOD)
    (folder / "two/part.py").write_text("answer = 42\n")
    write("my-plugin", GOOD)
    write("_private", "raise SystemExit(1)")
    write("test_one", "raise SystemExit(1)")
    write("conftest", "raise SystemExit(1)")
    write("tests/__init__", "raise SystemExit(1)")
    (folder / "notes").mkdir()
    manager = load()
    assert [name for name, _, _ in names(manager)] == ["my-plugin", "one", "two"]
    assert manager.plugins()[1].source == str(folder / "one.py")
    assert manager.plugins()[1].hooks == ("biso_verify",)
    assert [plugin for plugin, _ in manager.collect("biso_verify", stage=None)] == [
        "my-plugin",
        "one",
        "two",
    ]


def test_two_folders_may_hold_the_same_file_name(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.py").write_text(
            "from biso_tasks.hooks.specs import hookimpl\n"
            "from biso_tasks.hooks.types import Finding\n" + GOOD
        )
    manager = PluginManager()
    manager.load(["a", "b", "a"], root=tmp_path)
    found = manager.collect("biso_verify", stage=None)
    assert [(plugin, result[0].name) for plugin, result in found] == [
        ("same", str(tmp_path / "a/same.py")),
        ("b/same", str(tmp_path / "b/same.py")),
    ]
    assert "same" not in sys.modules


def test_a_plugin_with_dataclasses_can_be_loaded_twice_in_one_process(
    write: Any, load: Callable[..., PluginManager]
) -> None:
    # dataclasses look the module up in sys.modules while they are made
    write("one", "from dataclasses import dataclass\n@dataclass\nclass X:\n    y: 'int'\n" + GOOD)
    assert load().implementers("biso_verify") == load().implementers("biso_verify") == ("one",)


def test_the_default_folder_may_be_missing_and_another_may_not(tmp_path: Path) -> None:
    PluginManager().load(["plugins"], root=tmp_path)
    PluginManager().load([str(tmp_path / "plugins")], root=tmp_path)  # as the config gives it
    with pytest.raises(ConfigError, match="extra is no folder"):
        PluginManager().load(["extra"], root=tmp_path)


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("x = 1\nx = = 2\n", "broken.py:2", "SyntaxError"),
        ("x = 1\n\ny = 1 / 0\n", "broken.py:3", "ZeroDivisionError"),
        ("import no_such_module\n", "broken.py:1", "no_such_module"),
        ("import sys\nsys.exit(3)\n", "broken.py:2", "sys.exit(3)"),
        ("import json\njson.loads('{')\n", "broken.py:2", "JSONDecodeError"),
    ],
)
def test_a_broken_file_is_told_with_its_line(
    folder: Path, write: Any, load: Callable[..., PluginManager], text: str, place: str, what: str
) -> None:
    (folder / "broken.py").write_text(text)
    (folder / "other.py").write_text("1 / 0\n")
    with pytest.raises(ConfigError) as raised:
        load()
    first, second = raised.value.message.splitlines()[0], raised.value.message.splitlines()[-1]
    assert 'plugin "broken"' in first
    assert f"{folder}/{place}" in first
    assert what in first
    assert 'plugin "other"' in second  # all of them at once


def test_what_a_plugin_prints_while_it_is_imported_goes_to_stderr(
    write: Any, load: Callable[..., PluginManager], capsys: pytest.CaptureFixture[str]
) -> None:
    write("loud", "print('hello')\n")
    load()
    out, err = capsys.readouterr()
    assert (out, err) == ("", "hello\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "@hookimpl\ndef biso_run_finishd(report): ...\n",
            'no hook "biso_run_finishd" (did you mean "biso_run_finished"?)',
        ),
        ("@hookimpl\ndef something(): ...\n", 'no hook "something"; `invoke hooks` lists them'),
        (
            "@hookimpl\ndef biso_scrub(stag): ...\n",
            'biso_scrub has no argument "stag" (did you mean "stage"?): biso_scrub(stage: Stage)',
        ),
        (
            # with a default, pluggy would not complain, and never pass it
            "@hookimpl\ndef biso_scrub(stag=None): ...\n",
            'has no argument "stag"',
        ),
        ("@hookimpl\ndef biso_scrub(**all): ...\n", "called with arguments by name"),
        ("@hookimpl\nasync def biso_scrub(stage): ...\n", "an async function would never run"),
        ("@hookimpl(wrapper=True)\ndef biso_scrub(stage):\n    yield\n", "wrappers are not"),
    ],
)
def test_a_wrong_hook_is_an_error_that_names_plugin_file_and_line(
    folder: Path, write: Any, load: Callable[..., PluginManager], text: str, message: str
) -> None:
    write("wrong", text)
    with pytest.raises(ConfigError) as raised:
        load()
    assert message in raised.value.message
    assert raised.value.message.startswith(f'plugin "wrong": {folder / "wrong.py"}:6: ')


def test_a_hook_without_its_marker_is_a_warning_that_is_shown(folder: Path, write: Any) -> None:
    write("bare", "def biso_scrub(stage): ...\ndef biso_verfy(stage): ...\n" + GOOD)
    said: list[str] = []
    manager = PluginManager(say=said.append)
    manager.load([folder])
    assert len(said) == 2
    assert "bare.py:6: biso_scrub is not marked with @hookimpl" in said[0]
    assert "for the hook biso_verify: it is never called" in said[1]
    assert len(manager.plugins()[0].warnings) == 2
    assert manager.collect("biso_scrub", stage=None) == []


def test_disabled_plugins_are_not_even_imported(
    write: Any, load: Callable[..., PluginManager]
) -> None:
    write("broken", "1 / 0\n")
    write("good", GOOD)
    manager = load(disable=["broken"])
    assert names(manager) == [("broken", "folder", "disabled"), ("good", "folder", "loaded")]


def test_disabling_what_does_not_exist_or_is_built_in_is_an_error(
    write: Any, load: Callable[..., PluginManager]
) -> None:
    write("notify", GOOD)
    module = types.ModuleType("biso_tasks.actions.swap")
    with pytest.raises(ConfigError) as raised:
        load(disable=["notfy", "biso:swap"], builtin=[module])
    assert 'no plugin "notfy" (did you mean "notify"?)' in raised.value.message
    assert '"biso:swap" is part of biso-tasks' in raised.value.message


# -- installed plugins --


def test_an_installed_plugin_is_found_by_its_entry_point(install: Any) -> None:
    install("rooms", GOOD)
    manager = PluginManager()
    manager.load()
    info = next(one for one in manager.plugins() if one.name == "rooms")
    assert (info.kind, info.status, info.source) == ("installed", "loaded", "rooms 1.0")
    assert [plugin for plugin, _ in manager.collect("biso_verify", stage=None)] == ["rooms"]


def test_a_distribution_shadowed_by_one_earlier_on_the_path_gives_no_plugin(
    install: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("rooms", GOOD)
    earlier = tmp_path / "earlier/rooms-2.0.dist-info"
    earlier.mkdir(parents=True)
    (earlier / "METADATA").write_text("Metadata-Version: 2.1\nName: Rooms\nVersion: 2.0\n")
    monkeypatch.syspath_prepend(str(earlier.parent))
    manager = PluginManager()
    manager.load()
    assert "rooms" not in [one.name for one in manager.plugins()]


def test_only_the_metadata_of_distributions_with_plugins_is_read(
    install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of all hundred takes a quarter of a second at the start of each command."""
    install("rooms", GOOD)
    read: list[str] = []
    whole = importlib.metadata.PathDistribution.read_text

    def noted(dist: Any, name: Any) -> str | None:
        if name == "METADATA":
            read.append(dist._path.name)
        return whole(dist, name)

    monkeypatch.setattr(importlib.metadata.PathDistribution, "read_text", noted)
    assert [one.name for one in installed()] == ["rooms"]
    assert set(read) == {"rooms-1.0.dist-info"}


def test_an_installed_plugin_may_be_an_object_whose_properties_are_not_run(install: Any) -> None:
    install(
        "thing",
        """
class Plugin:
    def __init__(self): self.word = "mine"
    @property
    def never(self): raise AssertionError("looked at")
    @hookimpl
    def biso_verify(self, stage): return [Finding(True, self.word)]
it = Plugin()
""",
        value="thing_module:it",
    )
    manager = PluginManager()
    manager.load()
    ((plugin, (finding,)),) = manager.collect("biso_verify", stage=None)
    assert (plugin, finding.name) == ("thing", "mine")


def test_an_installed_plugin_that_pluggy_does_not_take_is_broken_by_itself(install: Any) -> None:
    install("good", GOOD)
    install(
        "awkward",
        "class Odd:\n    __hash__ = None\n"
        "    def __eq__(self, other): raise RuntimeError('odd')\nit = Odd()\n",
        value="awkward_module:it",
    )
    manager = PluginManager(say=lambda text: None)
    manager.load()
    status = {one.name: (one.status, one.error) for one in manager.plugins()}
    assert status["awkward"][0] == "broken"
    assert "cannot be registered: odd" in status["awkward"][1]
    assert manager.implementers("biso_verify") == ("good",)


@pytest.mark.parametrize(
    ("text", "value", "what"),
    [
        ("1 / 0\n", "", "ZeroDivisionError"),
        ("", "no_such_module_at_all", "no_such_module_at_all"),
        ("", "bad_module:nothing", "nothing"),
        ("@hookimpl\ndef biso_scrb(stage): ...\n", "", 'did you mean "biso_scrub"?'),
        ("@hookimpl\ndef biso_scrub(x): ...\n", "", 'no argument "x"'),
        ("import sys\nsys.exit()\n", "", "sys.exit"),
    ],
)
def test_one_broken_entry_point_does_not_take_the_others_down(
    install: Any, text: str, value: str, what: str
) -> None:
    install("bad", text, value=value)
    install("good", GOOD)
    said: list[str] = []
    manager = PluginManager(say=said.append)
    manager.load()
    status = {one.name: one for one in manager.plugins()}
    assert status["bad"].status == "broken"
    assert what in status["bad"].error
    assert 'plugin "bad"' in said[0]
    assert manager.implementers("biso_verify") == ("good",)


def test_a_broken_installed_plugin_that_the_site_configures_is_an_error(install: Any) -> None:
    install("bad", "1 / 0\n")
    with pytest.raises(ConfigError, match=r"plugins\.bad: the plugin is broken"):
        PluginManager(say=lambda text: None).load(sections={"bad": {"a": 1}})


def test_an_installed_plugin_with_the_name_of_a_site_plugin_is_told_apart(
    install: Any, write: Any, load: Callable[..., PluginManager]
) -> None:
    write("notify", GOOD)
    install("elsewhere", GOOD, point="notify")
    assert load().implementers("biso_verify") == ("notify", "elsewhere:notify")


def test_one_module_behind_two_entry_points_is_loaded_once(install: Any) -> None:
    install("one", GOOD)
    install("two", GOOD, value="one_module")
    manager = PluginManager(say=lambda text: None)
    manager.load()
    status = {one.name: (one.status, one.error) for one in manager.plugins()}
    assert status["one"][0] == "loaded"
    assert status["two"] == ("broken", 'plugin "two" is the same as plugin "one"')


# -- order, built-in plugins, lightness --


def test_site_plugins_come_first_by_name_then_installed_then_built_in(
    install: Any, write: Any, load: Callable[..., PluginManager]
) -> None:
    module = types.ModuleType("biso_tasks.actions.capture")

    @hookimpl
    def biso_verify(stage: Any) -> list[Any]:
        return []

    module.biso_verify = biso_verify  # type: ignore[attr-defined]
    write("b", GOOD)
    write("a", GOOD)
    write("z", GOOD.replace("@hookimpl", "@hookimpl(tryfirst=True)"))
    install("inst", GOOD)
    manager = load(builtin=[module])
    assert manager.implementers("biso_verify") == ("z", "a", "b", "inst", "biso:capture")
    assert manager.plugins()[-1].kind == "built in"


def test_calling_a_hook_before_plugins_are_loaded_is_a_defect_and_not_nothing() -> None:
    with pytest.raises(KeyError):
        PluginManager().collect("biso_scrub", stage=None)


def test_importing_the_hooks_is_light() -> None:
    code = (
        "import sys, biso_tasks.hooks.manager\n"
        "heavy = {'fabric', 'paramiko', 'psycopg', 'rich', 'invoke'} & set(sys.modules)\n"
        "own = [m for m in sys.modules if m.startswith('biso_tasks.') and '.hooks' not in m]\n"
        "print(sorted(heavy), sorted(own))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[] ['biso_tasks.errors', 'biso_tasks.values']"
