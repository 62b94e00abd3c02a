"""Whatever stands in the file: a Site or a ConfigError, never another exception."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from biso_tasks.config.findings import CONTROL, BadConfig
from biso_tasks.config.load import parse
from biso_tasks.config.model import Site
from biso_tasks.config.reference import keys

FILE = Path("/srv/site/biso.toml")
WORDS = sorted(
    {part.removesuffix("[]") for doc in keys() for part in doc.key.split(".")}
    | {"production", "test", "prod", "none", "systemd", "live", "password", "./x", "/", "..", "3d"}
)
NAMES = st.one_of(st.sampled_from(WORDS), st.text(max_size=4))
VALUES = st.recursive(
    st.one_of(
        NAMES, st.booleans(), st.integers(), st.floats(), st.dates(), st.datetimes(), st.times()
    ),
    lambda deeper: st.one_of(
        st.lists(deeper, max_size=3), st.dictionaries(NAMES, deeper, max_size=4)
    ),
    max_leaves=12,
)


def outcome(text: bytes, overlay: bytes | None = None) -> None:
    try:
        found = parse(text, FILE, overlay)
    except BadConfig as error:
        findings = str(error).split("\n")
    else:
        assert isinstance(found, Site)
        return
    for line in findings:
        assert line.startswith("/srv/site/biso.")
        assert not CONTROL.search(line)


@given(st.binary(), st.one_of(st.none(), st.binary()))
def test_any_bytes(text: bytes, overlay: bytes | None) -> None:
    outcome(text, overlay)


@given(st.text("ab01.=[]{}\"',#\\ \n-_:TZ+", max_size=60))
def test_any_text_that_resembles_toml(text: str) -> None:
    outcome(text.encode())


@settings(max_examples=300)
@given(st.dictionaries(NAMES, VALUES, max_size=5), st.dictionaries(NAMES, VALUES, max_size=3))
def test_any_values_under_known_keys(base: dict[str, Any], over: dict[str, Any]) -> None:
    outcome(tomli_w.dumps(base).encode(), tomli_w.dumps(over).encode())


@st.composite
def nearly_right(draw: st.DrawFn) -> dict[str, Any]:
    """A right document in which some known keys have got any value."""
    document: dict[str, Any] = {
        "environments": {
            "prod": {"role": "production", "webroot": "/srv/prod"},
            "test": {"role": "test", "webroot": "/srv/test"},
        }
    }
    for doc in draw(st.lists(st.sampled_from(keys()), max_size=4)):
        here = document
        *above, last = doc.key.replace("NAME", draw(st.sampled_from(["prod", "test", "x"]))).split(
            "."
        )
        for part in above:
            below = here.setdefault(part.removesuffix("[]"), [{}] if part.endswith("[]") else {})
            here = below[0] if isinstance(below, list) else below
            if not isinstance(here, dict):
                return document
        here[last] = draw(VALUES)
    return document


@settings(max_examples=300)
@given(nearly_right())
def test_any_value_for_any_known_key(document: dict[str, Any]) -> None:
    outcome(tomli_w.dumps(document).encode())
