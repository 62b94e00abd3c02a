"""A set is whole or it is not used: nobody removes it meanwhile, and what of it did not arrive has
not just vanished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from biso_tasks.actions.kit import Context
from biso_tasks.actions.sets.restore import FromSet
from biso_tasks.backup.reading import reading
from biso_tasks.errors import ProofFailed
from biso_tasks.files.listing import named
from biso_tasks.session import lock_owner

__all__ = ["below", "hold_set", "require_arrived"]


def hold_set(context: Context[FromSet]) -> None:
    """Keep the set from being removed until the run has ended, in whatever way."""
    work = context.work
    why = work.open.enter_context(reading(work.facts.store, work.id, lock_owner(work.run_id)))
    if why:
        context.note(f"{work.id} is not marked as being read, so a prune may remove it: {why}")


def require_arrived(id: str, inside: str, missing: Sequence[str]) -> None:
    """Raises ProofFailed, naming files, where something of the set's tree `inside` did not come."""
    if missing:
        paths = named([f"{inside}/{path}" for path in missing])
        raise ProofFailed(
            f"{paths} of {id} did not arrive, although the set was whole a moment ago",
            hint="nothing was changed; does somebody else write into the store? `biso verify "
            "--set` reads all of this set; take another",
        )


def below(sums: Mapping[str, str], inside: str) -> dict[str, str]:
    """The checksums of a set's files below the folder `inside`, by their paths there."""
    prefix = f"{inside}/"
    return {
        path.removeprefix(prefix): value for path, value in sums.items() if path.startswith(prefix)
    }
