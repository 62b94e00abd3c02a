"""The documentation says what the code does."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from biso_tasks.cli.tasks import OWN
from biso_tasks.config.load import parse
from biso_tasks.flow.recipe import parse as parse_recipe

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
RECIPES = sorted(
    (one for one in files("biso_tasks.actions").joinpath("builtin_recipes").iterdir()),
    key=lambda one: one.name,
)
SITE = """
[environments.prod]
role = "production"
webroot = "/var/www/biso"
[environments.test]
role = "test"
webroot = "/var/www/biso-test"
"""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if "://" not in link:
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def toml_blocks() -> list[tuple[str, str]]:
    return [(page.name, text) for page in PAGES for text in blocks(page, "toml")]


@pytest.mark.parametrize(("page", "text"), toml_blocks())
def test_every_toml_example_is_a_config_that_loads(page: str, text: str) -> None:
    whole = text if "[environments.prod]" in text else SITE + text
    assert parse(whole.encode(), ROOT / "biso.toml").environments


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda one: one.name)
def test_every_step_of_a_recipe_is_documented(recipe: Path) -> None:
    page = (ROOT / "docs/recipes.md").read_text("utf-8")
    cells = re.findall(r"^\| ([^|]+) \|", page, re.M)
    told = {name.strip() for cell in cells for name in cell.split(",")} | {"swap", "lock"}
    assert set(parse_recipe(recipe.read_text("utf-8"), recipe.name).names()) <= told


def test_the_drawing_of_the_verbs_knows_every_task_that_moves_data() -> None:
    """A new recipe is drawn, and what is drawn can be called."""
    drawn = re.findall(
        r'-- "([a-z-]+)(?: --[a-z]+)?" -->', (ROOT / "docs/verbs.md").read_text("utf-8")
    )
    tasks = {str(one.name) for one in OWN}
    assert set(drawn) - {"swap"} <= tasks
    moving = {one.name.removesuffix(".toml") for one in RECIPES} & tasks
    assert moving - {"prune"} <= set(drawn), "of what a recipe does, prune alone moves nothing"
