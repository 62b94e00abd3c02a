"""Migrations through `biso-cli`: asked for, applied, and asked for again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from biso_tasks.config.model import Environment
from biso_tasks.errors import StepFailed
from biso_tasks.host.command import Command, Result
from biso_tasks.instance.app import App


class Said:
    """A host whose biso-cli prints what it is told to, one answer a call."""

    login, name, address = "root", "test", ""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    def run(
        self,
        command: Command,
        *,
        stdin: bytes = b"",
        timeout: float | None = 60,
        ok: Sequence[int] | None = (0,),
    ) -> Result:
        return Result(0, self.answers.pop(0).encode(), b"")


def app(*answers: str) -> App:
    environment = Environment(name="test", role="test", webroot="/w")
    return App(Said(*answers), environment, "/w", "/w")  # type: ignore[arg-type]


def test_exec_is_asked_even_where_the_list_says_that_there_is_none() -> None:
    """A list that is misread as empty must not let a migration out."""
    quiet = app("Keine offenen Migrationen", "", "Keine offenen Migrationen")
    assert quiet.migrate() == 0
    assert quiet.host.answers == []  # type: ignore[attr-defined]


def test_one_that_is_pending_after_exec_is_a_failure_and_other_words_are_not() -> None:
    assert app("0004_mail", "done", "Alles erledigt, danke").migrate() == 1
    assert app("0004_mail", "done", "Alles aktuell. Stand: 2026-01-01").migrate() == 1
    for left in ("0004_mail", "0005_auch_neu", "OK 0004_mail\nPENDING 0005_x", "1 pending"):
        with pytest.raises(StepFailed, match="still pending"):
            app("0004_mail", "done", left).migrate()


def test_rubbish_is_one_clear_line() -> None:
    with pytest.raises(StepFailed) as failed:
        app("\0\1\x1b]0;Titel\x07\x7fELF\nzweite Zeile").pending_migrations()
    message = failed.value.message
    assert "no text" in message and "ELF" in message and failed.value.hint
    assert message.isprintable()


def test_a_sites_own_expression_for_none() -> None:
    environment = Environment(
        name="test", role="test", webroot="/w", texts=(("no_migrations", "gut so"),)
    )
    for text, names in (("0003_x: gut so", ()), ("0003_x: gut so\n0004_y", ("0004_y",))):
        one = App(Said(text), environment, "/w", "/w")  # type: ignore[arg-type]
        assert one.pending_migrations() == names
