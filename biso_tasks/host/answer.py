"""What a host answered, where it is taken apart: one that came by half is no defect of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from biso_tasks.host.protocol import HostError

__all__ = ["answered", "by_half", "fields", "whole"]

_END: Final = "end"


@contextmanager
def answered(name: str, what: str) -> Iterator[None]:
    """While inside, nothing but the answer of the host `name` about `what` is taken apart: raises
    HostError where it has not the parts that were asked for."""
    try:
        yield
    except (ValueError, IndexError) as error:
        raise by_half(name, what) from error


def fields(
    name: str, what: str, said: bytes, count: int | None = None, *, end: bool = False
) -> list[str]:
    """The NUL-terminated fields of what the host `name` said about `what`, as text with
    surrogateescape. Raises HostError where the last one is not whole or there are not `count`; with
    `end` the last one must be that word, and is none of them: of a list that may be of any length
    nobody sees otherwise that it was cut between two."""
    *raw, rest = said.split(b"\0")
    found = [one.decode("utf-8", "surrogateescape") for one in raw]
    whole = not rest and (not end or found[-1:] == [_END])
    if end:
        found = found[:-1]
    if not whole or count not in (None, len(found)):
        raise by_half(name, what)
    return found


def whole(name: str, what: str, said: bytes) -> bytes:
    """What the host `name` said about `what`, where that is any text: its script ends with
    `printf '\\0end'`, which is not given. Raises HostError where that is missing."""
    text, end, rest = said.rpartition(f"\0{_END}".encode())
    if not end or rest:
        raise by_half(name, what)
    return text


def by_half(name: str, what: str) -> HostError:
    """What to raise where the answer of the host `name` about `what` is not whole."""
    return HostError(
        f"{name}: its answer about {what} came by half",
        hint="run the task again; if it stays so, `biso doctor` looks at that host",
    )
