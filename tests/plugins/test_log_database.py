from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.errors import ConfigError, StepFailed
from biso_tasks.hooks.manager import PluginManager
from biso_tasks.hooks.types import ExtraDatabase

Load = Callable[..., PluginManager]


def databases(manager: PluginManager, *keys: str) -> list[ExtraDatabase]:
    answers = dict(manager.collect("biso_databases", instance=SimpleNamespace(keys=keys)))
    return list(answers["log_database"])


def test_an_instance_whose_config_php_names_a_log_database_has_one_more_database(
    load: Load,
) -> None:
    expected = ExtraDatabase("log.db", "log", refresh=None, backup=True)
    assert databases(load(), "env", "gaia.db", "log.db") == [expected]
    assert databases(load(), "env", "gaia.db") == []


def test_the_section_says_what_becomes_of_it(load: Load) -> None:
    manager = load(log_database={"key": "protokoll.db", "refresh": "copy", "backup": False})
    expected = ExtraDatabase("protokoll.db", "log", refresh="copy", backup=False)
    assert databases(manager, "protokoll.db", "log.db") == [expected]
    with pytest.raises(ConfigError, match=r"plugins\.log_database\.refresh: expected 'skip' or"):
        load(log_database={"refresh": "drop"})


def verified(manager: PluginManager, stage: Any) -> list[tuple[bool, str]]:
    found = dict(manager.collect("biso_verify", stage=stage))["log_database"]
    return [(one.ok, one.detail) for one in found]


def test_a_stage_without_a_log_database_has_nothing_to_verify(load: Load, stage: Any) -> None:
    stage.databases = {"gaia.db": "biso_test__stage"}
    assert verified(load(), stage) == []


def test_a_log_database_of_the_stage_must_answer(load: Load, stage: Any) -> None:
    asked: list[str] = []

    @contextlib.contextmanager
    def answers() -> Any:
        yield SimpleNamespace(execute=asked.append)

    @contextlib.contextmanager
    def fails() -> Any:
        raise StepFailed("cannot connect to database 'biso_log__stage'", hint="is it running?")
        yield

    stage.databases = {"gaia.db": "biso_test__stage", "log.db": "biso_log__stage"}
    stage.connections = {"log.db": answers}
    assert verified(load(), stage) == [(True, "biso_log__stage answers")]
    assert asked == ["SELECT 1"]
    stage.connections = {"log.db": fails}
    assert verified(load(), stage) == [(False, "cannot connect to database 'biso_log__stage'")]
