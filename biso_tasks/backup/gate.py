"""The gate: a forced command behind which releases can be listed and read, and nothing else.

In authorized_keys of the login to whom the releases belong, one line a key:

    restrict,command="/usr/local/lib/biso-release-gate /var/lib/biso-released" ssh-ed25519 AAAA…

What a client asks for is three words at the most, each compared with what it may be; no word of it
becomes an option, a path of its own or shell text. A folder is sent as one tar stream, so that no
client chooses the arguments of a program.
"""

from __future__ import annotations

from typing import Final

__all__ = ["DOCUMENTS", "GATE"]

DOCUMENTS: Final = ("SHA256SUMS", "SHA256SUMS.sig", "manifest.toml", "METADATA", "RESTORE.md")

GATE: Final = r"""#!/bin/sh
# Hands out releases of biso-tasks, and nothing else. "$1" is the folder of [release] path.
#   list            each release: its id, state.toml and manifest.toml in base64
#   read ID NAME    one document of it
#   fetch ID        all of it, as a tar stream
set -euf
umask 077
unset IFS CDPATH ENV BASH_ENV TAR_OPTIONS
PATH=/usr/local/bin:/usr/bin:/bin
LC_ALL=C
export PATH LC_ALL
no() { printf 'biso-release-gate: %s\n' "$1" >&2; exit 64; }
[ "$#" = 1 ] || no 'it is started with one folder'
asked=${SSH_ORIGINAL_COMMAND:-}
if ! cd -- "$1/sets" 2>/dev/null; then
  [ "$asked" != list ] || exit 0
  no 'there are no releases'
fi
case $asked in *[!A-Za-z0-9._\ -]*|' '*|*' '|*'  '*|'') no 'list, read ID NAME, fetch ID' ;; esac
[ "${#asked}" -le 100 ] || no 'list, read ID NAME, fetch ID'
set -- $asked
is_release() {
  case $1 in
    [0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]_[0-9][0-9][0-9][0-9][0-9][0-9]-[A-Za-z0-9]*) ;;
    *) return 1 ;;
  esac
  case $1 in *[!A-Za-z0-9_-]*) return 1 ;; esac
  [ -d "./$1" ] && [ ! -L "./$1" ] && document "$1/manifest.toml" &&
    grep -qx 'personal = false' "./$1/manifest.toml" && grep -qx '\[proof\]' "./$1/manifest.toml"
}
document() { [ -f "./$1" ] && [ ! -L "./$1" ]; }
case $#:$1 in
  1:list)
    set +f
    for id in *; do
      is_release "$id" || continue
      printf '%s ' "$id"
      if document "$id/state.toml"; then base64 -w0 -- "./$id/state.toml"; else printf '-'; fi
      printf ' '
      base64 -w0 -- "./$id/manifest.toml"
      echo
    done ;;
  3:read)
    is_release "$2" || no 'no such release'
    case $3 in
      SHA256SUMS|SHA256SUMS.sig|manifest.toml|METADATA|RESTORE.md) ;;
      *) no 'no document of a release' ;;
    esac
    document "$2/$3" || exit 66
    exec cat -- "./$2/$3" ;;
  2:fetch)
    is_release "$2" || no 'no such release'
    exec tar --create --file=- --format=posix --directory="./$2" -- . ;;
  *) no 'list, read ID NAME, fetch ID' ;;
esac
"""
