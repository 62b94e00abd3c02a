"""Bring a tree to where it is wanted: only what differs from the tree beside travels, and the copy
shares no inode with it. Size and time tell what differs; where sums are known, they have the last
word: a file of the tree beside may be damaged and look as ever.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from biso_tasks.files import tartree
from biso_tasks.files.access import Access
from biso_tasks.files.ahead import Travels, go_ahead
from biso_tasks.files.crew import Crew, Progress
from biso_tasks.files.ends import Ends, listed
from biso_tasks.files.listing import Entry, FilesError
from biso_tasks.files.owners import Owners, make_root, owners_for, run_on_each
from biso_tasks.files.relay import COMPRESS, FLAGS, relay
from biso_tasks.files.sums import differing, require_right, taken_from
from biso_tasks.host.command import Command, command, script
from biso_tasks.host.stream import remote_words

__all__ = ["Method", "Route", "Transferred", "finish_root", "how", "method", "transfer"]

Route = Literal["local", "direct", "relay"]
Method = Literal["rsync", "tar"]

# Plain numbers in the statistics; a file that went away between listing and reading is no error.
_CLIENT: Final = ("--no-human-readable", "--stats", "--info=progress2", "--ignore-missing-args")
# Compare times to the nanosecond: a change within the same second of the same size is a change.
_RECEIVER: Final = ("--modify-window=-1",)
_TOUCH: Final = """
at=$(mktemp -d)
trap 'rmdir -- "$at"' EXIT
touch -d "$1" -- "$at"
to=$2
shift 2
"$@" --dirs --times --exclude='*' -- "$at/" "$to"
"""
# What rsync says after any failure, and its statistics: neither is the reason.
_NOISE: Final = (
    *("rsync error: ", "rsync: connection unexpectedly closed", "Number of ", "Total ", "File "),
    *("Literal data", "Matched data", "sent ", "total size", "sending ", "receiving "),
)
_LIST: Final = ("--from0", "--files-from=-")


@dataclass(frozen=True, slots=True)
class Transferred:
    """`files` are the regular files that are in place now, `bytes_sent` what left the source for
    them (with tar: the size of the files that were sent), `vanished` what was deleted meanwhile,
    `damaged` what the basis held with the right size and time, and other content."""

    files: int
    bytes_sent: int
    vanished: tuple[str, ...]
    method: Method
    damaged: tuple[str, ...] = ()


def method(source: Access, target: Access) -> Method:
    """What a transfer between the two will use: rsync where both ends may run it, else tar."""
    for access in (source, target):
        if access.host.run(access.writer(command("rsync", "--version")), ok=None).code != 0:
            return "tar"
    return "rsync"


def how(using: Method) -> str:
    """The way of a transfer as a plan says it."""
    return "rsync (tar for many small files at once)" if using == "rsync" else using


def transfer(
    source: Access,
    source_root: str,
    target: Access,
    target_root: str,
    entries: Sequence[Entry],
    *,
    basis: str | None = None,
    sums: Mapping[str, str] | None = None,
    route: Route = "relay",
    fallback_owner: str | None = None,
    using: Method | None = None,
    compress: bool = False,
    recorded: bool = False,
    cancel: threading.Event | None = None,
    progress: Progress | None = None,
) -> Transferred:
    """Copy `entries` (directories included, nothing is implied) with bytes, mode, owner, group,
    mtime, links, hard links and holes; what is the root's own is left to `finish_root`. `basis` is
    a tree on the target whose unchanged files are copied there instead of sent; with `sums`, the
    SHA-256 of each file of `entries` by its path, what it gave is read again, and sent where it is
    not that. `target_root` is created; nothing in it is deleted.

    `route`: "local" for one host, "direct" for the target pulling by ssh, "relay" for everything
    else, one end on this machine included. `compress`: rsync packs on the way what its ending does
    not tell to be packed already. `recorded`: owners and modes follow from a record
    (`apply_recorded`); until then all belongs to the user who looks at trees there, and is open to
    that user. `progress` is told bytes so far, from another thread.
    Raises FilesError when a file could not be copied, ProofFailed when one has another sum although
    it was sent, Interrupted when `cancel` is set."""
    using = using or method(source, target)
    ends = Ends(source, source_root, target, target_root)
    owners = owners_for(target, entries, fallback_owner)
    make_root(target, target_root)

    def bring(wanted: Sequence[Entry], beside: str | None, before: int = 0) -> int:
        with Crew(cancel, str(ends)) as crew:
            if using == "tar":
                return tartree.send(ends, wanted, basis=beside, owners=owners, crew=crew)
            return _rsync(
                ends,
                listed(entry.path for entry in wanted),
                server=_server(target, owners, beside, recorded=recorded),
                compress=compress,
                route=route,
                crew=crew,
                progress=_from(before, progress),
            )

    ahead = None
    if using == "rsync":
        ahead = go_ahead(
            ends,
            entries,
            basis=basis,
            owners=owners,
            travels=_travels(source, target, route, compress=compress),
            opened=recorded,
            cancel=cancel,
            progress=progress,
        )
    if ahead is None:
        sent = bring(entries, basis)
    else:
        sent = ahead.sent
        if ahead.left:
            sent += bring(ahead.left, basis, sent)
    there = ends.arrived() if ahead is None or ahead.left else ahead.there
    damaged: tuple[Entry, ...] = ()
    if basis is not None and sums is not None:
        files = [entry for entry in entries if entry.kind == "file"]
        taken = taken_from(target, basis, files, there)
        damaged = differing(target, target_root, taken, sums, cancel=cancel)
        if damaged:
            # rsync would take them for what they look like, here as well as in the basis.
            run_on_each(target, target_root, damaged, "rm", "-f")
            sent += bring(damaged, None)
            there = ends.arrived()
            again = [entry for entry in damaged if entry.path in there]
            require_right(target, target_root, again, sums, cancel=cancel)
    return Transferred(
        files=sum(entry.kind == "file" and entry.path in there for entry in entries),
        bytes_sent=sent,
        vanished=tuple(entry.path for entry in entries if entry.path not in there),
        method=using,
        damaged=tuple(entry.path for entry in damaged),
    )


def _server(
    target: Access, owners: Owners, beside: str | None, *, recorded: bool
) -> tuple[str, ...]:
    """The receiving rsync's options."""
    options = [*_RECEIVER]
    if beside is not None:
        options.append(f"--copy-dest={beside}")
    if recorded:
        options.append("--chmod=Du+rwx,Fu+rw")
        if target.gives_away:
            options.append(f"--usermap=*:{target.user or target.host.login}")
    elif target.gives_away:
        options += owners.rsync_options()
    return tuple(options)


def _travels(source: Access, target: Access, route: Route, *, compress: bool) -> Travels:
    """How tar may bring what is new: never through this machine what stays on one host."""
    if route == "local":
        return "within" if source.user == target.user else "not"
    return "over" if route == "relay" and not compress else "not"


def _from(before: int, progress: Progress | None) -> Progress | None:
    """Tells what comes after so many bytes."""
    return None if progress is None else lambda sent: progress(before + sent)


def finish_root(
    target: Access, root: str, top: Entry, *, fallback_owner: str | None = None
) -> None:
    """Give a copied tree's root the owner, group, mode and time of `top`, last of all: whatever is
    still put into it changes its time."""
    if target.gives_away:
        owner, group = owners_for(target, [top], fallback_owner).of(top)
        target.host.run(target.writer(command("chown", "-h", f"{owner}:{group}", "--", root)))
    target.host.run(target.writer(command("chmod", f"{top.mode:04o}", "--", root)))
    when = f"@{top.mtime // 1_000_000_000}.{top.mtime % 1_000_000_000:09d}"
    if target.host.run(target.reader(command("touch", "-d", when, "--", root)), ok=None).code:
        # another's directory: root may not `touch`, but rsync carries a time over
        rsync = target.writer(command("rsync")).words(target.host.login)
        target.host.run(script(_TOUCH, when, root.rstrip("/") + "/", *rsync))


def _rsync(
    ends: Ends,
    names: bytes,
    *,
    server: Sequence[str],
    compress: bool,
    route: Route,
    crew: Crew,
    progress: Progress | None,
) -> int:
    """Bytes that left the source."""
    source, target = ends.source, ends.target
    client = (*_CLIENT, COMPRESS) if compress else _CLIENT
    one_user = target.root or target.user == source.user
    if route == "relay" or (route == "local" and not one_user):
        end = relay(ends, names, client=client, server=server, crew=crew, progress=progress)
        _judge(source, target, {"source": end.source_code, "target": end.target_code}, end.lines)
        return _bytes(end.lines, "sent")
    words = ["rsync", FLAGS, *client, *server, *_LIST]
    if route == "local":
        words += ["--", ends.source_root.rstrip("/") + "/"]
    else:
        words += _pull(ends)
    told, feeding = crew.pipe()
    said, saying = crew.pipe()
    crew.start(
        "target",
        target.host,
        target.writer(Command((*words, ends.target_root.rstrip("/") + "/"))),
        stdin=told,
        stdout=saying,
    )
    output = crew.listen(said, progress)
    crew.feed(feeding, (names,))
    crew.close(feeding)
    codes = crew.wait()
    lost = crew.lost(codes)
    if lost is not None:
        raise lost
    lines = (*crew.messages("target"), *output.lines())
    _judge(source, target, codes, lines)
    return _bytes(lines, "sent" if route == "local" else "received")


def _pull(ends: Ends) -> list[str]:
    """The words by which the target's rsync reaches the source. Behind sudo it would use root's
    keys and known hosts: ssh runs as the login again."""
    source, target = ends.source, ends.target
    *ssh, destination, _ = remote_words(source.host)
    if target.root and target.host.login != "root":
        ssh = ["runuser", "-u", target.host.login, "--", *ssh]
    login = source.host.login
    there = source.writer(command("rsync")).words(login)
    user, _, host = destination.rpartition("@")
    place = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return [
        *("--protect-args", "-e", " ".join(ssh), f"--rsync-path={' '.join(there)}", "--"),
        f"{user}@{place}:{ends.source_root.rstrip('/')}/",
    ]


def _judge(source: Access, target: Access, codes: dict[str, int], lines: Sequence[str]) -> None:
    """24 is normal on a live tree: files vanished. 23 is a failure."""
    bad = {who: code for who, code in codes.items() if code not in (0, 24)}
    if not bad:
        return
    reasons = [line for line in lines if not line.startswith(_NOISE)] or list(lines)[-3:]
    raise FilesError(
        f"rsync from {source.host.name} to {target.host.name} failed "
        f"({', '.join(f'{who} {code}' for who, code in bad.items())}): "
        + " / ".join(dict.fromkeys(reasons[:4])),
        hint="a file that cannot be read needs `sudo = true` or another `run_as` on its host"
        if 23 in bad.values()
        else "",
    )


def _bytes(lines: Sequence[str], word: str) -> int:
    for line in lines:
        if found := re.fullmatch(rf"Total bytes {word}: ([\d,.]+)", line):
            return int(re.sub(r"\D", "", found[1]))
    return 0
