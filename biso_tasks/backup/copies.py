"""Sets that somebody has copied out of a store: a directory of one set, or a folder that holds
some, whatever they are called there. Their id is the one that their manifest says. They are only
read.
"""

from __future__ import annotations

import base64
import posixpath
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar, Final

from biso_tasks.backup.ids import BadSet, is_id, parse_id
from biso_tasks.backup.manifest import MANIFEST, Manifest
from biso_tasks.backup.sets import StoredSet, content, stored
from biso_tasks.backup.state import SetState
from biso_tasks.backup.store import Store
from biso_tasks.errors import Refused
from biso_tasks.host.answer import fields
from biso_tasks.host.command import script
from biso_tasks.host.protocol import Host

__all__ = ["Copies", "find_place"]

# What is there: "set", "sets" (a folder of some), else "store", with its real path.
_PLACE: Final = r"""
shopt -s nullglob
is_set() { [ -f "$1/manifest.toml" ] || [ -f "$1/SHA256SUMS" ]; }
real=$(realpath -m -z -- "$1" | tr -d '\0'; printf x); real=${real%x}
kind=store
if is_set "$real"; then kind=set
elif [ ! -d "$real/sets" ]; then
  for d in "$real"/*/; do if is_set "$d"; then kind=sets; break; fi; done
fi
printf '%s\0%s\0' "$kind" "$real"
"""
# $1 the folder, $2 "set" where it is one itself: each directory's name, state and manifest, all in
# base64. Exit 65: it belongs to the user that is printed, who is neither we nor root.
_LIST: Final = r"""
LC_ALL=C
shopt -s nullglob
cd -- "$1"
[ -O . ] || [ "$(stat -c %u .)" = 0 ] || { stat -c %U .; exit 65; }
show() {
  if [ -f "$1" ] && [ ! -L "$1" ]; then base64 -w0 -- "$1" || printf '!'; else printf '-'; fi
}
names=(*/)
[ "$2" != set ] || names=(./)
for d in "${names[@]}"; do
  [ -f "$d/manifest.toml" ] || [ -f "$d/SHA256SUMS" ] || continue
  printf '%s ' "$(printf %s "${d%/}" | base64 -w0)"
  show "$d/state.toml"
  printf ' '
  show "$d/manifest.toml"
  echo
done
echo end
"""
_READ: Final = r"""
cd -- "$1"
[ -f "$2" ] && [ ! -L "$2" ] || exit 66
exec 3<"$2"
stat -L -c %s /dev/fd/3
cat <&3
"""


def find_place(host: Host, path: str) -> tuple[str, str]:
    """What is at `path` of the host, and its real path: "set" a set's own directory, "sets" a
    folder that holds such directories, "store" anything else."""
    kind, real = fields(host.name, path, host.run(script(_PLACE, path)).out, 2)
    return kind, real


class Copies(Store):
    """The sets in the folder `path`, or the one that `path` is, where it is `single`. Nothing is
    written there: neither what a verification found, nor a lock; and nobody prunes there."""

    __slots__ = ("_folders", "_single")
    managed: ClassVar[bool] = False

    def __init__(self, host: Host, path: str, *, single: bool) -> None:
        super().__init__(host, path)
        self._single = single
        self._folders: dict[str, str] = {}

    def __str__(self) -> str:
        return f"{self.path} of {self.host.name}"

    @property
    def scratch(self) -> str:
        return ""

    def lock(self, owner: dict[str, str]) -> AbstractContextManager[object]:
        return nullcontext()

    def write_state(self, id: str, status: SetState) -> None:
        raise Refused(
            f"{self} is a copy: nothing is written there",
            hint="copy it back into a store first (below sets/, called by its id)",
        )

    def set_path(self, id: str) -> str:
        if id not in self._folders:
            self._look("")
        return posixpath.normpath(posixpath.join(self.path, self._folders.get(id, id)))

    def read_file(self, id: str, name: str) -> bytes | None:
        result = self._run_in(_READ, self.set_path(id), name, ok=(0, 66))
        return self._whole(name, result.out) if result.code == 0 else None

    def _look(self, id: str) -> tuple[StoredSet, ...]:
        """Of two copies of one set the one that is called by its id, else the first."""
        lines = self._listed(self._run_in(_LIST, self.path, "set" if self._single else ""))
        found: dict[str, StoredSet] = {}
        for line in lines:
            name, state, manifest = line.split(" ")
            folder = base64.b64decode(name).decode("utf-8", "surrogateescape")
            own = self._id(folder, manifest)
            if own and (own not in found or folder == own):
                found[own] = stored(own, state, manifest)
                self._folders[own] = folder
        return tuple(one for one in found.values() if id in ("", one.id))

    def _id(self, folder: str, manifest: str) -> str:
        """ "" for a directory of which nobody can say which set it is. Raises BadSet where that is
        the only one."""
        try:
            return str(parse_id(Manifest.from_toml(content(manifest, MANIFEST)).id))
        except (BadSet, Refused) as error:
            called = posixpath.basename(posixpath.normpath(posixpath.join(self.path, folder)))
            if is_id(called) or not self._single:
                return called if is_id(called) else ""
            raise BadSet(
                f"{self} is no whole set: {error.message}",
                hint="was only a part of it copied? Copy the whole directory again",
            ) from error
