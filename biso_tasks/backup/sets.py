"""Sets as the store's listing sees them."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime

from biso_tasks.backup.ids import PARTIAL, BadSet, parse_id
from biso_tasks.backup.manifest import AREAS, Manifest
from biso_tasks.backup.state import GOOD, Pin, SetState, State

__all__ = ["BackupSet", "StoredSet", "content", "own_manifest", "stored"]


@dataclass(frozen=True, slots=True)
class StoredSet:
    """A set as a listing sees it. `manifest` and `status` are None where they cannot be read: then
    it is damaged (or partial), and `why` says what is wrong."""

    id: str
    state: State
    status: SetState | None
    manifest: Manifest | None
    why: str = ""

    @property
    def environment(self) -> str:
        return parse_id(self.id).env

    @property
    def moment(self) -> datetime:
        return parse_id(self.id).moment

    @property
    def areas(self) -> tuple[str, ...]:
        return self.manifest.areas if self.manifest else ()

    @property
    def complete(self) -> bool:
        return set(self.areas) == set(AREAS)

    @property
    def good(self) -> bool:
        """Good, verified or drilled."""
        return self.state in GOOD

    @property
    def released(self) -> bool:
        """Anonymised to be handed out: `latest` never means such a set."""
        return self.manifest is not None and self.manifest.released

    @property
    def handed_out(self) -> bool:
        """Whether it is a release with all that a refresh takes: data and database."""
        return self.released and {"data", "database"} <= set(self.areas)

    @property
    def size(self) -> int:
        return self.manifest.size if self.manifest else 0

    @property
    def pin(self) -> Pin | None:
        return self.status.pin if self.status else None


@dataclass(frozen=True, slots=True)
class BackupSet:
    """A sealed set whose documents can be read; `path` is on the store's host."""

    id: str
    path: str
    manifest: Manifest
    status: SetState


def stored(name: str, state: str, manifest: str) -> StoredSet:
    """The set in the directory `name`, from its state.toml and manifest.toml in base64 ("-" where
    there is none)."""
    if name.startswith(PARTIAL):
        return StoredSet(name.removeprefix(PARTIAL), "partial", None, None, "it was never sealed")
    id = str(parse_id(name))
    status = found = None
    try:
        status = SetState.from_toml(content(state, "state.toml"))
        found = own_manifest(content(manifest, "manifest.toml"), id)
    except BadSet as error:
        return StoredSet(id, "damaged", status, None, error.message)
    why = status.damaged.text if status.damaged else ""
    return StoredSet(id, status.state, status, found, why)


def own_manifest(text: bytes, id: str) -> Manifest:
    """The manifest of the set `id`. Raises BadSet where it cannot be read, or is of another."""
    found = Manifest.from_toml(text)
    if found.id != id:
        raise BadSet(f"manifest.toml: id: {found.id} lies in the directory of {id}")
    return found


def content(text: str, name: str) -> bytes:
    """The file `name` as a listing printed it. Raises BadSet where there is none, or it could not
    be read."""
    if text == "-":
        raise BadSet(f"{name} is missing")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadSet(f"{name} cannot be read") from error
