"""Every name and content of a tree in one stream, for a search through it: nothing is written on
this machine. Files that only root may read are copied aside first, by root's rsync, since neither
tar nor cat is on the list of what root may run.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence

from biso_tasks.files.access import Access
from biso_tasks.files.listing import FilesError
from biso_tasks.host.command import Command, script
from biso_tasks.host.endable import endable
from biso_tasks.host.process import end_group
from biso_tasks.host.protocol import CommandFailed

__all__ = ["read_some", "read_tree"]

_HIDDEN = r"""find "$1" -type f ! -readable -printf '%P\0'"""
# Without what is not readable: tar would name it and fail.
_TAR = r"""
cd -- "$1"
find . \( -type d -o -type l -o -readable \) -print0 |
  LC_ALL=C tar --create --file=- --no-recursion --null --files-from=-
"""

# What is deleted or closed meanwhile is left out: tar says so with 1 or 2 at its end.
_TAR_SOME = r"""
cd -- "$1"
LC_ALL=C tar --create --file=- --no-recursion --null --ignore-failed-read --files-from=- || true
"""


def read_some(access: Access, root: str, paths: Sequence[str]) -> dict[str, bytes]:
    """The contents of a few files below `root`, which together fit into memory; those that are gone
    are left out. Their names are in no command line. Raises CommandFailed."""
    if not paths:
        return {}
    # With "./", or a name that begins with "-" would be an option to tar.
    listed = b"".join(b"./" + path.encode("utf-8", "surrogateescape") + b"\0" for path in paths)
    done = access.host.run(access.reader(script(_TAR_SOME, root)), stdin=listed, timeout=600)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(done.out), errors="surrogateescape") as archive:
        for member in archive:
            handle = archive.extractfile(member) if member.isreg() else None
            if handle is not None:
                found[member.name.removeprefix("./")] = handle.read()
    return found


def read_tree(access: Access, root: str, aside: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Each entry's path below `root`, and what gives its content (empty for all but plain files);
    call that before the next entry is asked for. `aside` is a directory that may be made for copies
    of what only root may read; the caller removes it. Raises FilesError where not everything could
    be read: what was not searched is not proven."""
    hidden = access.host.run(access.reader(script(_HIDDEN, root)), timeout=3600).out
    if hidden:
        _copy_aside(access, root, aside, hidden)
        yield from _stream(access, aside)
    yield from _stream(access, root)


def _copy_aside(access: Access, root: str, aside: str, hidden: bytes) -> None:
    user = access.user or access.host.login
    hint = "set `run_as` to a user who may, or `sudo = true`"
    if not access.root:
        raise _unread(access, root, f"{user} may not read {_count(hidden)}", hint)
    words = ("rsync", "-a", "--from0", "--files-from=-", f"--chown={user}", "--chmod=D700,F400")
    copy = Command((*words, "--", f"{root}/", f"{aside}/"))
    try:
        access.host.run(access.reader(Command(("mkdir", "-p", "-m", "0700", "--", aside))))
        access.host.run(copy.as_root(), stdin=hidden, timeout=3600)
    except CommandFailed as error:
        raise _unread(access, root, error.message, error.hint or hint) from error


def _stream(access: Access, root: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    child = access.host.start(
        access.reader(script(_TAR, root)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdout is not None
    with (
        endable(lambda: end_group(child)),
        child,
        tarfile.open(fileobj=child.stdout, mode="r|", errors="surrogateescape") as archive,
    ):
        for member in archive:
            name = member.name.removeprefix("./")
            handle = archive.extractfile(member) if member.isreg() else None
            if name not in ("", "."):
                yield name, bytes if handle is None else handle.read
    if child.returncode != 0:
        raise _unread(access, root, f"tar ended with {child.returncode}", "")


def _unread(access: Access, root: str, why: str, hint: str) -> FilesError:
    return FilesError(
        f"{access.host.name}: the files of {root} could not all be read: {why}", hint=hint
    )


def _count(names: bytes) -> str:
    found = names.decode("utf-8", "replace").rstrip("\0").split("\0")
    return f"{len(found)} file(s), such as {found[0]!r}"
