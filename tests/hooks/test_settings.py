from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from biso_tasks.errors import ConfigError
from biso_tasks.hooks.manager import PluginManager

Load = Callable[..., PluginManager]

PLUGIN = """
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

@dataclass(frozen=True)
class Mail:
    to: list[str]
    port: int = 25

@dataclass(frozen=True)
class Settings:
    mail: Mail
    when: Literal["always", "failure"] = "failure"
    timeout: float = 10.0
    quiet: bool = False
    folder: Path | None = None
    words: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        if self.timeout < 0:
            raise ValueError("timeout must not be negative")

@hookimpl
def biso_config():
    return Settings

@hookimpl
def biso_verify(stage, config):
    return [Finding(True, repr(config))]
"""


def where(plugin: str, key: str) -> str:
    return f"biso.toml:{len(key)}"


def test_a_plugin_is_given_its_section_as_its_own_dataclass(write: Any, load: Load) -> None:
    write("notify", PLUGIN)
    write("other", "@hookimpl\ndef biso_verify(stage, config):\n    assert config is None\n")
    table = {
        "mail": {"to": ["a@b.ch"]},
        "timeout": 3,
        "folder": "/tmp/x",
        "words": ["a", "b"],
        "headers": {"X": "y"},
    }
    manager = load(sections={"notify": table})
    config = manager.config("notify")
    assert (config.timeout, type(config.timeout)) == (3.0, float)
    assert config.words == ("a", "b")
    assert config.folder.name == "x"
    assert config.mail.to == ["a@b.ch"]
    assert config.mail.port == 25
    found = dict(manager.collect("biso_verify", stage=None))
    assert found["notify"][0].name == repr(config)
    assert "other" not in found


def test_every_mistake_in_a_section_is_told_at_once_with_its_place(write: Any, load: Load) -> None:
    write("notify", PLUGIN)
    table = {
        "mail": {"port": "25", "to": "a@b.ch"},
        "wen": "always",
        "when": "never",
        "quiet": 1,
        "timeout": True,
        "words": ["a", 2],
        "folder": 3,
        "headers": [],
    }
    with pytest.raises(ConfigError) as raised:
        load(sections={"notify": table}, where=where)
    lines = raised.value.message.splitlines()
    assert lines == [
        "biso.toml:9: plugins.notify.mail.port: expected a whole number, got '25'",
        "biso.toml:7: plugins.notify.mail.to: expected a list, got 'a@b.ch'",
        'biso.toml:3: plugins.notify.wen: unknown key (did you mean "when"?)',
        "biso.toml:4: plugins.notify.when: expected 'always' or 'failure', got 'never'",
        "biso.toml:5: plugins.notify.quiet: expected true or false, got 1",
        "biso.toml:7: plugins.notify.timeout: expected a number, got True",
        "biso.toml:8: plugins.notify.words[1]: expected a text, got 2",
        "biso.toml:6: plugins.notify.folder: expected Path, got 3",
        "biso.toml:7: plugins.notify.headers: expected a table, got []",
    ]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({}, "plugins.notify.mail: is missing"),
        ({"notify": {"mail": {"to": []}, "timeout": -1}}, "timeout must not be negative"),
        ({"notify": {"mail": {"to": []}}, "notfy": {}}, '(did you mean "notify"?)'),
        ({"notify": {"mail": {"to": []}}, "plain": {"a": 1}}, "plugins.plain: the plugin takes no"),
    ],
)
def test_a_section_that_cannot_be_is_refused(
    write: Any, load: Load, sections: Any, message: str
) -> None:
    write("notify", PLUGIN)
    write("plain", "")
    with pytest.raises(ConfigError) as raised:
        load(sections=sections)
    assert message in raised.value.message


def test_the_section_of_a_disabled_plugin_is_left_alone(write: Any, load: Load) -> None:
    write("notify", PLUGIN)
    load(sections={"notify": {"anything": 1}}, disable=["notify"])


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("return 7", "gives type, not a int"),
        ("return int", "is no dataclass"),
        ("return Odd", "which a section cannot have"),
    ],
)
def test_a_plugin_that_declares_no_proper_dataclass_is_told_so(
    write: Any, load: Load, declared: str, message: str
) -> None:
    write(
        "odd",
        "from dataclasses import dataclass\n@dataclass\nclass Odd:\n    a: complex = 1j\n"
        f"@hookimpl\ndef biso_config():\n    {declared}\n",
    )
    with pytest.raises(Exception, match=message):
        load(sections={"odd": {"a": 1}})
