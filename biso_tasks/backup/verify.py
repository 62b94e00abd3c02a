"""Whether a sealed set is what was sealed, and complete: everything of it is read, on its host."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from biso_tasks.backup.checksums import SUMS, UNCOVERED, Unreadable, hash_set, parse_sums
from biso_tasks.backup.ids import BadSet, parse_id
from biso_tasks.backup.manifest import MANIFEST, DatabaseDump, Manifest
from biso_tasks.backup.metadata import METADATA, TREES, decode
from biso_tasks.backup.state import STATE, SetState
from biso_tasks.backup.store import Store
from biso_tasks.database.packer import UNPACKER
from biso_tasks.errors import StepFailed
from biso_tasks.files.listing import Entry
from biso_tasks.host.answer import answered, fields, whole
from biso_tasks.host.command import Command, Result, script

__all__ = ["Problem", "dump_problems", "verify_set"]

_DOCUMENTS: Final = (MANIFEST, METADATA, "RESTORE.md")
_TRAILER: Final = b"-- PostgreSQL database dump complete"
_OWN_CODES: Final = 125  # above: a signal, or a program that could not be started
_TYPES: Final = {"file": "f", "dir": "d", "link": "l"}
_WALK: Final = r"""cd -- "$1"; LC_ALL=C find . -mindepth 1 -printf '%y\0%l\0%P\0'
printf 'end\0'"""
_END: Final = UNPACKER + """unpack "$1/$2" | tail -c 4096; printf '\\0end'"""
# The newest pg_restore that is there; none: exit 0. It takes an archive for whole only when it has
# read it to its end, and not with --list.
_ARCHIVE: Final = r"""
best= high=0
for p in pg_restore /usr/lib/postgresql/*/bin/pg_restore; do
  version=$("$p" --version 2>/dev/null | sed -n 's/.*(PostgreSQL) \([0-9]*\).*/\1/p') || continue
  if [ "${version:-0}" -gt "$high" ]; then best=$p high=$version; fi
done
[ "$high" -ge "$3" ] || exit 0
"$best" -f /dev/null -- "$1/$2"
"""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `kind`: state, sums, document, missing, changed, extra, type, link, dump; `path`
    is in the set, "" for the set itself."""

    kind: str
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path!r}: {self.text}" if self.path else self.text


def verify_set(store: Store, id: str, *, loaded: Collection[str] = ()) -> tuple[Problem, ...]:
    """What is wrong with a sealed set; nothing where it may be relied on. Dumps that the caller
    will have `loaded` are read as they lie, and not unpacked to their end: a load that fails asks
    `dump_problems`. The set's state is left to the caller. Raises Refused where there is no such
    set, StepFailed where the host fails."""
    parse_id(id)
    store.resolve(id)
    return tuple(_problems(store, id, loaded))


def dump_problems(store: Store, id: str, files: Collection[str]) -> tuple[Problem, ...]:
    """What is wrong with those dumps of a set, each read to its end. Raises as `verify_set`, and
    BadSet where SHA256SUMS is none."""
    listed = parse_sums(store.read_file(id, SUMS) or b"")
    manifest, _ = _manifest(store, id)
    walked = _walk(store, id)
    dumps = [] if manifest is None else [d for d in manifest.databases if d.file in files]
    return tuple(one for dump in dumps for one in _dump(store, id, dump, listed, walked))


def _problems(store: Store, id: str, loaded: Collection[str]) -> Iterator[Problem]:
    sealed = store.read_file(id, SUMS)
    if sealed is None:
        yield Problem("missing", SUMS, "is not there: nothing vouches for this set")
        return
    yield from _anchor(store, id, sealed)
    try:
        listed = parse_sums(sealed)
    except BadSet as error:
        yield Problem("sums", SUMS, error.message)
        return
    walked = _walk(store, id)
    manifest, unfit = _manifest(store, id)
    dumps = manifest.databases if manifest is not None else ()
    # Side by side: what hashes and what unpacks are bound by one processor each.
    with ThreadPoolExecutor(1 + len(dumps)) as pool:
        hashing = pool.submit(hash_set, store, id)
        reading = [pool.submit(_dump, store, id, dump, listed, walked, loaded) for dump in dumps]
    try:
        yield from _compare(listed, hashing.result())
    except Unreadable as error:
        yield Problem("changed", "", f"not everything can be read: {error.message}")
    yield from _outside(walked)
    yield from unfit
    yield from _documents(store, id, manifest, listed, walked)
    for one in reading:
        yield from one.result()


def _anchor(store: Store, id: str, sealed: bytes) -> Iterator[Problem]:
    content = store.read_file(id, STATE)
    if content is None:
        yield Problem("state", STATE, "is not there: nobody knows what was sealed")
        return
    try:
        status = SetState.from_toml(content)
    except BadSet as error:
        yield Problem("state", STATE, error.message)
        return
    if status.sums != hashlib.sha256(sealed).hexdigest():
        yield Problem("sums", SUMS, "is not the file that was sealed")


def _compare(listed: Mapping[str, str], found: Mapping[str, str]) -> Iterator[Problem]:
    for path in sorted({*listed, *found}):
        if path not in found:
            yield Problem("missing", path, "is not there, or no regular file any more")
        elif path not in listed:
            yield Problem("extra", path, f"is not in {SUMS}")
        elif listed[path] != found[path]:
            yield Problem("changed", path, "its content is not what was sealed")


def _outside(walked: Mapping[str, tuple[str, str]]) -> Iterator[Problem]:
    """What is neither in a tree, where METADATA accounts for it, nor a regular file."""
    for path, (letter, _) in sorted(walked.items()):
        top, _, inner = path.partition("/")
        if top in TREES:
            continue
        folder = not inner and top in ("db", "config")
        folder = folder or (top == "db" and inner.endswith(".dir") and "/" not in inner)
        if letter != ("d" if folder else "f"):
            yield Problem("extra", path, "is nothing that a set holds")


def _manifest(store: Store, id: str) -> tuple[Manifest | None, tuple[Problem, ...]]:
    try:
        manifest = Manifest.from_toml(store.read_file(id, MANIFEST) or b"")
    except BadSet as error:
        return None, (Problem("document", MANIFEST, error.message),)
    if manifest.id == id:
        return manifest, ()
    return manifest, (Problem("document", MANIFEST, f"is the one of {manifest.id}"),)


def _documents(
    store: Store,
    id: str,
    manifest: Manifest | None,
    listed: Mapping[str, str],
    walked: Mapping[str, tuple[str, str]],
) -> Iterator[Problem]:
    for name in _DOCUMENTS:
        if name not in listed:
            yield Problem("missing", name, f"is not in {SUMS}")
    try:
        recorded = decode(store.read_file(id, METADATA) or b"")
        yield from _trees(recorded, walked)
        if manifest is not None:
            yield from _areas(manifest, recorded)
    except BadSet as error:
        yield Problem("document", METADATA, error.message)


def _trees(
    recorded: Mapping[str, tuple[Entry, ...]], walked: Mapping[str, tuple[str, str]]
) -> Iterator[Problem]:
    expected = {
        f"{area}/{entry.path}" if entry.path else area: entry
        for area, entries in recorded.items()
        for entry in entries
    }
    there = {path for path in walked if path.partition("/")[0] in TREES}
    for path in sorted(there | set(expected)):
        if path not in walked:
            yield Problem("missing", path, "is in METADATA and not in the set")
        elif path not in expected:
            yield Problem("extra", path, "is not in METADATA")
        else:
            letter, target = walked[path]
            entry = expected[path]
            if letter != _TYPES[entry.kind]:
                yield Problem("type", path, f"is no {entry.kind} any more")
            elif entry.kind == "link" and target != entry.target:
                yield Problem("link", path, f"leads to {target!r}, not to {entry.target!r}")


def _areas(manifest: Manifest, recorded: Mapping[str, tuple[Entry, ...]]) -> Iterator[Problem]:
    for area in TREES:
        if (area in manifest.areas) != (area in recorded):
            yield Problem("document", MANIFEST, f"and METADATA differ about the area {area}")
        elif area in recorded:
            files = sum(entry.kind == "file" for entry in recorded[area])
            if files != manifest.trees[area].files:
                said = f"{manifest.trees[area].files} files of {area}, METADATA {files}"
                yield Problem("document", MANIFEST, f"says {said}")


def _dump(
    store: Store,
    id: str,
    dump: DatabaseDump,
    listed: Mapping[str, str],
    walked: Mapping[str, tuple[str, str]],
    loaded: Collection[str] = (),
) -> list[Problem]:
    if dump.format == "directory":
        if walked.get(dump.file, ("", ""))[0] != "d":
            return [Problem("missing", dump.file, "the dump is not there")]
        found = []
    elif dump.file not in listed or walked.get(dump.file, ("", ""))[0] != "f":
        return [Problem("missing", dump.file, "the dump is not there")]
    else:
        named = listed[dump.file] == dump.sha256
        text = "is not the dump that the manifest names"
        found = [] if named else [Problem("dump", dump.file, text)]
    path = store.set_path(id)
    if dump.file in loaded:
        return found
    if dump.format == "plain":
        end = _judged(store, script(_END, path, dump.file))
        if end.code != 0:
            text = f"cannot be read to its end: {end.error}"
            found.append(Problem("dump", dump.file, text))
        elif _TRAILER not in whole(store.host.name, f"the end of {dump.file}", end.out):
            text = "ends before the end that pg_dump writes"
            found.append(Problem("dump", dump.file, text))
        return found
    major = dump.pg_dump.partition(".")[0]
    read = script(_ARCHIVE, path, dump.file, major if major.isdigit() else "0")
    done = _judged(store, read)
    if done.code != 0:
        found.append(Problem("dump", dump.file, f"pg_restore cannot read it: {done.error}"))
    return found


def _judged(store: Store, command: Command) -> Result:
    """What a program says of a dump. Raises StepFailed where it was ended, or never began: that is
    nothing against the dump."""
    done = store.host.run(command, timeout=None, ok=None)
    if done.code > _OWN_CODES:
        raise StepFailed(
            f"{store}: a program that reads a dump ended with {done.code}: {done.error}",
            hint="was it killed, for want of memory? run the task again",
        )
    return done


def _walk(store: Store, id: str) -> dict[str, tuple[str, str]]:
    """Type letter and link target by path, of everything but what cannot be covered."""
    out = store.host.run(script(_WALK, store.set_path(id)), timeout=None).out
    what = f"what is in {id}"
    found = fields(store.host.name, what, out, end=True)
    with answered(store.host.name, what):
        entries = list(zip(found[::3], found[1::3], found[2::3], strict=True))
    return {path: (letter, target) for letter, target, path in entries if path not in UNCOVERED}
