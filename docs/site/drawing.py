"""A chart as SVG, to stand in a page: its colours are the page's, by day and by night."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from chart import Chart, Edge, Node
from layered import Place, arrange, ranks, ways

__all__ = ["svg"]

_LETTER = 7.9  # of a monospaced letter of 13 pixels, the only width that is known without a font
_LINE = 34.0  # how high a box is
_THIN = 18.0  # what an arrow takes that passes
_GAP = 22.0
_MARGIN = 6.0
_FLOOR = 74.0  # what the name of a floor takes at the left
_CAP = 5.0  # of a drum
Point = tuple[float, float]
"""Along the rank, and across the ranks."""


@dataclass(frozen=True, slots=True)
class _Drawing:
    """Everything placed: the middle and half the depth of each rank, the middle of each place."""

    chart: Chart
    middle: list[float]
    half: list[float]
    at: dict[Place, float]
    size: dict[Place, float]
    rank: dict[str, int]
    ways: list[tuple[Place, ...]]

    def x_y(self, point: Point) -> str:
        along, across = point
        x, y = (across, along) if self.chart.across else (along, across)
        return f"{x:.1f} {y:.1f}"

    def rank_at(self, place: Place) -> tuple[float, float]:
        """The middle of the place's rank, and half its depth."""
        rank = self.rank[place] if isinstance(place, str) else place[1]
        return self.middle[rank], self.half[rank]


def svg(chart: Chart) -> str:
    """The drawing, as one element; told in words for whoever does not see it."""
    drawing = _placed(chart)
    along = max(drawing.at[one] + drawing.size[one] / 2 for one in drawing.at) + _MARGIN
    deep = drawing.middle[-1] + drawing.half[-1] + _MARGIN
    width, height = (deep, along) if chart.across else (along, deep)
    told = "; ".join(_told(chart, edge) for edge in chart.edges)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}"'
        f' width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{escape(told)}">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8"'
        ' markerHeight="8" orient="auto-start-reverse"><path d="M0 0L8 4L0 8z"/></marker></defs>',
        *_floors(drawing, width),
        *_arrows(drawing),
        *(_box(drawing, node) for node in chart.nodes.values()),
        "</svg>",
    ]
    return "\n".join(lines)


def _told(chart: Chart, edge: Edge) -> str:
    source, target = chart.nodes[edge.source].label, chart.nodes[edge.target].label
    return f"{source} to {target}" + (f": {edge.label}" if edge.label else "")


def _width(text: str) -> float:
    return len(text) * _LETTER


def _placed(chart: Chart) -> _Drawing:
    rank = ranks(chart)
    through = ways(chart.edges, rank)
    size: dict[Place, float] = {}
    half = [0.0] * (max(rank.values()) + 1)
    for name, node in chart.nodes.items():
        wide = _width(node.label) + 24
        size[name] = (_LINE if chart.across else wide) + _GAP
        half[rank[name]] = max(half[rank[name]], (wide if chart.across else _LINE) / 2)
    for number, way in enumerate(through):
        label = chart.edges[number].label
        for place in way[1:-1]:
            size[place] = _THIN
        if label:
            place = _labelled(way)
            wide = _width(label) + 8
            size[place] = 26.0 if chart.across else wide
            deep = wide if chart.across else 20.0
            half[place[1]] = max(half[place[1]], deep / 2)
    rows, at = arrange(rank, through, size)
    left = min(at[row[0]] - size[row[0]] / 2 for row in rows if row)
    moved = _MARGIN - left + (_FLOOR if chart.floors else 0)
    middle: list[float] = []
    here = _MARGIN
    for one in half:
        here += one
        middle.append(here)
        here += one + _GAP
    placed = {place: where + moved for place, where in at.items()}
    return _Drawing(chart, middle, half, placed, size, rank, through)


def _labelled(way: tuple[Place, ...]) -> tuple[int, int]:
    place = way[len(way) // 2]
    assert isinstance(place, tuple), "an arrow crosses at least one rank"
    return place


def _floors(drawing: _Drawing, width: float) -> list[str]:
    found = []
    for number, label in enumerate(drawing.chart.floors):
        y, half = drawing.middle[2 * number], drawing.half[2 * number] + 8
        found += [
            f'<rect class="floor" x="0" y="{y - half:.1f}" width="{width:.1f}"'
            f' height="{2 * half:.1f}" rx="4"/>',
            f'<text class="floor" x="10" y="{y + 4:.1f}">{escape(label)}</text>',
        ]
    return found


def _arrows(drawing: _Drawing) -> list[str]:
    """A line straight through each rank that it passes, in a bow from rank to rank."""
    found = []
    ports = _ports(drawing)
    for number, way in enumerate(drawing.ways):
        edge = drawing.chart.edges[number]
        here = ports[number, False]
        path = f"M{drawing.x_y(here)}"
        for place in way[1:-1]:
            middle, half = drawing.rank_at(place)
            path += _bow(drawing, here, (drawing.at[place], middle - half))
            here = (drawing.at[place], middle + half)
            path += f"L{drawing.x_y(here)}"
        path += _bow(drawing, here, ports[number, True])
        tip = "end" if way[-1] == edge.target else "start"
        found.append(f'<path class="arrow" d="{path}" marker-{tip}="url(#tip)"/>')
        if edge.label:
            found.append(_label(drawing, _labelled(way), edge.label))
    return found


def _bow(drawing: _Drawing, one: Point, other: Point) -> str:
    half = (one[1] + other[1]) / 2
    return "C" + " ".join(drawing.x_y(at) for at in ((one[0], half), (other[0], half), other))


def _label(drawing: _Drawing, place: Place, text: str) -> str:
    """Above a line from left to right, upon one from top to bottom."""
    x, y = drawing.x_y((drawing.at[place], drawing.rank_at(place)[0])).split()
    lifted = float(y) + (-6 if drawing.chart.across else 4)
    return f'<text class="label" x="{x}" y="{lifted:.1f}">{escape(text)}</text>'


def _ports(drawing: _Drawing) -> dict[tuple[int, bool], Point]:
    """Where each arrow touches its boxes, by its number and whether it is the end with the higher
    rank: side by side in the order of where they go, so that none crosses another there."""
    sides: dict[tuple[Place, bool], list[tuple[float, int]]] = {}
    for number, way in enumerate(drawing.ways):
        sides.setdefault((way[0], False), []).append((drawing.at[way[1]], number))
        sides.setdefault((way[-1], True), []).append((drawing.at[way[-2]], number))
    found = {}
    for (place, high), arrows in sides.items():
        deep = drawing.rank_at(place)[0] + (-1 if high else 1) * _depth(drawing, place) / 2
        step = min(12.0, (drawing.size[place] - _GAP - 8) / len(arrows))
        for index, (_, number) in enumerate(sorted(arrows)):
            along = drawing.at[place] + (index - (len(arrows) - 1) / 2) * step
            found[number, high] = (along, deep)
    return found


def _depth(drawing: _Drawing, place: Place) -> float:
    node = drawing.chart.nodes[str(place)]
    return _width(node.label) + 24 if drawing.chart.across else _LINE


def _box(drawing: _Drawing, node: Node) -> str:
    middle = (drawing.at[node.name], drawing.rank_at(node.name)[0])
    x, y = (float(one) for one in drawing.x_y(middle).split())
    wide, high = _width(node.label) + 24, _LINE
    left, top = x - wide / 2, y - high / 2
    if node.shape == "drum":
        body = (
            f"M{left:.1f} {top + _CAP:.1f}a{wide / 2:.1f} {_CAP} 0 0 1 {wide:.1f} 0"
            f"v{high - 2 * _CAP:.1f}a{wide / 2:.1f} {_CAP} 0 0 1 {-wide:.1f} 0z"
            f"a{wide / 2:.1f} {_CAP} 0 0 0 {wide:.1f} 0"
        )
        shape = f'<path class="box" d="{body}"/>'
    else:
        shape = _rect(left, top, wide, high)
        if node.shape == "double":
            shape += _rect(left + 5, top, wide - 10, high)
    sunk = _CAP / 2 if node.shape == "drum" else 0
    return f'{shape}<text x="{x:.1f}" y="{y + 4.5 + sunk:.1f}">{escape(node.label)}</text>'


def _rect(x: float, y: float, width: float, height: float) -> str:
    at = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="box" {at} rx="3"/>'
