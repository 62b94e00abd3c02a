from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from biso_tasks.errors import Interrupted, Refused
from biso_tasks.ui.confirm import confirm


def typed(text: str) -> Callable[[str], str]:
    return lambda prompt: text


def never(prompt: str) -> str:
    raise AssertionError("nobody may be asked")


def ended(prompt: str) -> str:
    raise EOFError


def stopped(prompt: str) -> str:
    raise KeyboardInterrupt


def test_a_plan_without_a_name_to_type_asks_nothing() -> None:
    confirm("", yes=False, interactive=False, read=never)


def test_the_name_is_asked_for_once_and_typed() -> None:
    asked = io.StringIO()
    confirm("test", yes=False, interactive=True, read=typed(" test "), stream=asked)
    assert asked.getvalue() == (
        "To go on, type the name of the environment that will be changed: test\n"
    )


@pytest.mark.parametrize("word", ["tset", "", "TEST", "yes", "y", "test2"])
def test_anything_but_the_name_is_refused(word: str) -> None:
    with pytest.raises(Refused, match="nothing was changed") as caught:
        confirm("test", yes=False, interactive=True, read=typed(word), stream=io.StringIO())
    assert caught.value.exit_code == 3


def test_the_end_of_input_is_a_refusal_and_ctrl_c_an_interrupt() -> None:
    with pytest.raises(Refused, match="no name was typed"):
        confirm("test", yes=False, interactive=True, read=ended, stream=io.StringIO())
    with pytest.raises(Interrupted):
        confirm("test", yes=False, interactive=True, read=stopped, stream=io.StringIO())


def test_yes_is_enough_for_a_test_environment() -> None:
    confirm("test", yes=True, interactive=False, read=never)
    confirm("test", yes=True, interactive=True, read=never)


def test_without_a_terminal_and_without_yes_it_is_refused_with_what_to_add() -> None:
    with pytest.raises(Refused) as caught:
        confirm("test", yes=False, interactive=False, read=never)
    assert "--yes" in caught.value.hint


@pytest.mark.parametrize("yes", [True, False])
def test_yes_is_not_enough_for_a_production_environment(yes: bool) -> None:
    with pytest.raises(Refused) as caught:
        confirm("prod", yes=yes, interactive=False, production=True, read=never)
    assert "--confirm prod" in caught.value.hint
    with pytest.raises(Refused):
        confirm("prod", yes=yes, interactive=True, production=True, read=typed("y"),
                stream=io.StringIO())  # fmt: skip
    confirm("prod", yes=yes, interactive=True, production=True, read=typed("prod"),
            stream=io.StringIO())  # fmt: skip


@pytest.mark.parametrize("production", [True, False])
def test_a_given_name_has_to_be_the_target(production: bool) -> None:
    confirm("prod", yes=False, interactive=False, production=production, given="prod", read=never)
    for wrong in ("test", "", "prod "):
        with pytest.raises(Refused):
            confirm("prod", yes=True, interactive=True, production=production, given=wrong,
                    read=typed("prod"))  # fmt: skip


def test_what_was_typed_is_shown_harmlessly(hostile: str) -> None:
    with pytest.raises(Refused) as caught:
        confirm("test", yes=False, interactive=True, read=typed(hostile), stream=io.StringIO())
    assert caught.value.message.isprintable()
