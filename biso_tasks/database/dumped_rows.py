"""Whether a dump holds what its snapshot held: each table's rows counted in the dump's own text,
for the one whose size cannot be believed. Nothing is loaded for it.
"""

from __future__ import annotations

import re
from typing import Final

from biso_tasks.database.dumps import Format
from biso_tasks.database.packer import UNPACKER
from biso_tasks.database.server import Server
from biso_tasks.database.snapshot import Counts, label
from biso_tasks.database.sqltext import name
from biso_tasks.host.answer import answered
from biso_tasks.host.command import script

__all__ = ["lost"]

# $1 the dump, $2 its format, then pg_restore's words. mawk reads a line in a time that grows with
# its square: a long row is cut first, of which only the first bytes matter.
_COUNT: Final = (
    UNPACKER
    + r"""
export LC_ALL=C
read_it() {
  local file=$1 format=$2
  shift 2
  case $format in
    plain) unpack "$file" ;;
    custom) "$@" --file=- <"$file" ;;
    *) "$@" --file=- -- "$file" ;;
  esac
}
read_it "$@" | cut -b1-100000 | awk '
  copying && $0 == "\\." { print rows " " copying; copying = ""; next }
  copying { rows++; next }
  /^COPY .* FROM stdin;$/ { copying = $0; rows = 0; next }
  /^SELECT pg_catalog\.lo_open\(/ { objects++ }
  END { print objects + 0 }
'
"""
)
_NAME: Final = r'("(?:[^"]|"")*"|[^\s".(]+)'
_COPY: Final = re.compile(rf"([0-9]+) COPY {_NAME}\.{_NAME} .*", re.DOTALL)


def lost(server: Server, path: str, format: Format, counts: Counts) -> tuple[str, ...]:
    """What of `counts` is not in the dump at `path` on the server's host, a line each; all of it is
    read once. Raises CommandFailed where that cannot be."""
    restore = (*server.prefix, server.program("pg_restore"))
    said = server.host.run(script(_COUNT, path, format, *restore), timeout=None).out
    with answered(server.host.name, f"what is in {path}"):
        # Where it is cut, a table's line stands before the last newline, or none at all.
        *lines, last, _ = said.decode("utf-8", "surrogateescape").split("\n")
        objects = int(last)
    dumped: dict[str, int] = {}
    for line in lines:
        if found := _COPY.fullmatch(line):
            table = label(name(_plain(found[2]), _plain(found[3])))
            dumped[table] = dumped.get(table, 0) + int(found[1])
    missing = [
        f"{dumped.get(table, 0)} of {rows} rows of {table}"
        for table, rows in counts.tables.items()
        if dumped.get(table, 0) != rows
    ]
    if objects != counts.large_objects:
        missing.append(f"{objects} of {counts.large_objects} large objects")
    return tuple(missing)


def _plain(identifier: str) -> str:
    return identifier[1:-1].replace('""', '"') if identifier[0] == '"' else identifier
