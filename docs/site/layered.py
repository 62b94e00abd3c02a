"""Where the boxes and arrows of a chart go: boxes in ranks, arrows through the ranks between.

A box has a rank, and so has each place where an arrow crosses a rank, or carries its label. Within
a rank they are ordered so that few arrows cross, then moved to where their arrows are short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from chart import Chart, Edge

__all__ = ["Place", "arrange", "ranks", "ways"]

Place = str | tuple[int, int]
"""A box by its name; of the arrow of this number, where it is in this rank."""

_TURNS = 40
_STRAIGHT = 6.0  # how much more a bend within an arrow counts than one at its ends


def ranks(chart: Chart) -> dict[str, int]:
    """The rank of each box, every second one: labels of arrows stand between. A floor is a rank;
    without floors a box stands behind those that lead to it, but for arrows that lead back."""
    if chart.floors:
        return {name: 2 * (node.floor or 0) for name, node in chart.nodes.items()}
    onwards = _without_back(chart)
    found = dict.fromkeys(chart.nodes, 0)
    for _ in chart.nodes:
        for source, target in onwards:
            found[target] = max(found[target], found[source] + 2)
    return found


def _without_back(chart: Chart) -> list[tuple[str, str]]:
    kept: list[tuple[str, str]] = []
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in done:
            return
        for edge in chart.edges:
            if edge.source == name and edge.target not in above:
                kept.append((name, edge.target))
                visit(edge.target, (*above, edge.target))
        done.add(name)

    for name in chart.nodes:
        visit(name, (name,))
    return kept


def ways(edges: Sequence[Edge], rank: Mapping[str, int]) -> list[tuple[Place, ...]]:
    """The places that each arrow goes through, from the lower rank to the higher one."""
    found: list[tuple[Place, ...]] = []
    for number, edge in enumerate(edges):
        first, last = sorted((edge.source, edge.target), key=rank.__getitem__)
        between = range(rank[first] + 1, rank[last])
        found.append((first, *((number, one) for one in between), last))
    return found


def arrange(
    rank: Mapping[str, int], through: Sequence[Sequence[Place]], size: Mapping[Place, float]
) -> tuple[list[list[Place]], dict[Place, float]]:
    """The ranks, each in its order, and where the middle of each place is within its rank."""
    rows: list[list[Place]] = [[] for _ in range(max(rank.values()) + 1)]
    for name, at in rank.items():
        rows[at].append(name)
    for way in through:
        for place in way[1:-1]:
            assert isinstance(place, tuple)
            rows[place[1]].append(place)
    before: dict[Place, list[Place]] = {place: [] for row in rows for place in row}
    after: dict[Place, list[Place]] = {place: [] for row in rows for place in row}
    for way in through:
        for one, other in pairwise(way):
            after[one].append(other)
            before[other].append(one)
    rows = _ordered(rows, before, after)
    return rows, _moved(rows, before, after, size)


def _ordered(
    rows: list[list[Place]],
    before: Mapping[Place, list[Place]],
    after: Mapping[Place, list[Place]],
) -> list[list[Place]]:
    """Each rank sorted by where its neighbours are, down and up in turn; the best of all turns."""
    best, fewest = [list(row) for row in rows], _crossings(rows, after)
    for turn in range(_TURNS):
        down = turn % 2 == 0
        for row in rows if down else reversed(rows):
            at = {place: index / len(line) for line in rows for index, place in enumerate(line)}
            seen = before if down else after
            wanted = {place: _mean([at[one] for one in seen[place]], at[place]) for place in row}
            row.sort(key=wanted.__getitem__)
        crossings = _crossings(rows, after)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(rows: Sequence[Sequence[Place]], after: Mapping[Place, Sequence[Place]]) -> int:
    count = 0
    for row, below in pairwise(rows):
        at = {place: index for index, place in enumerate(below)}
        lines = [(n, at[other]) for n, one in enumerate(row) for other in after[one]]
        count += sum(a < c and b > d for a, b in lines for c, d in lines)
    return count


def _moved(
    rows: Sequence[Sequence[Place]],
    before: Mapping[Place, Sequence[Place]],
    after: Mapping[Place, Sequence[Place]],
    size: Mapping[Place, float],
) -> dict[Place, float]:
    at: dict[Place, float] = {}
    for row in rows:
        at |= _apart(row, dict.fromkeys(row, 0.0), dict.fromkeys(row, 1.0), size)
    for turn in range(_TURNS):
        for row in rows if turn % 2 == 0 else reversed(rows):
            wanted, weight = {}, {}
            for place in row:
                near = [*before[place], *after[place]]
                counts = [_weight(place, one) for one in near] or [0.01]
                weight[place] = sum(counts)
                pulled = [at[one] * count for one, count in zip(near, counts, strict=False)]
                wanted[place] = sum(pulled) / weight[place] if near else at[place]
            at |= _apart(row, wanted, weight, size)
    return at


def _weight(one: Place, other: Place) -> float:
    return 1.0 if isinstance(one, str) or isinstance(other, str) else _STRAIGHT


def _apart(
    row: Sequence[Place],
    wanted: Mapping[Place, float],
    weight: Mapping[Place, float],
    size: Mapping[Place, float],
) -> dict[Place, float]:
    """As near to what is wanted as may be without overlap, in this order: neighbours that want each
    other's room become one block, which stands where all of them together want it."""
    offset = 0.0
    offsets: list[float] = []
    for index, place in enumerate(row):
        offset += (size[row[index - 1]] + size[place]) / 2 if index else 0.0
        offsets.append(offset)
    blocks: list[tuple[float, float, int]] = []  # where, with what weight, how many
    for place, moved in zip(row, offsets, strict=True):
        block = (wanted[place] - moved, weight[place], 1)
        while blocks and blocks[-1][0] >= block[0]:
            where, heavy, many = blocks.pop()
            both = heavy + block[1]
            block = ((where * heavy + block[0] * block[1]) / both, both, many + block[2])
        blocks.append(block)
    places = [where for where, _, many in blocks for _ in range(many)]
    return {one: at + moved for one, at, moved in zip(row, places, offsets, strict=True)}
