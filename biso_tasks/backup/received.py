"""Releases that a restricted account hands out through the gate (`gate.py`): looked at there, and
fetched whole into a store on the host that uses them, where they are like any other set.

What arrives is believed by its checksums, on this side; nothing runs on the other one but the gate.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from biso_tasks.backup.gate import DOCUMENTS
from biso_tasks.backup.ids import BadSet, is_id
from biso_tasks.backup.sets import StoredSet, stored
from biso_tasks.backup.state import SetState
from biso_tasks.backup.store import BackupSet, Store
from biso_tasks.database.transfer import Leg, transfer
from biso_tasks.errors import ProofFailed, Refused
from biso_tasks.files.access import Access
from biso_tasks.files.space import require_space
from biso_tasks.host.command import Command, Result, script
from biso_tasks.host.protocol import CommandFailed, Host

__all__ = ["Received"]

# tar takes neither absolute names nor ".." out of an archive, and follows no link that came in it.
_TAKE: Final = r"""
umask 077
cd -- "$1"
tar --extract --file=- --no-same-owner --no-same-permissions --delay-directory-restore
sync -f -- .
"""
_ANSWERS: Final = 66  # of the gate: there is no such document


class Received(Store):
    """The releases behind `gate`, and those that were fetched before into `path` of `host`. What
    was fetched and is well is not asked for again."""

    __slots__ = ("gate",)

    def __init__(self, host: Host, path: str, gate: Host) -> None:
        super().__init__(host, path)
        self.gate = gate

    def __str__(self) -> str:
        return f"the releases behind {self.gate.name}"

    def here(self, id: str) -> bool:
        """Whether the release was fetched, and is well as far as is known."""
        return any(one.good for one in super()._look(id))

    def require_here(self, ids: Iterable[str]) -> None:
        for id in ids:
            if not any(one.state != "partial" for one in super()._look(id)):
                raise Refused(
                    f"the release {id} was not fetched yet: it lies behind {self.gate.name}",
                    hint="`biso refresh-test --source released` fetches the newest and reads all "
                    "of it",
                )

    def write_state(self, id: str, status: SetState) -> None:
        self.require_here([id])
        super().write_state(id, status)

    def read_file(self, id: str, name: str) -> bytes | None:
        """As `Store.read_file`; of a release that was not fetched yet, documents alone."""
        if self.here(id):
            return super().read_file(id, name)
        if name not in DOCUMENTS:
            return None
        result = self._ask("read", id, name)
        return result.out if result.code == 0 else None

    def fetch(self, planned: BackupSet, *, run: str, cancel: threading.Event) -> None:
        """Bring the release `planned` here. The caller holds the store; what fails leaves a partial
        set. Raises StepFailed where not all of it came, ProofFailed where it is not the one that
        was looked at, Refused where it has no room."""
        id, size = planned.id, planned.manifest.size
        require_space(Access(self.host), self.path, bytes_needed=size, purpose=f"the release {id}")
        for one in super()._look(""):
            if one.state == "partial":
                self.remove_partial(one.id)
            elif one.id == id:
                self.remove(id)  # damaged: another copy takes its place
        self.sweep()
        place = self.begin(id, ())
        transfer(
            Leg(self.gate, Command(("fetch", id))),
            Leg(self.host, script(_TAKE, place)),
            f"fetching the release {id} from {self.gate.name}",
            route="relay",
            cancel=cancel,
        )
        sealed = self.seal(id, run=run)
        if sealed.status.sums != planned.status.sums:
            self.remove(id)
            raise ProofFailed(
                f"the release {id} that {self.gate.name} sent is not the one that it had named",
                hint="nothing of it was kept; was it made anew just now? Run it again",
            )

    def _look(self, id: str) -> tuple[StoredSet, ...]:
        known = {one.id: one for one in super()._look(id)}
        if id and any(one.good for one in known.values()):
            return tuple(known.values())
        for line in self._ask("list").text.splitlines():
            words = line.split(" ")
            if len(words) != 3 or not is_id(words[0]):
                raise BadSet(
                    f"{self.gate.name} answers with something else than releases",
                    hint="its authorized_keys wants the gate as forced command: docs/release.md",
                )
            one = stored(*words)
            if id in ("", one.id) and not (one.id in known and known[one.id].good):
                known[one.id] = one
        return tuple(known.values())

    def _ask(self, *words: str) -> Result:
        # Without a time of its own: the gate takes these words and no others.
        try:
            return self.gate.run(Command(words), timeout=None, ok=(0, _ANSWERS))
        except CommandFailed as error:
            raise Refused(
                f"{self.gate.name} does not hand out releases: {error.result.error}",
                hint="is its key bound to the gate there? docs/release.md says how; `biso release "
                "--gate` prints it",
            ) from error
