"""Give entries of a tree other names in their directories: one stream of pairs for all of them.

What is renamed has a name that must not be known, so no message here holds one: mv's own words are
thrown away.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from biso_tasks.files.access import Access
from biso_tasks.files.listing import FilesError, Listing, list_tree
from biso_tasks.files.owners import Owners, give
from biso_tasks.host.command import PERL, Command, command, script

__all__ = ["rename_entries"]

# perl reads the names, and needs no process for each. mv has them among its words, for whoever
# lists processes: it is for where there is no perl, behind sudo, and from one filesystem to
# another (18).
# -T: into the name itself, never into a directory of that name. -n: never over something; some
# versions of mv then end well, so the tree is looked at afterwards.
_MOVE: Final = r"""
if [ $# = 0 ] && type -P perl >/dev/null; then
  exec @PERL@ -e '
    $/ = "\0";
    my $done = 0;
    while (defined(my $from = <STDIN>) and defined(my $to = <STDIN>)) {
      chomp($from, $to);
      if (-e $to or -l $to or !rename($from, $to) &&
          ($! != 18 or system("mv", "-T", "-n", "--", $from, $to))) {
        print $done;
        exit 9;
      }
      $done++;
    }
  ' 2>/dev/null
fi
done=0
while IFS= read -r -d '' from && IFS= read -r -d '' to; do
  "$@" mv -T -n -- "$from" "$to" 2>/dev/null || { echo "$done"; exit 9; }
  done=$((done + 1))
done
""".replace("@PERL@", PERL)
_LINK: Final = """
mkdir -p -- "$1"
number=0
while IFS= read -r -d '' target; do
  ln -s -- "$target" "$1/new-$number" 2>/dev/null || exit 9
  number=$((number + 1))
done
"""
_SCRATCH: Final = "tmp/.biso-rename"
_NOBODY: Final = Owners(frozenset(), frozenset(), None, None)

Pair = tuple[str, str]


def rename_entries(
    access: Access,
    listing: Listing,
    names: Mapping[str, str],
    targets: Mapping[str, str],
    *,
    exclude: Sequence[str] = (),
) -> int:
    """Rename every entry of `listing` whose name is a key of `names`; returns how many entries
    changed. `targets`: what the symbolic links at these (old) paths shall lead to.
    `exclude` is what `listing` was made with.

    Renames run as the tree's user, and as root only from the first that this user may not do:
    sudo's log holds the names. Raises FilesError where one did not come about."""
    renamed = {
        entry.path: _renamed(entry.path, names)
        for entry in listing.entries
        if posixpath.basename(entry.path) in names
    }
    if not renamed and not targets:
        return 0
    scratch = f"{listing.root}/{_SCRATCH}"
    links = [entry for entry in listing.entries if entry.path in targets]
    if links:
        _make_links(access, scratch, [targets[entry.path] for entry in links])
    moves: list[Pair] = []
    for number, entry in enumerate(links):
        # in its place before any directory above it gets another name
        parent = posixpath.dirname(entry.path)
        name = posixpath.basename(renamed.get(entry.path, entry.path))
        old, new = f"{_SCRATCH}/old-{number}", f"{_SCRATCH}/new-{number}"
        moves += [(entry.path, old), (new, posixpath.join(parent, name))]
    # a directory keeps its name until everything in it has its own
    deepest = sorted(renamed, key=lambda path: path.count("/"), reverse=True)
    moves += [(path, renamed[path]) for path in deepest if path not in targets]
    _move(access, listing.root, moves)
    if links:
        access.host.run(access.writer(command("rm", "-rf", "--", scratch)), timeout=300)
    _verify(access, listing, names, exclude)
    again = [entry._replace(path=_final(entry.path, names)) for entry in links]
    give(access, listing.root, again, _NOBODY)
    return len(renamed.keys() | targets.keys())


def _renamed(path: str, names: Mapping[str, str]) -> str:
    """The path with its last part changed."""
    parent, name = posixpath.split(path)
    return posixpath.join(parent, names.get(name, name))


def _final(path: str, names: Mapping[str, str]) -> str:
    return "/".join(names.get(part, part) for part in path.split("/"))


def _make_links(access: Access, scratch: str, targets: Sequence[str]) -> None:
    answer = access.host.run(
        access.reader(script(_LINK, scratch)), stdin=_joined(targets), timeout=None, ok=None
    )
    if answer.code != 0:
        raise FilesError(
            f"{access.host.name}: symbolic links could not be made in {scratch}",
            hint="an empty tmp/ that the application's user may write must be there",
        )


def _move(access: Access, root: str, moves: Sequence[Pair]) -> None:
    mine = access.reader(script(_MOVE))
    done = _run(access, mine, root, moves)
    if done < len(moves) and access.root:
        sudo = access.writer(Command(())).words(access.host.login)
        done += _run(access, script(_MOVE, *sudo), root, moves[done:])
    if done < len(moves):
        raise FilesError(
            f"{access.host.name}: a name below {root} could not be changed; {len(moves) - done} of "
            f"{len(moves)} were left as they were",
            hint="does `run_as` own the directories? `sudo = true` renames as root",
        )


def _run(access: Access, moving: Command, root: str, moves: Sequence[Pair]) -> int:
    """How many of `moves` were made; it stops at the first that fails."""
    paths = [f"{root}/{path}" for move in moves for path in move]
    answer = access.host.run(moving, stdin=_joined(paths), timeout=None, ok=None)
    if answer.code == 0:
        return len(moves)
    return int(answer.text) if answer.text.isdigit() else 0


def _verify(
    access: Access, listing: Listing, names: Mapping[str, str], exclude: Sequence[str]
) -> None:
    now = list_tree(access, listing.root, exclude=exclude, empty_ok=True)
    there = {(entry.path, entry.kind) for entry in now.entries}
    expected = {(_final(entry.path, names), entry.kind) for entry in listing.entries}
    wrong = len(there ^ expected)
    if wrong:
        raise FilesError(
            f"{access.host.name}: after the renaming, {wrong} path(s) below {listing.root} are not "
            "what they should be",
            hint="does somebody else write into the stage? Run it again",
        )


def _joined(paths: Iterable[str]) -> bytes:
    return b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in paths)
