"""A place of the schema that a person declared harmless is no leak; its neighbours are."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from biso_tasks.privacy.classify import classify
from biso_tasks.privacy.inventory.drift import unused_places
from biso_tasks.privacy.inventory.model import PlaceRule
from biso_tasks.privacy.mask import mask
from biso_tasks.privacy.originals import collect
from biso_tasks.privacy.prove import prove
from biso_tasks.privacy.schema_texts import places

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


def test_a_rule_that_speaks_of_no_place_is_named(stage: Connection) -> None:
    stage.execute("COMMENT ON TABLE notiz IS 'wie immer'")
    there = places(stage)
    rules = [
        PlaceRule(name, "why", f"privacy.toml:{line}")
        for line, name in enumerate(
            ("comment on table public.notiz", "comment on * public.notiz", "function public.weg()")
        )
    ]
    assert [one.name for one in unused_places(rules, there)] == ["function public.weg()"]
    assert "privacy.toml:2" in unused_places(rules, there)[0].why
