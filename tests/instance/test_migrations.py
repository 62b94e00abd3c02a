"""What `migration list` says, whatever its words are."""

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


@pytest.mark.parametrize(
    "text",
    [
        "", "\n\n", "Keine offenen Migrationen", "No pending migrations.", "Pending migrations: 0",
        "0 migrations pending", "Nothing to do", "Nichts zu tun", "Already up to date", "none",
        "ok", "Ausstehende Migrationen: 0", "keine",
    ],
)  # fmt: skip
def test_it_knows_when_there_is_none(text: str) -> None:
    assert app(text).pending_migrations() == ()


def test_it_lists_them_without_the_heading() -> None:
    text = "Offene Migrationen\n  0004_mail.sql\n - Version20240101 neue Spalte\n\nadd_column\n"
    assert app(text).pending_migrations() == (
        "0004_mail.sql",
        "- Version20240101 neue Spalte",
        "add_column",
    )


def test_one_that_is_pending_after_exec_is_a_failure_and_other_words_are_not() -> None:
    app("0004_mail", "done", "Alles erledigt, danke").migrate()
    with pytest.raises(StepFailed, match="0004_mail"):
        app("0004_mail", "done", "0004_mail").migrate()
