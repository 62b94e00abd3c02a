"""The lines that `doctor` collects for one host: an error of ours becomes a line, not the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from biso_tasks.config.model import Environment
from biso_tasks.database.facts import ServerFacts
from biso_tasks.errors import BisoError, plain
from biso_tasks.hooks.types import Check
from biso_tasks.host.protocol import Host
from biso_tasks.instance.instance import Instance

__all__ = ["Looked", "Sheet"]

T = TypeVar("T")


@dataclass(slots=True)
class Sheet:
    """The lines of one host, "" being this machine."""

    host: str
    checks: list[Check] = field(default_factory=list)

    def good(self, name: str, detail: str) -> None:
        self.checks.append(Check(self.host, name, True, _line(detail)))

    def bad(self, name: str, detail: str, remedy: str) -> None:
        # The first column of the line says the host already.
        text = _line(detail).removeprefix(f"{self.host}: ")
        self.checks.append(Check(self.host, name, False, text, _line(remedy)))

    def attempt(self, name: str, work: Callable[[], T], said: Callable[[T], str]) -> T | None:
        """What `work` gives, told by `said` ("": no line); None where it failed, which becomes the
        line."""
        try:
            value = work()
            text = said(value)
        except BisoError as error:
            self.bad(name, error.message, error.remedy)
            return None
        if text:
            self.good(name, text)
        return value

    def guard(self, name: str, work: Callable[[], object], text: str) -> bool:
        """Whether `work`, which gives nothing, passed."""
        return self.attempt(name, lambda: (work(), True)[1], lambda _: text) is not None


@dataclass(slots=True)
class Looked:
    """What is known of one environment afterwards; None where it could not be found out.
    `databases` are the main one's facts and the log database's, as many as could be read; `clock`
    says how many seconds its host is ahead of this machine; `answers` whether biso-cli did."""

    sheet: Sheet
    environment: Environment
    host: Host | None = None
    instance: Instance | None = None
    databases: tuple[ServerFacts, ...] = ()
    clock: float | None = None
    root_granted: bool = True
    answers: bool = False


def _line(text: str) -> str:
    return " ".join(plain(text).split())
