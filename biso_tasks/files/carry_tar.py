"""A tree into a backup set by tar: hard links for what did not change, and for the rest a stream
from the user who reads to the login that keeps the sets. On a host without rsync for all of it;
else for a tree that is new, for which rsync takes two to three times as long.
"""

from __future__ import annotations

import shlex
from typing import Final

from biso_tasks.files.tartree import PACK, SIGNS
from biso_tasks.host.command import script

__all__ = ["tar_words"]

# Works in the set's tree; stdin are the names. $1 "" or how to become who reads, as one word each
# up to "--"; then the tree, where unchanged files are linked from ("" for nowhere), "keep" where
# owners and modes stay as they are.
# Vanished files are no failure (--ignore-failed-read); what was there and did not arrive is found
# by who asks for it. Names of one file that has several are never linked: they must stay one.
_TAR: Final = r"""
become=()
while [ "$1" != -- ]; do become+=("$1"); shift; done
shift
tree=$1 link=$2 keep=$3 same=''
export LC_ALL=C
here=$PWD
names=$(base64 -w0)
give() { printf %s "$1" | base64 -d; }
reader() { "${become[@]}" "$@"; }
if [ -n "$link" ] && [ -d "$link" ]; then
  facts='%s %T@ %p\0'
  [ -z "$keep" ] || facts='%s %T@/%m/%U/%G %p\0'
  same=$(comm -z -12 \
      <(reader env -C "$tree" find . -type f -links 1 -printf "$facts" | sort -z) \
      <(env -C "$link" find . -type f -printf "$facts" | sort -z) |
    sed -z 's/^[^ ]* [^ ]* //' | sort -z | comm -z -12 - <(give "$names" | sort -z) | base64 -w0)
  give "$same" | (cd -- "$link" && xargs -0 -r cp --archive --link --parents \
    --target-directory="$here" --)
fi
rest=$(comm -z -23 <(give "$names" | sort -z) <(give "$same" | sort -z) | base64 -w0)
[ -n "$rest" ] || exit 0
as=(--mode=u+rwX) to=(--no-same-owner)
[ -z "$keep" ] || { as=(); to=(--same-owner); }
give "$rest" | {
  reader @PACK@ --directory="$tree" --ignore-failed-read "${as[@]}" @SIGNS@ --files-from=- ||
    [ $? = 1 ] # a file changed while it was read
} | tar --extract --file=- --preserve-permissions --delay-directory-restore "${to[@]}" \
    --verbose --verbose --numeric-owner --quoting-style=escape |
  awk '/^-/ { bytes += $3 } END { printf "Total transferred file size: %.0f bytes\n", bytes }'
""".replace("@PACK@", PACK).replace("@SIGNS@", shlex.join(SIGNS))


def tar_words(
    become: tuple[str, ...], tree: str, link: str | None, *, keeps: bool
) -> tuple[str, ...]:
    """The words that bring the names on stdin from `tree` into the working directory. `become` is
    how to become who reads, empty for the login itself; `link` a tree of the same filesystem whose
    unchanged files are linked, None for none."""
    return script(_TAR, *become, "--", tree, link or "", "keep" if keeps else "").argv
