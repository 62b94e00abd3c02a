"""What a dump is packed with on its way between two hosts: with nothing where the link carries more
than a load can take, else with the best that both ends have, by measuring link against processor.
A compressor that is slower than the link would only be one more thing to wait for."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from biso_tasks.database.packer import TRIAL
from biso_tasks.database.transfer import Leg, Route, transfer
from biso_tasks.errors import StepFailed
from biso_tasks.host.command import script
from biso_tasks.host.protocol import Host

__all__ = [
    "CHOICES",
    "PLAIN",
    "Choice",
    "Wire",
    "choose",
    "measured",
    "packed",
    "unpacked",
    "worth_measuring",
]

_LOAD: Final = 40e6  # bytes a second of plain SQL that a session loads, at best
_SMALL: Final = 33_554_432  # bytes of a database below which asking takes longer than it saves
_SLOW: Final = 15e6  # bytes a second that an rsync of any age can pack


class Choice(NamedTuple):
    """A compressor at a level; its rate as a part of that at its fastest level, and how many bytes
    of SQL text it makes one of."""

    tool: str
    level: int
    part: float
    ratio: float


# Measured by benchmarks/wire_cost.py. Of two that carry as much the first, which puts less on the
# link.
CHOICES: Final = (
    Choice("zstd", 9, 0.15, 7.7), Choice("zstd", 3, 0.9, 6.0), Choice("zstd", 1, 1.0, 5.7),
    Choice("gzip", 1, 1.0, 4.7), Choice("lz4", 1, 1.0, 3.5),
)  # fmt: skip

# Each begins with the line where others have a password. The clock starts with the first byte: a
# connection that is still being made is not the link. An old bash has no such clock.
_SEND: Final = "IFS= read -r line; timeout 0.4 head -c 16777216 /dev/urandom || true"
_TAKE: Final = r"""IFS= read -r line
export LC_ALL=C
[ -n "${EPOCHREALTIME-}" ] || exec cat >/dev/null
IFS= read -r -N 1 first
start=${EPOCHREALTIME/[.,]/}
bytes=$(wc -c)
printf 'biso-link %s %s\n' "$bytes" "$((${EPOCHREALTIME/[.,]/} - start))" >&2
"""
_PACKERS: Final = (
    TRIAL
    + r"""[ -n "${EPOCHREALTIME-}" ] || exit 0
sample
for tool in zstd lz4 gzip; do
    command -v "$tool" >/dev/null || continue
    printf '%s %s\n' "$tool" "$(rate "$tool" -1 -c)"
done
"""
)
_UNPACKERS: Final = 'for tool in zstd lz4 gzip; do command -v "$tool" || true; done'

# The first line of each leg's input is its password: read by bash byte by byte, so nothing else is.
_PACK: Final = 'tool=$1 level=$2; shift 2; "$@" | "$tool" "-$level" -q -c'
_UNPACK: Final = r"""tool=$1
shift
IFS= read -r line
{ printf '%s\n' "$line"; "$tool" -q -dc; } | "$@"
"""


@dataclass(frozen=True, slots=True)
class Wire:
    """`tool` "" packs nothing. `link` is what was measured, in bytes a second; 0: not asked."""

    tool: str = ""
    level: int = 0
    link: float = 0.0

    @property
    def slow(self) -> bool:
        """Whether it is worth packing files as well, by rsync itself: with the zlib of an old one,
        that takes more than packing a dump."""
        return 0 < self.link < _SLOW

    def __str__(self) -> str:
        how = f"{self.tool} -{self.level}" if self.tool else "not compressed"
        return f"{how} (the link carries {self.link / 1e6:.3g} MB/s)" if self.link else how


PLAIN: Final = Wire()


def choose(link: float, packers: Mapping[str, float], unpackers: Collection[str]) -> Wire:
    """What is best for a link of so many bytes a second. `packers`: what each compressor of the
    source's host takes of text at its fastest level; `unpackers`: what the target's host has."""
    if link >= _LOAD:
        return Wire(link=link)
    # What a load would get of text a second: bounded by packing, by the link, by itself.
    found = [
        (min(packers[one.tool] * one.part, link * one.ratio, _LOAD), one.tool, one.level)
        for one in CHOICES
        if one.tool in packers and one.tool in unpackers
    ]
    gets, tool, level = max(found, key=lambda one: one[0], default=(0.0, "", 0))
    return Wire(tool, level, link) if gets > link else Wire(link=link)


def worth_measuring(size: int, route: Route) -> bool:
    """Whether a database of `size` bytes is large enough for its link to be measured first."""
    return route != "local" and size >= _SMALL


def measured(
    source: Host, target: Host, size: int, *, route: Route, cancel: threading.Event
) -> Wire:
    """What is best for a database of `size` bytes from one host to the other. Sends 16 MiB of
    noise, or for 0.4 s, and once more where that looks slow: a connection that is new grows its
    windows yet. Where it cannot be told nothing is packed: the transfer itself will say what is
    wrong. Raises HostError, Interrupted."""
    if source is target or not worth_measuring(size, route):
        return PLAIN
    link = _carried(source, target, route, cancel)
    if 0 < link < _LOAD:
        link = max(link, _carried(source, target, route, cancel))
    if not link:
        return PLAIN
    if link >= _LOAD:
        return choose(link, {}, ())
    packers = {
        tool: int(rate) * 1000.0
        for tool, rate in re.findall(r"(\w+) (\d+)", source.run(script(_PACKERS), ok=None).text)
    }
    there = target.run(script(_UNPACKERS), ok=None).text.split()
    return choose(link, packers, {one.rpartition("/")[2] for one in there})


def _carried(source: Host, target: Host, route: Route, cancel: threading.Event) -> float:
    """Bytes a second; 0 where it cannot be told."""
    what = f"measuring the link from {source.name} to {target.name}"
    legs = Leg(source, script(_SEND), b"\n"), Leg(target, script(_TAKE), b"\n")
    try:
        ends = transfer(*legs, what, route=route, cancel=cancel)
    except StepFailed:
        return 0.0
    said = re.search(rb"biso-link (\d+) (\d+)", ends.source_err + ends.target_err)
    return int(said[1]) * 1e6 / max(int(said[2]), 1) if said is not None else 0.0


def packed(leg: Leg, wire: Wire) -> Leg:
    """The source's leg, what it prints compressed."""
    if not wire.tool:
        return leg
    words = leg.command.words(leg.host.login)
    return replace(leg, command=script(_PACK, wire.tool, str(wire.level), *words))


def unpacked(leg: Leg, wire: Wire) -> Leg:
    """The target's leg, given what `packed` printed."""
    if not wire.tool:
        return leg
    words = leg.command.words(leg.host.login)
    return replace(leg, command=script(_UNPACK, wire.tool, *words))
