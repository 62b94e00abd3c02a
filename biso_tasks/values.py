"""Values that every floor knows: a secret that cannot be printed, and a database's place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn, final

__all__ = ["Dsn", "Secret"]


@final
class Secret:
    """Holds a password: no `str()`, no format, no pickle. `reveal()` is the one way to read it, and
    easy to grep for."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret(…)"

    def __str__(self) -> NoReturn:
        raise TypeError("a Secret has no str(): call reveal() where it must be known")

    def __format__(self, spec: str) -> NoReturn:
        raise TypeError("a Secret cannot be formatted: call reveal() where it must be known")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")


@final
@dataclass(frozen=True, slots=True)
class Dsn:
    """Where a database is, as seen from the host that uses it. `host` is a name, an address, or a
    socket directory (starts with "/"); "" is the client's default socket."""

    host: str
    port: int
    dbname: str
    user: str
    password: Secret
