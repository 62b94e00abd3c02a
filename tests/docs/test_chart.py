"""A flowchart of Mermaid's, read and drawn."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from chart import Chart, Edge, read
from drawing import svg
from layered import arrange, ranks, ways

DOCS = Path(__file__).parents[2] / "docs"
SVG = "{http://www.w3.org/2000/svg}"


def chart_of(page: str) -> Chart:
    (text,) = re.findall(r"^```mermaid\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.M | re.S)
    return read(text)


def test_boxes_arrows_and_floors_are_read() -> None:
    chart = read(
        "flowchart TB\n subgraph top[floor 2]\n  a[(A b)] ~~~ c\n end\n"
        " subgraph low[floor 1]\n  d[[D]] ~~~ e\n end\n"
        ' a --> d & e\n c -- "some --thing" --> d\n'
    )
    assert [(one.label, one.shape, one.floor) for one in chart.nodes.values()] == [
        ("A b", "drum", 0), ("c", "box", 0), ("D", "double", 1), ("e", "box", 1)
    ]  # fmt: skip
    assert chart.edges == (
        Edge("a", "d", ""), Edge("a", "e", ""), Edge("c", "d", "some --thing")
    )  # fmt: skip
    assert (chart.across, chart.floors) == (False, ("floor 2", "floor 1"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "begins with"),
        ("graph TD\n a --> b", "begins with"),
        ("flowchart LR\n a\n a --> b", "names b"),
        ("flowchart LR\n a ==> b", "not understood: a ==> b"),
        ("flowchart LR\n a\n style a fill:red", "not understood: style a"),
        ("flowchart TB\n subgraph x[x]\n a ~~~ b\n end\n a --> b", "within a row"),
        ("flowchart TB\n subgraph x[x]\n a\n end\n b", "stands on no floor"),
        ("flowchart TB\n a\n a --> a", "to itself"),
    ],
)
def test_what_is_not_understood_is_an_error(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        read(text)


def test_an_arrow_that_leads_back_does_not_move_a_box() -> None:
    chart = read("flowchart LR\n a\n b\n c\n a --> b\n b --> c\n c --> a\n b --> a")
    assert ranks(chart) == {"a": 0, "b": 2, "c": 4}


def test_arrows_that_need_not_cross_do_not() -> None:
    chart = read("flowchart LR\n a\n b\n c\n d\n a --> d\n b --> c")
    rank = {"a": 0, "b": 0, "c": 2, "d": 2}
    through = ways(chart.edges, rank)
    places = {place for way in through for place in way}
    rows, at = arrange(rank, through, dict.fromkeys(places, 10.0))
    assert [rows[0].index("a"), rows[0].index("b")] == [rows[2].index("d"), rows[2].index("c")]
    assert at["a"] == pytest.approx(at["d"])


@pytest.mark.parametrize("page", ["verbs.md", "map.md"])
def test_a_drawing_of_ours_has_all_of_its_chart_and_nothing_overlaps(page: str) -> None:
    chart = chart_of(page)
    root = ElementTree.fromstring(svg(chart))
    texts = [one.text for one in root.iter(f"{SVG}text")]
    labels = [one.label for one in chart.edges if one.label]
    assert sorted(map(str, texts)) == sorted(
        [*(one.label for one in chart.nodes.values()), *labels, *chart.floors]
    )
    arrows = [one for one in root.iter(f"{SVG}path") if one.get("class") == "arrow"]
    assert len(arrows) == len(chart.edges)
    width, height = (float(root.attrib[key]) for key in ("width", "height"))
    boxes = []
    for text in root.iter(f"{SVG}text"):
        if text.get("class") != "floor":
            x, y, half = float(text.attrib["x"]), float(text.attrib["y"]), len(text.text or "") * 4
            assert x >= half and x + half <= width and 10 <= y <= height
            boxes.append((x - half, x + half, y - 10, y + 4))
    for one, other in combinations(boxes, 2):
        apart = one[1] <= other[0] or other[1] <= one[0] or one[3] <= other[2] or other[3] <= one[2]
        assert apart, (one, other)


def test_what_a_label_says_is_no_markup() -> None:
    drawn = svg(read('flowchart LR\n a[A <b>]\n b\n a -- "x & <y>" --> b'))
    assert "A &lt;b&gt;" in drawn
    assert "x &amp; &lt;y&gt;" in drawn
    assert ElementTree.fromstring(drawn).get("aria-label") == "A <b> to b: x & <y>"
