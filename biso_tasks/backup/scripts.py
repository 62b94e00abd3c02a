"""What the store does on its host: constant bash, "$1" is the store's path.

Exit 65: the folder belongs to the user that is printed.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BEGIN",
    "LEFT",
    "LIST",
    "MAKEABLE",
    "PLACE",
    "POINT",
    "PREPARE",
    "READ",
    "READY",
    "RECALL",
    "REMEMBER",
    "REMOVE",
    "STATE_FILE",
    "SWEEP",
    "WRITE",
]

# A tree's own directories may forbid their owner to empty them. Directories have one name, so that
# chmod reaches into no other set, which it would with files.
_AWAY: Final = r"""
away() {
  rm -rf --one-file-system -- "$@" 2>/dev/null && return
  find "$@" -type d ! -perm -u+rwx -exec chmod u+rwx {} \; || true
  rm -rf --one-file-system -- "$@"
}
"""
_OWN: Final = r"""
own() { [ -O "$1" ] || { stat -L -c %U -- "$1"; exit 65; }; }
"""

# Whether somebody reads the set $1, and who: see reading.py. A mark that nobody holds is what a
# kill left of one.
_READERS: Final = r"""
readers() {
  type -P flock >/dev/null || return 1
  local mark
  for mark in ".reading-$1".*; do
    [ -e "$mark" ] || continue
    if flock -n -- "$mark" true; then rm -f -- "$mark"; continue; fi
    head -c 2000 -- "$mark"
    return 0
  done
  return 1
}
"""

# What killed runs left of what they removed, wrote or looked at. Somebody may be looking: whose
# sums are in a folder holds it.
_LEFT: Final = r"""
left() {
  local d
  for d in .removing-* .work-* .state-*.new; do
    if [ -e "$d/held" ] && type -P flock >/dev/null; then
      flock -n -- "$d/held" true || continue
    fi
    printf '%s\n' "$d"
  done
}
"""

PREPARE: Final = (
    _OWN
    + r"""
[ -e "$1" ] || (umask 022; mkdir -p -- "$1") || exit 73
for d in "$1" "$1/sets" "$1/db" "$1/seen"; do
  [ -d "$d" ] || mkdir -m 0700 -- "$d"
  own "$d"
  [ "$(stat -L -c %a -- "$d")" = 700 ] || chmod 0700 -- "$d"
done
"""
)

# Whether PREPARE could make $1: the first folder above it that is there would have to take it.
MAKEABLE: Final = r"""
above=$1
until [ -e "$above" ] || [ "$above" = / ]; do above=$(dirname -- "$above"); done
[ "$above" = "$1" ] || { [ -d "$above" ] && [ -w "$above" ] && [ -x "$above" ]; } || exit 73
"""

# $2 one name, or "" for all. base64, or a NUL byte in one damaged file would shift all others. The
# last line is "end": a list that lacks sets must not decide which of them go.
LIST: Final = (
    _OWN
    + r"""
LC_ALL=C
[ -e "$1" ] || { echo end; exit 0; }
own "$1"
cd -- "$1/sets" 2>/dev/null || { echo end; exit 0; }
shopt -s nullglob dotglob
show() {
  if [ -f "$1" ] && [ ! -L "$1" ]; then base64 -w0 -- "$1" || printf '!'; else printf '-'; fi
}
for d in ${2:-*}; do
  [[ $d =~ ^(\.partial-)?[0-9]{8}_[0-9]{6}-[A-Za-z0-9_-]+$ ]] || continue
  [ -d "$d" ] && [ ! -L "$d" ] || continue
  printf '%s ' "$d"
  show "$d/state.toml"
  printf ' '
  show "$d/manifest.toml"
  echo
done
echo end
"""
)

# $2 the partial's name, $3 the environment, then the trees that are wanted. What a killed run had
# started may still run there, whatever its directory is called by now: so the directories are new
# ones, and only the files are the same. What was remembered of them goes along. Another
# environment's partial sets are its own, and one of other trees is for a run that wants these.
BEGIN: Final = (
    _AWAY
    + r"""
LC_ALL=C
umask 077
cd -- "$1/sets"
new=$2 env=$3
shift 3
shopt -s nullglob dotglob
holds() {
  local d=$1 tree
  shift
  for tree; do
    if [ -d "$d/$tree" ] && [ ! -L "$d/$tree" ]; then return; fi
  done
  return 1
}
found=
for d in .partial-*; do
  if [ ! -d "$d" ] || [ -L "$d" ] || ! [[ $d =~ ^\.partial-[0-9]{8}_[0-9]{6}-(.+)$ ]]; then
    away "./$d"
  elif [ "${BASH_REMATCH[1]}" != "$env" ]; then
    :
  elif holds "$d" "$@"; then
    [ -z "$found" ] || away "./$found"
    found=$d
  elif ! holds "$d" webroot data; then
    away "./$d"
  fi
done
old=".removing-${found:-none}"
away "./$old"
[ -z "$found" ] || mv -T -- "$found" "$old"
mkdir -- "$new" "$new/db"
for tree; do
  if holds "$old" "$tree"; then
    seen=../seen/${found#.partial-}.$tree
    [ ! -f "$seen" ] || mv -f -T -- "$seen" "../seen/${new#.partial-}.$tree"
    # a folder that root's rsync had not given away yet: the caller sees to that tree
    cp -al -T -- "$old/$tree" "$new/$tree" 2>/dev/null ||
      { away "./$new/$tree"; mv -T -- "$old/$tree" "$new/$tree"; }
  fi
done
# what cannot be removed while somebody writes there is swept by the next run
away "./$old" || :
sync -- .
"""
)

# $2 the partial's name, $3 a path in it. A name that is there is unlinked, never written through.
WRITE: Final = r"""
umask 077
cd -- "$1/sets/$2"
mkdir -p -- "$(dirname -- "$3")"
rm -f -- "$3"
cat >"$3"
sync -- "$3"
"""

# $2 the set, $3 a path in it. Exit 66: there is no such file, or it is a symbolic link.
# Its size, then the file: one that came by half is not taken for one that is damaged.
READ: Final = r"""
cd -- "$1/sets/$2"
[ -f "$3" ] && [ ! -L "$3" ] || exit 66
exec 3<"$3"
stat -L -c %s /dev/fd/3
cat <&3
"""

# $2 a set's id, sealed or not, and a dot, and an area.
REMEMBER: Final = r"""
umask 077
mkdir -p -- "$1/seen"
cd -- "$1/seen"
cat >.new
mv -f -T -- .new "$2"
"""

# As REMEMBER. Exit 66: there is nothing.
RECALL: Final = r"""
[ -f "$1/seen/$2" ] && [ ! -L "$1/seen/$2" ] || exit 66
cat -- "$1/seen/$2"
"""

# $2 the partial's name: everything on disk, then what anchors it, and the manifest.
READY: Final = r"""
cd -- "$1/sets/$2"
for f in manifest.toml METADATA RESTORE.md SHA256SUMS; do
  [ -f "$f" ] && [ ! -L "$f" ] || { echo "$f is not there" >&2; exit 1; }
done
sync -f -- .
sha256sum <SHA256SUMS | cut -c1-64
cat manifest.toml
"""

# $2 the partial's name, $3 the id. The state is inside before the rename: there or not there.
PLACE: Final = r"""
umask 077
cd -- "$1/sets"
[ ! -e "$3" ] || { echo "$3 is there already" >&2; exit 1; }
rm -f -- "$2/state.toml"
cat >"$2/state.toml"
sync -- "$2/state.toml" "$2"
mv -T -n -- "$2" "$3"
[ ! -e "$2" ]
sync -- .
"""

# $2 the id. Beside the set first, since everything inside it is accounted for.
STATE_FILE: Final = r"""
umask 077
cd -- "$1/sets"
[ -d "$2" ]
cat >".state-$2.new"
sync -- ".state-$2.new"
mv -f -T -- ".state-$2.new" "$2/state.toml"
sync -- "$2"
"""

# $2 the id that `latest` names, "" for none, $3 its plain dump, "" for none. A name `latest` that
# is no link is somebody else's; so is a biso_latest.sql.gz that is the only name of its file.
POINT: Final = r"""
cd -- "$1"
if [ -L latest ] || [ ! -e latest ]; then
  if [ -n "$2" ]; then
    rm -f -- .latest.new
    ln -s -- "sets/$2" .latest.new
    mv -f -T -- .latest.new latest
  else
    rm -f -- latest
  fi
else
  echo "$1/latest is no symbolic link of this tool" >&2
  exit 1
fi
if [ -n "$3" ]; then
  # mv refuses one name of a file in the place of another
  if ! [ db/biso_latest.sql.gz -ef "sets/$2/$3" ]; then
    rm -f -- db/.latest.new
    ln -T -- "sets/$2/$3" db/.latest.new
    mv -f -T -- db/.latest.new db/biso_latest.sql.gz
  fi
elif [ -f db/biso_latest.sql.gz ] && [ "$(stat -c %h db/biso_latest.sql.gz)" -gt 1 ]; then
  rm -f -- db/biso_latest.sql.gz
fi
sync -- . db
"""

# $2 a directory of sets, $3 "away" to remove what the rename took out of the way. Exit 75: it is
# being read, by the owner that is printed. A reader that comes now finds no set; one that came just
# before it is seen.
REMOVE: Final = (
    _AWAY
    + _READERS
    + r"""
cd -- "$1/sets"
if [ "$3" = rename ]; then
  if readers "$2"; then exit 75; fi
  mv -T -- "$2" ".removing-$2"
  if readers "$2"; then mv -T -- ".removing-$2" "$2"; exit 75; fi
  sync -- .
else
  away "./.removing-$2"
fi
"""
)

# What was remembered is kept of partial sets, and of an environment's newest set with that area.
# Who holds the store is at it, and leaves nothing.
LEFT: Final = (
    _LEFT
    + r"""
LC_ALL=C
cd -- "$1/sets" 2>/dev/null || exit 0
shopt -s nullglob dotglob
[ ! -e ../lock ] || ! type -P flock >/dev/null || flock -n ../lock true || exit 0
left
"""
)

SWEEP: Final = (
    _AWAY
    + _LEFT
    + r"""
LC_ALL=C
cd -- "$1/sets" 2>/dev/null || exit 0
shopt -s nullglob dotglob
left | while IFS= read -r d; do
  away "./$d"
  printf '%s\n' "$d"
done
for m in .reading-*; do
  flock -n -- "$m" rm -f -- "$m" || : # somebody reads
done
rm -f -- ../.latest.new ../db/.latest.new ../seen/.new
declare -A newest
for f in ../seen/*; do
  name=${f##*/}
  id=${name%.*} of=${name#*-}
  if [ -d "./$id" ]; then
    [ -z "${newest[$of]:-}" ] || rm -f -- "${newest[$of]}"
    newest[$of]=$f
  elif [ ! -d "./.partial-$id" ]; then
    rm -f -- "$f"
  fi
done
"""
)
