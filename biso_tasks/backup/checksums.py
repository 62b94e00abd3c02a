"""SHA256SUMS of a set: made on the host, reading only what is new there, and read by anybody's
`sha256sum -c`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from biso_tasks.backup.ids import BadSet, parse_id
from biso_tasks.backup.store import Store, StoredSet
from biso_tasks.errors import StepFailed
from biso_tasks.files.hashing import HASHING
from biso_tasks.host.answer import answered, whole
from biso_tasks.host.command import Result, script
from biso_tasks.host.protocol import CommandFailed

__all__ = [
    "SIGNATURE",
    "SUMS",
    "UNCOVERED",
    "Summed",
    "Unreadable",
    "hash_set",
    "make_sums",
    "parse_sums",
]

SUMS: Final = "SHA256SUMS"
SIGNATURE: Final = "SHA256SUMS.sig"
UNCOVERED: Final = frozenset({SUMS, SIGNATURE, "state.toml"})
_LINE: Final = re.compile(r"(\\?)([0-9a-f]{64})  (.+)", re.ASCII | re.DOTALL)
# Of find, and of what hashes, that said what they cannot read. All else is a program that was
# ended, or never began: it says nothing of the files.
_CANNOT_READ: Final = 1
_ESCAPES: Final = {"n": "\n", "r": "\r", "\\": "\\"}

# Each job writes a file of its own: lines of two that share a pipe may be cut into each other.
# Names on stdin end with NUL bytes; the sums come out in one order, whichever job was faster. Where
# the exit code of a pipeline is asked for, -e holds in none of its parts.
_HASH: Final = (
    HASHING
    + r"""
sums_of() {
  local jobs list pids=() code=0
  jobs=$(nproc 2>/dev/null || echo 2)
  [ "$jobs" -le 4 ] || jobs=4
  mkdir -- "$1/jobs" && hasher "$1/jobs" && split -t '\0' -n "r/$jobs" - "$1/jobs/" || return
  for list in "$1"/jobs/*; do
    hash_names <"$list" >"$list.sums" &
    pids+=("$!")
  done
  for list in "${pids[@]}"; do wait "$list" || code=$?; done
  [ "$code" = 0 ] || return "$code"
  cat -- "$1"/jobs/*.sums
}
sorted() { sort -k 2; }
# A folder in $1 that is held as long as we and what we start live, or a sweep of the store would
# take it for a left one; what one has taken before we held it is made again.
working() {
  while :; do
    work=$(mktemp -d -p "$1" .work-XXXXXXXX) || return
    if ! exec 8>"$work/held"; then
      rmdir -- "$work" && return 1
      continue
    fi
    type -P flock >/dev/null || return 0
    flock 8 && [ "$work/held" -ef /proc/self/fd/8 ] && return 0
  done
}
"""
)
# $1 the set's directory, $2 a folder for the sums, "" for any; where that takes nothing (a medium
# that is only read), any does. Exit 75: ended by a signal; 76: there was no room for the sums.
_ALL: Final = (
    _HASH
    + r"""
export LC_ALL=C
umask 077
work=
[ -z "$2" ] || working "$2" 2>/dev/null || work=
[ -n "$work" ] || work=$(mktemp -d) || exit 76
[ -d "$work" ] || exit 76
trap 'rm -rf -- "$work"' EXIT
trap 'exit 75' HUP INT TERM PIPE
cd -- "$1"
code=0
find . -type f ! -path ./SHA256SUMS ! -path ./SHA256SUMS.sig ! -path ./state.toml -printf '%P\0' |
  sums_of "$work" | sorted || code=$?
[ "$code" = 0 ] || head -c 4096 /dev/zero >"$work/room" || exit 76
[ "$code" != 0 ] || printf '\0end'
exit "$code"
"""
)
# Then threes: an area, the set before that has it, the checksum of that one's SHA256SUMS. What has
# the inode there that it has here, under the same name, was not read since: its sum is taken over.
# Names that SHA256SUMS has to escape are read again, since not every version escapes the same.
_MAKE: Final = (
    _HASH
    + r"""
export LC_ALL=C
umask 077
cd -- "$1"
new=$2
shift 2
working "$PWD"
trap 'rm -rf -- "$work"' EXIT
trap 'exit 1' HUP INT TERM PIPE
find "./$new" -type f ! -path "./$new/SHA256SUMS" ! -path "./$new/state.toml" \
  -printf '%D:%i %P\0' | sort -z >"$work/here"
: >"$work/known"
while [ $# -gt 0 ]; do
  area=$1 before=./$2 sealed=$3
  shift 3
  [ -d "$before/$area" ] && [ -f "$before/SHA256SUMS" ] || continue
  [ "$(sha256sum <"$before/SHA256SUMS" | cut -c1-64)" = "$sealed" ] || continue
  find "$before/$area" -type f -printf "%D:%i $area/%P\0" | sort -z >"$work/before"
  comm -z -12 -- "$work/here" "$work/before" | sed -z 's/^[^ ]* //' |
    { grep -azv '[\\[:cntrl:]]' || [ $? = 1 ]; } | tr '\0' '\n' >"$work/same"
  awk -v sums="$before/SHA256SUMS" '
    BEGIN {
      while ((got = (getline line < sums)) > 0)
        if (substr(line, 1, 1) != "\\") sum[substr(line, 67)] = substr(line, 1, 64)
      if (got < 0) exit 1
    }
    ($0 in sum) { print sum[$0] "  " $0 }
  ' "$work/same" >>"$work/known"
done
cut -c67- -- "$work/known" | tr '\n' '\0' | sort -z >"$work/done"
sed -z 's/^[^ ]* //' -- "$work/here" | sort -z | comm -z -23 -- - "$work/done" >"$work/new"
(cd -- "./$new"; sums_of "$work" <"$work/new") >"$work/fresh"
rm -f -- "./$new/SHA256SUMS"
cat -- "$work/fresh" "$work/known" | sorted >"./$new/SHA256SUMS"
sync -- "./$new/SHA256SUMS"
wc -l <"$work/known"
wc -l <"./$new/SHA256SUMS"
tr -cd '\0' <"$work/here" | wc -c
"""
)


class Unreadable(StepFailed):
    """Something of a set cannot be read."""


@dataclass(frozen=True, slots=True)
class Summed:
    """How many files the set has, and how many of them were not read for their sum."""

    files: int
    reused: int


def make_sums(store: Store, id: str, previous: Mapping[str, StoredSet]) -> Summed:
    """Write SHA256SUMS of the set that is built: every regular file of it, symbolic links not
    followed. What of a tree is the same file as in its `previous` set (by area) takes its sum from
    there, if that set is well and its SHA256SUMS is the one that was sealed. Raises StepFailed."""
    before: list[str] = []
    for area, one in previous.items():
        if one.good and one.status is not None:
            before += (area, one.id, one.status.sums)
    text = _run(store, id, _MAKE, f"{store.path}/sets", parse_id(id).partial, *before).text
    with answered(store.host.name, f"the checksums of {id}"):
        reused, lines, files = (int(word) for word in text.split())
    if lines != files:
        raise StepFailed(
            f"{store}: {files} files of {id} gave {lines} checksums",
            hint="does anything else write into the store?",
        )
    return Summed(files, reused)


def hash_set(store: Store, id: str) -> dict[str, str]:
    """The SHA-256 of every regular file of a sealed set, by its path in the set. All of it is read.
    Raises Unreadable where that cannot be, StepFailed where the look at it was cut off."""
    said = _run(store, id, _ALL, store.set_path(id), store.scratch).out
    return parse_sums(whole(store.host.name, f"the checksums of {id}", said))


def parse_sums(content: bytes) -> dict[str, str]:
    """The sums of a SHA256SUMS by path; a path that is not UTF-8 with surrogateescape. Raises
    BadSet for a line that `sha256sum` does not write, and for a path that is there twice."""
    text = content.decode("utf-8", "surrogateescape")
    lines = text.split("\n")
    if lines.pop() != "":
        raise BadSet(f"{SUMS} is cut: its last line is not whole")
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        path = _plain(match[3]) if match and match[1] else match and match[3]
        if match is None or path is None:
            raise BadSet(f"{SUMS}:{number}: not a line of sha256sum")
        if path in found:
            raise BadSet(f"{SUMS}:{number}: {path!r} is there twice")
        found[path] = match[2]
    return found


def _plain(text: str) -> str | None:
    parts = re.split(r"\\(.?)", text)
    if any(letter not in _ESCAPES for letter in parts[1::2]):
        return None
    parts[1::2] = [_ESCAPES[letter] for letter in parts[1::2]]
    return "".join(parts)


def _run(store: Store, id: str, text: str, *args: str) -> Result:
    try:
        return store.host.run(script(text, *args), timeout=None)
    except CommandFailed as error:
        kind = Unreadable if error.result.code == _CANNOT_READ else StepFailed
        raise kind(
            f"{store}: checksums of {id}: {error.result.error or error.message}",
            hint=error.hint,
        ) from error
