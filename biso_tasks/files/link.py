"""Hard links into the set before, for files that are certainly what was copied then.

rsync compares and links them one by one: five of the eight seconds of a copy in which nothing had
changed.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Sequence
from typing import Final

from biso_tasks.files.access import Access
from biso_tasks.files.crew import Crew
from biso_tasks.files.listing import Entry
from biso_tasks.files.names import ids_of
from biso_tasks.host.command import PERL, script

__all__ = ["link_unchanged"]

_SECOND: Final = 1_000_000_000
# $1 the tree, $2 the one before, $3 "owners" where mode, owner and group count. Stdin are records
# "size/time/mode/owner/group/path", each ended by NUL: what is not the same in the tree before
# (somebody may have damaged it) is not linked. Says which paths were not. perl, for cp would have
# the names among its words, where whoever lists processes reads them.
_LINK: Final = r"""
export LC_ALL=C
cd -- "$1"
facts='%s/%T@/-/-/-/%P\0'
[ -z "$3" ] || facts='%s/%T@/%m/%U/%G/%P\0'
given() { printf %s "$1" | base64 -d; }
paths() { sed -z 's|^\([^/]*/\)\{5\}||'; }
wanted=$(sort -z | base64 -w0)
same=$(find "$2" -type f -printf "$facts" | sort -z | comm -z -12 - <(given "$wanted") |
  base64 -w0) || true
{
  comm -z -13 <(given "$same") <(given "$wanted") | paths
  given "$same" | paths | @PERL@ -0 -e '
    my $before = shift;
    while (<STDIN>) { chomp; link("$before/$_", $_) or print "$_\0" }
  ' -- "$2"
} | base64 -w0
""".replace("@PERL@", PERL)


def link_unchanged(
    target: Access,
    target_root: str,
    before: str,
    entries: Sequence[Entry],
    *,
    owners: bool,
    cancel: threading.Event | None,
) -> tuple[str, ...]:
    """Link the files `entries` of the tree `target_root` to those of the tree `before` on the same
    filesystem; their folders are there. Gives the paths that could not be: they are missing there
    or other than they should be, or have as many names as the filesystem allows. `owners`: whether
    mode and owner must be the same as well. Raises FilesError, Interrupted."""
    if not entries:
        return ()
    what = f"linking unchanged files into {target_root} on {target.host.name}"
    whose = ids_of(
        target.host, {entry.owner for entry in entries}, {entry.group for entry in entries}
    )
    records = b"".join(_record(entry, whose if owners else None) for entry in entries)
    with Crew(cancel, what) as crew:
        told, telling = crew.pipe()
        given, giving = crew.pipe()
        command = script(_LINK, target_root, before, "owners" if owners else "")
        crew.start("perl", target.host, command, stdin=told, stdout=giving)
        answer = crew.listen(given)
        crew.feed(telling, (records,))
        crew.close(telling)
        codes = crew.wait()
        lost = crew.lost(codes)
        if lost is not None:
            raise lost
        if codes["perl"] != 0:
            return tuple(entry.path for entry in entries)  # rsync will say what the matter is
        left = base64.b64decode("".join(answer.lines()))
    return tuple(left.decode("utf-8", "surrogateescape").split("\0")[:-1])


def _record(entry: Entry, whose: tuple[dict[str, str], dict[str, str]] | None) -> bytes:
    seconds, rest = divmod(entry.mtime, _SECOND)
    rights = "-/-/-"
    if whose is not None:
        rights = f"{entry.mode:o}/{whose[0][entry.owner]}/{whose[1][entry.group]}"
    text = f"{entry.size}/{seconds}.{rest:09d}0/{rights}/{entry.path}\0"
    return text.encode("utf-8", "surrogateescape")
