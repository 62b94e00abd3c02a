"""`restore --path`: one file or folder of the data dir, checked against the set's checksums, put in
the place of what stands there now, which is kept.
"""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.sets.arriving import below, hold_set, require_arrived
from biso_tasks.actions.sets.restore import FromSet, survey_set
from biso_tasks.backup.checksums import SUMS
from biso_tasks.backup.sealed import Sealed
from biso_tasks.errors import Refused
from biso_tasks.files.listing import Entry
from biso_tasks.files.piece import apply_piece, piece_of, piece_slot
from biso_tasks.files.slots import Slot
from biso_tasks.files.sums import require_right
from biso_tasks.files.sync import transfer
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.stage.model import Area, access
from biso_tasks.stage.piece import piece_places, place_piece

__all__ = ["ACTIONS", "OnePath"]


@dataclass(slots=True)
class OnePath(FromSet):
    """The work of `restore --path`: `path` of the data dir; `entries` is what the set recorded of
    it, `parents` of the folders above it, `sums` the checksums of the set's files."""

    areas: frozenset[Area] = frozenset(("data",))
    path: str = ""
    entries: tuple[Entry, ...] = ()
    parents: dict[str, Entry] | None = None
    sums: Mapping[str, str] | None = None
    slot: Slot | None = None
    restored: bool = False

    @property
    def replaced(self) -> str:
        """Where what stood there is kept, "" where nothing did."""
        assert self.slot is not None
        return self.slot.previous if self.slot.live_id else ""

    @property
    def staged_at(self) -> str:
        return piece_places(self.target, self.path, self.run_id)[1]

    def look_at_slot(self) -> Slot:
        """As it stands now."""
        _, staged, kept, moving = piece_places(self.target, self.path, self.run_id)
        files, root = access(self.target), self.target.layout.datadir
        return piece_slot(files, root, self.path, staged=staged, kept=kept, moving=moving)

    def look_again(self) -> None:
        assert self.store is not None
        whole = survey_set(self.session, self, self.store)
        self.survey = replace(whole, notes=())
        self._read_record()
        self.slot = self.look_at_slot()

    def fingerprint(self) -> Mapping[str, object]:
        return {**self.facts.fingerprint(), "path": (self.path, len(self.entries), self.replaced)}

    def _read_record(self) -> None:
        sealed = Sealed(self.facts.store, self.backup)
        self.sums = sealed.sums()
        _, *tree = sealed.tree("data")
        self.entries = piece_of(tree, self.path)
        if not self.entries:
            near = difflib.get_close_matches(self.path, [entry.path for entry in tree], 3)
            raise Refused(
                f"{self.id} has no {self.path!r} in its data dir",
                hint=f"did you mean {', '.join(near)}?" if near else "take another set",
            )
        datadir = self.target.layout.datadir
        self.parents = {
            f"{datadir}/{entry.path}": entry
            for entry in tree
            if self.path.startswith(f"{entry.path}/")
        }


def _bring(context: Context[OnePath]) -> dict[str, Any]:
    work = context.work
    assert work.sums is not None
    hold_set(context)
    inside = posixpath.join("data", posixpath.dirname(work.path)).rstrip("/")
    files, root = access(work.target), work.stage.datadir
    moved = transfer(
        work.keeper,
        f"{work.backup.path}/{inside}",
        files,
        root,
        work.entries,
        route=work.facts.route,
        using=work.facts.method,
        recorded=True,
        cancel=context.cancel,
    )
    require_arrived(work.id, inside, moved.vanished)
    regular = [entry for entry in work.entries if entry.kind == "file"]
    require_right(files, root, regular, below(work.sums, inside), cancel=context.cancel)
    for note in apply_piece(
        files, root, work.entries, fallback_owner=work.target.environment.owner
    ):
        context.note(note)
    return {"files": len(regular)}


def _describe_bring(context: Context[OnePath]) -> Effects:
    work = context.work
    return Effects(
        changes=(
            f"copies {len(work.entries)} entries from {work.backup.path}/data to "
            f"{work.staged_at}, checks them against {SUMS}",
        )
    )


def _place(context: Context[OnePath]) -> None:
    work = context.work
    assert work.slot is not None
    assert work.parents is not None
    work.require_ours()
    work.slot = work.look_at_slot()  # with what was brought
    place_piece(work.target, work.path, work.slot, work.parents, run=work.run_id)
    work.restored = True


def _describe_place(context: Context[OnePath]) -> Effects:
    work = context.work
    live = f"{work.target.layout.datadir}/{work.path}"
    kept = f"; what stands there now is kept: {work.replaced}" if work.replaced else ""
    return Effects(changes=(f"puts it in place: {live}{kept}",))


ACTIONS = (
    Action("bring-path", _bring, "Copy one path of the data dir beside it", _describe_bring),
    Action("place-path", _place, "Put one path of the data dir in place", _describe_place),
)
