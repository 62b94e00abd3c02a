"""Which compressor of a host writes a dump: the one that makes it smallest among those that keep up
with what pg_dump gives, tried on the spot, as the same program is four times as fast elsewhere. And
which one reads it."""

from __future__ import annotations

from typing import Final

__all__ = ["PACKER", "TRIAL", "UNPACKER"]

# `sample` makes some text that shrinks about as a dump does; `rate COMMAND…` prints how much of it
# the command takes, in bytes a millisecond.
TRIAL: Final = r"""
sample() {
  text=$(printf '%s\t' {10000..99999})
  text=$text$text$text$text
}
rate() {
  local start=${EPOCHREALTIME/[.,]/}
  printf %s "$text" | "$@" >/dev/null
  echo "$((${#text} * 1000 / (${EPOCHREALTIME/[.,]/} - start + 1)))"
}
"""

# `packer SIZE` sets the array `pack` for a dump of so many bytes. By the size of what they write:
# igzip (of isal) at its second level is as small as pigz at its third, and takes one core. A small
# dump is written before the trial would end. An old bash has no clock for it.
PACKER: Final = (
    TRIAL
    + r"""
packer() {
  local one words text found best=-1 floor=100000  # bytes a millisecond: pg_dump's own rate
  local order=('igzip -2' 'pigz -3' 'gzip -3')
  if [ "$1" -ge 33554432 ] && [ -n "${EPOCHREALTIME-}" ]; then
    order=('pigz -6' 'igzip -2' 'pigz -3' 'igzip -1' 'pigz -1' 'gzip -3' 'gzip -1')
    sample
  fi
  for one in "${order[@]}"; do
    read -r -a words <<<"$one"
    command -v "${words[0]}" >/dev/null || continue
    if [ -z "${text-}" ]; then
      pack=("${words[@]}")
      return
    fi
    found=$(rate "${words[@]}")
    if [ "$found" -gt "$best" ]; then
      best=$found pack=("${words[@]}")
    fi
    [ "$found" -lt "$floor" ] || return 0
  done
}
"""
)

# `unpack [FILE]`, of stdin without one: igzip takes a quarter of gzip's time; pigz writes in a
# thread of its own.
UNPACKER: Final = r"""
unpack() {
  local tool
  for tool in igzip pigz gzip; do
    ! type -P "$tool" >/dev/null || break
  done
  "$tool" -dc -- "$@"
}
"""
