"""A place of the schema that a person declared harmless is no leak; its neighbours are."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from biso_tasks.privacy.classify import classify
from biso_tasks.privacy.mask import mask
from biso_tasks.privacy.originals import collect
from biso_tasks.privacy.prove import prove

pytestmark = pytest.mark.real

Connection = psycopg.Connection[Any]


def test_only_the_place_that_was_named_is_left_alone(source: Connection, stage: Connection) -> None:
    inventory = classify(source)
    originals = collect(source, inventory)
    stage.execute("COMMENT ON TABLE notiz IS 'wie person7@bluewin.ch sagte'")
    mask(stage, originals, inventory, off={"comment"})
    one, other = "comment on table column public.person.ort", "comment on table public.notiz"
    assert {leak.place for leak in prove(stage, originals, inventory).leaks} == {one, other}
    left = prove(stage, originals, inventory, harmless=[one]).leaks
    assert {leak.place for leak in left} == {other}
