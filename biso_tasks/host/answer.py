"""What a host answered, where it is taken apart: one that came by half is no defect of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from biso_tasks.host.protocol import HostError

__all__ = ["answered"]


@contextmanager
def answered(name: str, what: str) -> Iterator[None]:
    """While inside, nothing but the answer of the host `name` about `what` is taken apart: raises
    HostError where it has not the parts that were asked for."""
    try:
        yield
    except (ValueError, IndexError) as error:
        raise HostError(
            f"{name}: its answer about {what} came by half",
            hint="run the task again; if it stays so, `biso doctor` looks at that host",
        ) from error
