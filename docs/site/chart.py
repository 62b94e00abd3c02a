"""A flowchart as Mermaid writes it. Of its language what our pages use, one thing a line:

    flowchart LR              or TB
    id[(label)]               a drum; [[label]] a doubled box, [label] or nothing a box
    subgraph id[label]        a floor, up to `end`: its boxes stand in one row, as `a ~~~ b`
    a --> b & c
    a -- "label" --> b

Anything else is an error, so that no drawing leaves out what a forge shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Chart", "Edge", "Node", "read"]

_SHAPES = (("[(", ")]", "drum"), ("[[", "]]", "double"), ("[", "]", "box"))
_NODE = re.compile(r"(\w+)(\[.+\])?")
_EDGE = re.compile(r'(\w+) --(?: "([^"]+)" --)?> (\w+(?: & \w+)*)')
_FLOOR = re.compile(r"subgraph \w+\[(.+)\]")


@dataclass(frozen=True, slots=True)
class Node:
    """`shape` is box, double or drum; `floor` counts the rows from the top, None without any."""

    name: str
    label: str
    shape: str
    floor: int | None


@dataclass(frozen=True, slots=True)
class Edge:
    source: str
    target: str
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """`across`: from left to right, not from top to bottom. `floors` are the labels of the rows."""

    across: bool
    nodes: dict[str, Node]
    edges: tuple[Edge, ...]
    floors: tuple[str, ...]


def read(text: str) -> Chart:
    """The chart of this text. Raises ValueError with the line that is not understood."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or lines[0] not in ("flowchart LR", "flowchart TB"):
        raise ValueError("a chart begins with `flowchart LR` or `flowchart TB`")
    nodes: dict[str, Node] = {}
    edges: list[Edge] = []
    floors: list[str] = []
    inside = False
    for line in lines[1:]:
        if found := _FLOOR.fullmatch(line):
            floors.append(found[1])
            inside = True
        elif line == "end" and inside:
            inside = False
        elif found := _EDGE.fullmatch(line):
            edges += [Edge(found[1], target, found[2] or "") for target in found[3].split(" & ")]
        else:
            for part in line.split(" ~~~ "):
                one = _node(part, len(floors) - 1 if inside else None)
                nodes[one.name] = one
    chart = Chart(lines[0].endswith("LR"), nodes, tuple(edges), tuple(floors))
    _check(chart)
    return chart


def _node(text: str, floor: int | None) -> Node:
    found = _NODE.fullmatch(text)
    if found is None:
        raise ValueError(f"not understood: {text}")
    name, label = found.groups()
    for opens, closes, shape in _SHAPES:
        if label and label.startswith(opens) and label.endswith(closes):
            return Node(name, label[len(opens) : -len(closes)], shape, floor)
    return Node(name, name, "box", floor)


def _check(chart: Chart) -> None:
    for edge in chart.edges:
        for name in (edge.source, edge.target):
            if name not in chart.nodes:
                raise ValueError(f"an arrow names {name}, which is no node")
        if edge.source == edge.target:
            raise ValueError(f"an arrow to itself is not drawn: {edge.source}")
        ends = [chart.nodes[name].floor for name in (edge.source, edge.target)]
        if chart.floors and ends[0] == ends[1]:
            raise ValueError(f"an arrow within a row is not drawn: {edge.source} --> {edge.target}")
    for node in chart.nodes.values():
        if bool(chart.floors) != (node.floor is not None):
            raise ValueError(f"{node.name} stands on no floor, others do")
