"""rsync between two hosts that do not know each other: its protocol crosses two ssh processes.

The source runs the rsync *client*, as sender: it decides what it sends, by the list that we give
it, so a compromised target cannot ask for anything else. The target runs `rsync --server`. Our two
pipes join them; no byte but the header passes through Python, none touches this machine's disk.

On the source, the client's "remote shell" is a shim that first tells us the server's command line
and then connects the client to our pipes. What it tells is compared with what we expect, and never
executed: only a checked word of letters is taken over.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from biso_tasks.errors import Refused
from biso_tasks.files.crew import Crew, Progress
from biso_tasks.files.ends import Ends
from biso_tasks.files.listing import FilesError
from biso_tasks.host.command import command, script

__all__ = ["COMPRESS", "FLAGS", "Header", "RelayEnd", "read_header", "relay", "server_words"]

# links, permissions, times, group, owner, hard links, sparse. No -r: the list names everything.
FLAGS: Final = "-lptgoHS"
# What the client adds for --files-from: names are relative (R), directories without content (d)
_REQUIRED: Final = frozenset("lptgoHSR")
_ALLOWED: Final = _REQUIRED | frozenset("d")
COMPRESS: Final = "--compress"
_OPTIONS: Final = frozenset({"--stats"})
_HEADER_LIMIT: Final = 4096

# $1 bytes of list, $2 source directory, then the rsync command.
# - The list is taken from stdin to its last byte and kept in memory before rsync starts: the same
#   pipe carries the protocol afterwards, and a production host's disk sees no list file.
# - sshd may give sockets, which /proc/PID/fd cannot open again, hence the two cats.
# - sudo closes every descriptor above 2, so the shim opens ours by way of this shell's /proc entry.
# - rsync makes the shim's descriptors a non-blocking socket: cat would fail with EAGAIN, hence
#   --blocking-io; and bash takes a socket for rshd and would read .bashrc, hence --norc.
# - The shim lives as long as the far side speaks; rsync waits for its end.
_SOURCE: Final = r"""
list=$(head -c "$1" | base64 -w0)
from=$2
shift 2
exec 3< <(exec cat) 4> >(exec cat)
shim='exec 3<&- 4>&- 5</proc/$0/fd/3 6>/proc/$0/fd/4 7<&0
printf "%s\0" "$@" "" >&6
cat <&7 >&6 7<&- &
exec 6>&- 7<&-
exec cat <&5 5<&-'
printf %s "$list" | base64 -d |
  "$@" -e "bash --norc -c '$shim' $$" -- "$from" x:. 3<&- 4>&- >&2
"""


@dataclass(frozen=True, slots=True)
class Header:
    """The checked part of what the client said: its flags word, which carries the versions'
    common abilities, and the long options that belong to the protocol."""

    flags: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RelayEnd:
    """How both processes ended, and what they said."""

    source_code: int
    target_code: int
    lines: tuple[str, ...]


def relay(
    ends: Ends,
    names: bytes,
    *,
    client: Sequence[str],
    server: Sequence[str],
    crew: Crew,
    progress: Progress | None = None,
) -> RelayEnd:
    """Run one transfer of `names` (each ended by NUL). `client` are options for the sending rsync,
    `server` for the receiving one only: paths of the target never pass through the source.

    Raises Refused when the source asks for another server than ours, FilesError when it does not
    start."""
    source, target = ends.source, ends.target
    to_source_read, to_source = crew.pipe()
    from_source, from_source_write = crew.pipe()
    sudo = ("sudo", "-n", "--") if source.root and source.host.login != "root" else ()
    outer = script(
        _SOURCE,
        str(len(names)),
        ends.source_root.rstrip("/") + "/",
        *sudo,
        *("rsync", FLAGS, *client, "--blocking-io", "--no-protect-args"),
        *("--from0", "--files-from=-"),
    )
    if not source.root:
        outer = outer.as_user(source.user)
    crew.start(
        "source",
        source.host,
        outer,
        stdin=to_source_read,
        stdout=from_source_write,
        progress=progress,
    )
    crew.feed(to_source, (names,))
    raw = _read_raw(crew, from_source)
    if not raw:
        crew.close(to_source)
        crew.close(from_source)
        codes = crew.wait()
        lost = crew.lost(codes)
        said = crew.messages("source")
        raise lost or FilesError(
            f"{source.host.name}: rsync did not start: "
            + (" / ".join(said[-3:]) or f"exit code {codes['source']}"),
            hint="check rsync, base64 and, where root reads, `sudo -n rsync` on the host",
        )
    header = read_header(raw, source.host.name, compressed=COMPRESS in client)
    crew.start(
        "target",
        target.host,
        target.writer(command(*server_words(header, server, ends.target_root))),
        stdin=from_source,
        stdout=to_source,
    )
    codes = crew.wait()
    lost = crew.lost(codes)
    if lost is not None:
        raise lost
    lines = (*crew.messages("source"), *crew.messages("target"))
    return RelayEnd(codes["source"], codes["target"], lines)


def _read_raw(crew: Crew, number: int) -> bytes:
    """The header up to its empty last field, and not one byte more: the protocol follows."""
    raw = bytearray()
    deadline = crew.patience()
    while not raw.endswith(b"\0\0") and len(raw) < _HEADER_LIMIT:
        byte = crew.read_byte(number, deadline)
        if not byte:
            return b""
        raw += byte
    return bytes(raw)


def read_header(raw: bytes, source: str, *, compressed: bool = False) -> Header:
    """Check the server command line that the source's rsync asked for, `compressed` or not. Raises
    Refused unless it is exactly the one that our own options lead to."""
    required = _REQUIRED | {"z"} if compressed else _REQUIRED
    words = raw.removesuffix(b"\0\0").decode("ascii", "replace").split("\0")
    flags = words[3] if len(words) > 3 else ""
    shape = re.fullmatch(r"-([A-Za-z]+?)(e[0-9]*\.[A-Za-z]*)", flags)
    letters = shape[1] if shape else ""
    if (
        words[:3] != ["x", "rsync", "--server"]
        or words[-2:] != [".", "."]
        or shape is None
        or len(set(letters)) != len(letters)
        or not required <= set(letters) <= required | _ALLOWED
        or not set(words[4:-2]) <= _OPTIONS
    ):
        shown = " ".join(words)[:200]
        raise Refused(
            f"{source}: its rsync asks for another receiver than ours: {shown!r}",
            hint='is `rsync` there the real one? Use route = "direct", or look at the host',
        )
    return Header(flags, tuple(words[4:-2]))


def server_words(header: Header, server: Sequence[str], target_root: str) -> tuple[str, ...]:
    """The receiver's command line: ours, but for the flags that were checked."""
    return (
        *("rsync", "--server", header.flags, *header.options, *server),
        *(".", target_root.rstrip("/") + "/"),
    )
