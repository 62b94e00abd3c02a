"""Which compressor of a host writes a dump: the one that makes it smallest among those that keep up
with what pg_dump gives, tried on the spot, as the same program is four times as fast elsewhere."""

from __future__ import annotations

from typing import Final

__all__ = ["PACKER"]

# `packer SIZE` sets the array `pack` for a dump of so many bytes. By the size of what they write:
# igzip (of isal) at its second level is as small as pigz at its third, and takes one core. A small
# dump is written before the trial would end. An old bash has no clock for it.
PACKER: Final = r"""
packer() {
  local one words text start rate best=-1 floor=100000  # bytes a millisecond: pg_dump's own rate
  local order=('igzip -2' 'pigz -3' 'gzip -3')
  if [ "$1" -ge 33554432 ] && [ -n "${EPOCHREALTIME-}" ]; then
    order=('pigz -6' 'igzip -2' 'pigz -3' 'igzip -1' 'pigz -1' 'gzip -3' 'gzip -1')
    text=$(printf '%s\t' {10000..99999})
    text=$text$text$text$text
  fi
  for one in "${order[@]}"; do
    read -r -a words <<<"$one"
    command -v "${words[0]}" >/dev/null || continue
    if [ -z "${text-}" ]; then
      pack=("${words[@]}")
      return
    fi
    start=${EPOCHREALTIME/[.,]/}
    printf %s "$text" | "${words[@]}" >/dev/null
    rate=$((${#text} * 1000 / (${EPOCHREALTIME/[.,]/} - start + 1)))
    if [ "$rate" -gt "$best" ]; then
      best=$rate pack=("${words[@]}")
    fi
    [ "$rate" -lt "$floor" ] || return 0
  done
}
"""
