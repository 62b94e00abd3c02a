"""What has to be put back is tried for a while: a server that starts again, or a link that was cut,
is back in seconds, and until then a site is away or production's rows stand beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from biso_tasks.errors import BisoError, NeedsPerson, StepFailed
from biso_tasks.instance.instance import Instance

__all__ = ["insist", "person", "write_down"]

_PATIENCE: Final = 20.0  # seconds


def insist(act: Callable[[], object]) -> None:
    """Do what can be done again, until it ends well. Raises the last error after twenty seconds; at
    once where waiting does not help."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            act()
        except NeedsPerson:
            raise
        except BisoError:
            if time.monotonic() > end:
                raise
            time.sleep(1)
        else:
            return


def write_down(instance: Instance, write: Callable[[], object]) -> None:
    """Let its host write down what serves now, and that nothing is under way any more: all else is
    done. Raises StepFailed, which says so."""
    try:
        insist(write)
    except BisoError as error:
        raise StepFailed(
            f"{instance.name}: what was put in place is whole and serves, but its host could not "
            f"write that down: {error.message}",
            hint="mend what the message names, then run `biso recover`",
        ) from error


def person(instance: Instance, message: str) -> NeedsPerson:
    """What is told where even that failed, and an intent stays."""
    return NeedsPerson(
        f"{instance.name}: {message}",
        hint="mend what the message names, then run `biso recover`: it goes on from what the host "
        "has written down",
    )
