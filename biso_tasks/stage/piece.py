"""One path of the data dir put in the place of what stands there. What is about to be done is on
the host before the first rename, so that `recover` takes back what a kill has left between two.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from biso_tasks.errors import BisoError, NeedsPerson
from biso_tasks.files.listing import Entry
from biso_tasks.files.piece import missing_folders, put_piece, take_piece_back
from biso_tasks.files.places import Slot
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import inside
from biso_tasks.stage.exchange import replaced_dir
from biso_tasks.stage.insist import insist, person
from biso_tasks.stage.intent import now
from biso_tasks.stage.model import access
from biso_tasks.stage.swap import PIECE

__all__ = ["piece_outlook", "piece_places", "place_piece", "recover_piece"]


def piece_places(instance: Instance, path: str, run: str) -> tuple[str, str, str, str]:
    """Where `path` of the data dir is while it is live, staged, kept, and on its way."""
    layout = instance.layout
    return (
        f"{layout.datadir}/{path}",
        f"{layout.stage_datadir}/{posixpath.basename(path)}",
        f"{replaced_dir(layout)}/{run}/{path}",
        f"{layout.stage_dir}/moving",
    )


def place_piece(
    instance: Instance, path: str, slot: Slot, parents: Mapping[str, Entry], *, run: str
) -> None:
    """Exchange what stands at `path` of the data dir with what is staged. `parents` are what was
    recorded of the folders above it, by their paths, the uppermost first. Where it fails, all is
    as it was; where even that fails, the intent stays for `recover`."""
    files = access(instance)
    new = missing_folders(files, tuple(parents))
    document = {"kind": PIECE, "run": run, "path": path, "slot": slot.as_dict(), "new": list(new)}
    instance.state.write("intent", {**document, "at": now()})
    try:
        made = {one: parents[one] for one in new}
        put_piece(files, slot, made, fallback_owner=instance.environment.owner)
    except BaseException as error:
        try:
            insist(lambda: _take_back(instance, slot, new))
        except BisoError as second:
            raise person(
                instance,
                f"putting {path!r} in place failed ({error}) and could not be taken back: "
                f"{second.message}",
            ) from error
        raise
    instance.state.remove("intent")


def recover_piece(instance: Instance, document: Mapping[str, Any]) -> list[str]:
    """Put an interrupted `place_piece` right, from any machine: what stood at the path before
    stands there. Gives what was done. Raises BisoError; calling it again goes on."""
    run, path, slot, new = _read(instance, document)
    _take_back(instance, slot, new)
    return [f"the restore of {path!r} by run {run} was taken back: what stood there is served"]


def piece_outlook(instance: Instance, document: Mapping[str, Any]) -> str:
    """What `recover_piece` would do. Nothing is changed. Raises NeedsPerson as it does."""
    run, path, _, _ = _read(instance, document)
    return f"takes back the restore of {path!r} by run {run}: what stood there is served"


def _take_back(instance: Instance, slot: Slot, new: Sequence[str]) -> None:
    take_piece_back(access(instance), slot, new, kept=replaced_dir(instance.layout))
    instance.state.remove("intent")


def _read(instance: Instance, document: Mapping[str, Any]) -> tuple[str, str, Slot, list[str]]:
    """Raises NeedsPerson where it names other paths than its own: such a one is not followed."""
    try:
        run, path = str(document["run"]), str(document["path"])
        slot = Slot.from_dict(document["slot"])
        new = [str(one) for one in document["new"]]
        if "/" in run or run in ("", ".", "..") or posixpath.normpath(path) != path:
            raise ValueError(f"it names the run {run!r} and the path {path!r}")
        if path.startswith(("/", "../")) or path in (".", ".."):
            raise ValueError(f"it names {path!r}")
        if (slot.live, slot.stage, slot.previous, slot.moving) != piece_places(instance, path, run):
            raise ValueError(f"it names {slot.live}")
        for one in new:
            if not (inside(one, instance.layout.datadir) and inside(slot.live, one)):
                raise ValueError(f"it names {one}")
    except (KeyError, TypeError, ValueError) as error:
        raise NeedsPerson(
            f"{instance.name}: {instance.layout.stage_dir}/intent.json does not fit this "
            f"environment ({error})",
            hint="was the data dir or stage_dir changed in the config since? put it back and run "
            "`biso recover` again",
        ) from error
    return run, path, slot, new
