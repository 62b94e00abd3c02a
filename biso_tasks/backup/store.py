"""The store: sets on an environment's host, below `[backup] path`. All of it belongs to the login
of that host, never to the application's user: a cracked web application must not reach it.
"""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar, Final

from biso_tasks.backup import scripts
from biso_tasks.backup.ids import BadSet, parse_id
from biso_tasks.backup.metadata import TREES
from biso_tasks.backup.sets import BackupSet, StoredSet, own_manifest, stored
from biso_tasks.backup.state import Mark, Pin, SetState
from biso_tasks.errors import Locked, Refused, StepFailed
from biso_tasks.host.command import Result, script
from biso_tasks.host.protocol import CommandFailed, Host
from biso_tasks.instance.lock import lock_folder, owner_of

__all__ = ["BackupSet", "Store", "StoredSet"]

_NEAR: Final = 3


class Store:
    """The sets below `path` of `host`. `environment`: whose sets "latest" means (None: any).
    `links`: whose sets `latest` and db/biso_latest.sql.gz name; sets of others never move them.
    Whoever changes something holds `lock`."""

    __slots__ = ("environment", "host", "links", "path")
    managed: ClassVar[bool] = True
    """Whether states are written here, and sets removed."""

    def __init__(
        self,
        host: Host,
        path: str,
        environment: str | None = None,
        *,
        links: str | None = None,
    ) -> None:
        self.host = host
        self.path = path
        self.environment = environment
        self.links = links

    def __str__(self) -> str:
        return f"the backup store {self.path} of {self.host.name}"

    def prepare(self) -> None:
        """Make the store's folders, 0700. Idempotent. Raises Refused where they cannot be made, or
        belong to another user."""
        if self._run(scripts.PREPARE, ok=(0, 73)).code == 73:
            raise self._unmakeable()

    def require_place(self) -> None:
        """Raises Refused where `prepare` would, as far as that can be told without a change."""
        if self._run(scripts.MAKEABLE, ok=(0, 73)).code == 73:
            raise self._unmakeable()

    def _unmakeable(self) -> Refused:
        return Refused(
            f"{self.host.name}: {self.host.login} cannot make {self.path}",
            hint=f"make it once, as root: install -d -m 0700 -o {self.host.login} -- {self.path}",
        )

    @property
    def scratch(self) -> str:
        """A folder on the host for what a look at a set needs, "" for any."""
        return f"{self.path}/sets"

    def lock(self, owner: dict[str, str]) -> AbstractContextManager[object]:
        """Hold the store; it must be `prepare`d. `owner` says who to a colleague: run, who, since.
        Raises Locked, naming the owner, where another run holds it."""
        return lock_folder(self.host, self.path, owner, user=None, what=str(self))

    def require_here(self, ids: Iterable[str]) -> None:
        """Raises Refused where one of the sets does not lie on this host: in an ordinary store all
        that are listed do."""

    def set_path(self, id: str) -> str:
        """Where the sealed set is."""
        return posixpath.join(self.path, "sets", str(parse_id(id)))

    def partial_path(self, id: str) -> str:
        """Where the set is while it is built."""
        return posixpath.join(self.path, "sets", parse_id(id).partial)

    def list(self) -> tuple[StoredSet, ...]:
        """All sets, the oldest first, partial ones too; none where there is no store. One round
        trip. Raises Refused where the store belongs to another user."""
        return tuple(sorted(self._look(""), key=lambda one: (one.id, one.state)))

    def read(self, id: str) -> BackupSet:
        """One sealed set, whatever its state. Raises Refused where there is none of this id, BadSet
        where its documents cannot be read."""
        parse_id(id)
        found = self._look(id)
        if not found:
            raise self._unknown(id)
        one = found[0]
        if one.manifest is None or one.status is None:
            raise BadSet(
                f"{self.host.name}: the set {id} cannot be relied on: {one.why}",
                hint="take another one (`biso list`). Was only a part of it copied? Copy the whole "
                "directory again; by hand, RESTORE.md in it says how",
            )
        return BackupSet(id, self.set_path(id), one.manifest, one.status)

    def resolve(self, word: str) -> str:
        """The id that a person means. "latest": the newest good set that is complete and was not
        made to be handed out; "released": the newest good one that was, of data and database.
        Raises Refused, naming
        what there is, for anything else that is no sealed set."""
        if word not in ("latest", "released"):
            parse_id(word)
            if not self._look(word):
                raise self._unknown(word)
            return word
        known = self.list()
        newest = _newest(known, self.environment, released=word == "released")
        if newest is None:
            kind = "good released" if word == "released" else "complete good"
            whose = f" of {self.environment}" if self.environment else ""
            bad = [f"{one.id} is {one.state}: {one.why}" for one in known if one.why]
            raise Refused(
                f"there is no {kind} set{whose} in {self}"
                + "".join(f"; {one}" for one in bad[-3:]),
                hint="`biso list` shows what is there, "
                f"`biso {'release' if word == 'released' else 'backup'}` makes one",
            )
        return newest.id

    def former(self, environment: str, *, personal: bool) -> tuple[StoredSet, ...]:
        """The good sets of `environment`, the newest first, that a new one may share unchanged
        files with and is measured by: as personal as that one, and never any that was prepared to
        be handed out, whose files may be placeholders."""
        fit = [
            one
            for one in self.list()
            if one.good
            and one.environment == environment
            and not one.released
            and one.manifest is not None
            and one.manifest.personal == personal
        ]
        return tuple(reversed(fit))

    def begin(self, id: str, areas: Collection[str]) -> str:
        """Make the set's directory, 0700: its path. What a killed run of the same environment left
        of the trees that are in `areas` stands in it, to be gone on with, and what was remembered
        of it is now the new set's; older partial sets of the environment that have these trees, or
        none, are removed."""
        parsed = parse_id(id)
        trees = [tree for tree in TREES if tree in areas]
        self._run(scripts.BEGIN, parsed.partial, parsed.env, *trees, timeout=None)
        return self.partial_path(id)

    def write_file(self, id: str, name: str, content: bytes) -> None:
        """Write one file (0600, fsynced) of the set that is built; `name` is relative to it."""
        if name != posixpath.normpath(name) or name.startswith(("/", "..")):
            raise ValueError(name)
        self._run(scripts.WRITE, parse_id(id).partial, name, stdin=content, timeout=None)

    def read_file(self, id: str, name: str) -> bytes | None:
        """One file of a sealed set, None where there is no such regular file. Nothing is checked:
        see `sealed.py`."""
        result = self._run(scripts.READ, str(parse_id(id)), name, timeout=300, ok=(0, 66))
        return self._whole(name, result.out) if result.code == 0 else None

    def remember(self, id: str, area: str, content: bytes) -> None:
        """Keep for later what is worth knowing of an area of a set, sealed or not. It is no part of
        the set; whoever loses it is only slower."""
        self._run(scripts.REMEMBER, _remembered(id, area), stdin=content, timeout=None)

    def recall(self, id: str, area: str) -> bytes | None:
        """What was remembered, None where that is not there any more."""
        result = self._run(scripts.RECALL, _remembered(id, area), timeout=300, ok=(0, 66))
        return result.out if result.code == 0 else None

    def seal(self, id: str, *, run: str, moment: datetime | None = None) -> BackupSet:
        """Make the set that was built a good one: everything on disk, then one rename; then
        `latest` where it is the newest complete one. Raises BadSet where its manifest is not its
        own, StepFailed; what fails before the rename leaves a partial set."""
        parsed = parse_id(id)
        ready = self._run(scripts.READY, parsed.partial, timeout=None).out
        sums, _, content = ready.partition(b"\n")
        manifest = own_manifest(content, id)
        when = _text(moment or datetime.now(UTC))
        status = SetState(sums.decode(), Mark(when, run))
        self._run(scripts.PLACE, parsed.partial, id, stdin=status.as_toml(), timeout=None)
        if manifest.kind == "full":
            self.point_for([id])
        return BackupSet(id, self.set_path(id), manifest, status)

    def write_state(self, id: str, status: SetState) -> None:
        """Replace a sealed set's state, whole or not at all."""
        self._run(scripts.STATE_FILE, str(parse_id(id)), stdin=status.as_toml())

    def pin(self, id: str, reason: str, until: datetime | None, now: datetime) -> None:
        """Keep a set whatever the retention says, `until` a moment (with its zone) or for ever."""
        pin = Pin(reason, _text(now), None if until is None else _text(until))
        self.write_state(id, replace(self.read(id).status, pin=pin))

    def unpin(self, id: str) -> None:
        self.write_state(id, replace(self.read(id).status, pin=None))

    def remove(self, id: str) -> None:
        """Remove a sealed set; `latest` goes to the newest one that remains. A killed removal is
        ended by `sweep`. Raises Refused where there is none of this id, Locked, naming the owner,
        where it is being read (`reading.py`)."""
        self._remove(id, str(parse_id(id)))

    def remove_partial(self, id: str) -> None:
        """Remove what an interrupted run left of the set `id`. Raises Refused where that is not
        there."""
        self._remove(id, parse_id(id).partial)

    def _remove(self, id: str, name: str) -> None:
        if not self._look(name):
            raise self._unknown(id)
        done = self._run(scripts.REMOVE, name, "rename", ok=(0, 75))
        if done.code == 75:
            raise Locked(
                f"{id} in {self} is being read by {owner_of(done.text)}",
                hint="it can be removed when that has ended",
            )
        self.point_for([id])
        self._run(scripts.REMOVE, name, "away", timeout=None)

    def left(self) -> tuple[str, ...]:
        """What `sweep` would remove, by name; nothing while somebody holds the store."""
        return tuple(self._run(scripts.LEFT, timeout=300).text.splitlines())

    def sweep(self) -> tuple[str, ...]:
        """Remove what killed runs left, but for partial sets; put `latest` right. The names of what
        was removed."""
        swept = self._run(scripts.SWEEP, timeout=None).text.splitlines()
        self.point_for(one.id for one in self.list())
        return tuple(swept)

    def point_for(self, ids: Iterable[str]) -> None:
        """Something has changed about these sets: `latest` and db/biso_latest.sql.gz name the
        newest good complete set of `links`, where one of them is of that environment."""
        if self.links is None or self.links not in {parse_id(id).env for id in ids}:
            return
        newest = _newest(self.list(), self.links, released=False)
        if newest is None or newest.manifest is None:
            self._run(scripts.POINT, "", "")
            return
        main = newest.manifest.databases[0]
        self._run(scripts.POINT, newest.id, main.file if main.format == "plain" else "")

    def _look(self, id: str) -> tuple[StoredSet, ...]:
        lines = self._listed(self._run(scripts.LIST, id, timeout=300))
        return tuple(stored(*line.split(" ")) for line in lines)

    def _listed(self, result: Result) -> Sequence[str]:
        """The lines of a list, of which "end" is the last. Raises StepFailed where it is not."""
        lines = result.text.splitlines()
        if lines[-1:] != ["end"]:
            raise StepFailed(
                f"{self}: the list of its sets came by half", hint="run the task again"
            )
        return lines[:-1]

    def _whole(self, name: str, out: bytes) -> bytes:
        """A file that was read, without its size before it. Raises StepFailed where it is not of
        that size: that is nothing against the file."""
        size, _, content = out.partition(b"\n")
        if size != str(len(content)).encode():
            raise StepFailed(f"{self}: {name} came by half", hint="run the task again")
        return content

    def _unknown(self, id: str) -> Refused:
        known = [one.id for one in self.list() if one.state != "partial"]
        near = difflib.get_close_matches(id, known, _NEAR) or known[-_NEAR:]
        return Refused(
            f"there is no set {id} in {self}",
            hint=f"did you mean {', '.join(near)}?" if near else "the store holds no set yet",
        )

    def _run(
        self,
        text: str,
        *args: str,
        stdin: bytes = b"",
        timeout: float | None = 60,
        ok: tuple[int, ...] = (0,),
    ) -> Result:
        return self._run_in(text, self.path, *args, stdin=stdin, timeout=timeout, ok=ok)

    def _run_in(
        self,
        text: str,
        *args: str,
        stdin: bytes = b"",
        timeout: float | None = 300,
        ok: tuple[int, ...] = (0,),
    ) -> Result:
        command = script(text, *args)
        try:
            result = self.host.run(command, stdin=stdin, timeout=timeout, ok=(*ok, 65))
        except CommandFailed as error:
            said = error.result.error or error.message
            raise StepFailed(f"{self}: {said}", hint=error.hint) from error
        if result.code == 65:
            raise Refused(
                f"{self} belongs to {result.text}, not to {self.host.login}",
                hint=f"connect as {result.text} (`ssh` of the environment), or give another "
                "`path` in [backup]",
            )
        return result


def _newest(
    sets: tuple[StoredSet, ...], environment: str | None, *, released: bool
) -> StoredSet | None:
    fit = [
        one
        for one in sets
        if one.good
        and (one.handed_out if released else one.complete and not one.released)
        and environment in (None, one.environment)
    ]
    return fit[-1] if fit else None


def _remembered(id: str, area: str) -> str:
    if area not in TREES:
        raise ValueError(area)
    return f"{parse_id(id)}.{area}"


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
