"""What a plan made of a set says of the steps that it leaves out, and why."""

from __future__ import annotations

from typing import Any

import pytest
from restore_site import Restored

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql", "php", "rsync")]

PRIVACY = {"originals", "rename-files", "anonymize", "scrub", "prove"}


def left_out(world: Restored, **arguments: Any) -> dict[str, str]:
    """The reason by step."""
    plan = world.restore(plan=True, **arguments)["plan"]
    return {step["name"]: step["skip"] for step in plan if "skip" in step}


def test_into_production_a_restore_is_not_anonymised_and_that_is_the_reason(
    world: Restored,
) -> None:
    """The site anonymises: that it were off would alarm whoever reads it, and be wrong."""
    reasons = dict.fromkeys(PRIVACY, "a restore into production is not anonymised")
    reasons["neutralize"] = "a restore into production is not neutralised"
    assert left_out(world) == reasons


def test_a_webroot_alone_is_no_matter_of_privacy(world: Restored) -> None:
    found = left_out(world, to="test", confirm="test", only="webroot")
    assert found == dict.fromkeys(PRIVACY, "no database and no data dir is restored")


def test_a_site_that_does_not_anonymise_is_told_that(world: Restored) -> None:
    file = world.built.root / "biso.toml"
    file.write_text(file.read_text().replace("\n[refresh]\n", "\n[refresh]\nanonymize = false\n"))
    found = left_out(world, to="test", confirm="test")
    assert found == dict.fromkeys(PRIVACY, "anonymize is off")
