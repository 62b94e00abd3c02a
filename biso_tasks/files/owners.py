"""Owners on the other side: by name where the name exists there, else the environment's `owner`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from biso_tasks.errors import ConfigError
from biso_tasks.files.access import Access
from biso_tasks.files.listing import Entry
from biso_tasks.host.answer import fields
from biso_tasks.host.command import Command, command, script

__all__ = ["Owners", "give", "hand_to", "make_root", "owners_for", "run_on_each"]

# What rsync's maps take literally: neither their separators nor a wildcard.
_NAME: Final = re.compile(r"[A-Za-z0-9_.$@+-]+")
# Nothing is copied: what is there is the same file. Times and modes are left as they are.
_ONTO_ITSELF: Final = (
    "rsync", "--owner", "--group", "--links", "--dirs", "--no-implied-dirs", "--size-only",
    "--from0", "--files-from=-",
)  # fmt: skip

_UNKNOWN: Final = """
unknown() { while IFS= read -r -d '' name; do
  [[ $name != *[!0-9]* ]] || ! getent "$1" -- "$name" >/dev/null || continue
  printf '%s %s\\0' "$1" "$name"
done; }
case $1 in passwd|group) unknown "$1" ;; esac
printf 'end\\0'
"""


@dataclass(frozen=True, slots=True)
class Owners:
    """Users and groups of a tree that the target does not know, and whom theirs go to.
    `user` and `group` are None where nothing was configured: ids are then kept as numbers."""

    unknown_users: frozenset[str]
    unknown_groups: frozenset[str]
    user: str | None
    group: str | None

    def of(self, entry: Entry) -> tuple[str, str]:
        """Owner and group of the entry's copy."""
        owner = self.user if self.user and entry.owner in self.unknown_users else entry.owner
        group = self.group if self.group and entry.group in self.unknown_groups else entry.group
        return owner, group

    def rsync_options(self) -> list[str]:
        """The receiving rsync's maps."""
        options = []
        for option, unknown, known in (
            ("--usermap", self.unknown_users, self.user),
            ("--groupmap", self.unknown_groups, self.group),
        ):
            names = sorted(name for name in unknown if _NAME.fullmatch(name))
            if names and known:
                options.append(f"{option}=" + ",".join(f"{name}:{known}" for name in names))
        return options


def owners_for(target: Access, entries: Iterable[Entry], fallback: str | None) -> Owners:
    """Ask the target which owners of `entries` it knows. `fallback` is `user:group` or `user`
    (CONTRACT §4 `owner`). Raises ConfigError when that is not a name which exists there."""
    users = frozenset(entry.owner for entry in entries)
    groups = frozenset(entry.group for entry in entries)
    user, _, group = (fallback or "").partition(":")
    unknown = []
    for kind, names, name in (("passwd", users, user), ("group", groups, group)):
        # a number may be a user of the container
        own = frozenset([name] if name and (target.knows_owners or not name.isdigit()) else ())
        asked = names | own if target.knows_owners else own
        answer = _unknown(target, kind, asked) if asked else frozenset()
        if any(not _NAME.fullmatch(name) or name in answer for name in own):
            raise ConfigError(
                f"{target.host.name}: owner = {fallback!r}: {name!r} does not exist there",
                hint='set `owner` of the environment to "user:group" as they are on that host',
            )
        unknown.append(answer if target.knows_owners else names)
    return Owners(unknown[0], unknown[1], user or None, group or None)


def _unknown(target: Access, kind: str, names: Iterable[str]) -> frozenset[str]:
    """Numbers (ids without a name) count as unknown."""
    given = b"".join(name.encode("utf-8", "surrogateescape") + b"\0" for name in names)
    said = target.host.run(script(_UNKNOWN, kind), stdin=given).out
    lines = fields(target.host.name, "its users and groups", said, end=True)
    return frozenset(line.partition(" ")[2] for line in lines)


def give(target: Access, root: str, entries: Iterable[Entry], owners: Owners) -> None:
    """Give what `target`'s user has unpacked below `root` to its owners: many files at once. Does
    nothing where files cannot be given away."""
    if not target.gives_away:
        return
    batches: dict[tuple[str, str], list[Entry]] = {}
    modes: dict[int, list[Entry]] = {}
    for entry in entries:
        batches.setdefault(owners.of(entry), []).append(entry)
        if entry.mode & 0o6000 and entry.kind != "link":
            modes.setdefault(entry.mode, []).append(entry)
    for (owner, group), members in batches.items():
        hand_to(target, root, members, f"{owner}:{group}")
    for mode, members in modes.items():  # chown takes setuid and setgid away
        run_on_each(target, root, members, "chmod", f"{mode:04o}")


def hand_to(target: Access, root: str, entries: Sequence[Entry], owner: str) -> None:
    """Make `owner` ("user:group", or "user" alone) the owner of entries below `root`, never through
    a symbolic link. By an rsync onto the tree itself, which reads names on its stdin; where there
    is none by chown, in whose words everybody on that host can read them."""
    if not entries:
        return
    # "." would mean what is in it as well; the root has no name that is anybody's.
    if any(not entry.path for entry in entries):
        target.host.run(target.writer(command("chown", "-h", owner, "--", root)))
    below = [entry for entry in entries if entry.path]
    names = b"".join(
        b"./" + entry.path.encode("utf-8", "surrogateescape") + b"\0" for entry in below
    )
    tree = root.rstrip("/") + "/"
    onto = target.writer(command(*_ONTO_ITSELF, f"--chown={owner}", "--", tree, tree))
    named = all(_NAME.fullmatch(name) for name in owner.split(":"))
    if named:
        done = target.host.run(onto, stdin=names, ok=None, timeout=None)
        # Of an owner that it does not know it says so, and ends well.
        if done.code == 0 and not done.error:
            return
    run_on_each(target, root, below, "chown", "-h", owner)


def run_on_each(target: Access, root: str, entries: Iterable[Entry], *words: str) -> None:
    """Run `words` as whoever writes here, with the paths of many entries behind them. xargs runs as
    the login: it is the program that sudo allows, not xargs."""
    prefix = root.rstrip("/").encode("utf-8", "surrogateescape")
    names = b"".join(
        prefix + b"/" + entry.path.encode("utf-8", "surrogateescape") + b"\0" for entry in entries
    )
    inner = target.writer(Command((*words, "--"))).words(target.host.login)
    target.host.run(Command(("xargs", "-0", "-r", *inner)), stdin=names, timeout=None)


def make_root(target: Access, root: str) -> None:
    """A new directory that the target's user can unpack into. One that exists is left as it is."""
    text = '[ -d "$1" ] && [ -w "$1" ]'
    if target.host.run(target.reader(script(text, root)), ok=None).code == 0:
        return
    made = target.host.run(target.reader(command("mkdir", "-p", "--", root)), ok=None)
    if made.code == 0:
        return
    who = target.user or target.host.login
    make = command("install", "-d", "-m", "0700", "-o", who, "--", root)
    target.host.run(target.writer(make))
