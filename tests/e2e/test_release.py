"""A released set from end to end: made of production, proven, sealed on test's host, and what comes
of it; production's own words are in none of its files."""

from __future__ import annotations

import gzip
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from set_world import biso, sums_pass

from biso_tasks.demo.data import PLANTED


@dataclass(frozen=True)
class Made:
    store: Path
    ran: Any

    @property
    def id(self) -> str:
        return str(self.ran.json["set"])

    @property
    def folder(self) -> Path:
        return self.store / "sets" / self.id


def store_of_releases(world: Any) -> Path:
    home: Path = world.hosts["test"].folder / "home"
    return home / "released"


def site(world: Any, **sections: Any) -> Path:
    store = store_of_releases(world)
    release = {"path": str(store), **sections.pop("release", {})}
    world.site(release=release, **sections)
    return store


@pytest.fixture(scope="module")
def made(worlds: Any) -> Made:
    """One release, which tests look at and take, and never change."""
    world = worlds("admin")
    world.reset()
    store = site(world)
    before = world.test.state(), world.prod.state()
    ran = biso(world, "release", "--yes")
    assert (world.test.state(), world.prod.state()) == before, "nothing that is served changes"
    assert world.leftovers(previous=False) == []
    return Made(store, ran)


def test_a_release_says_what_was_proven(made: Made) -> None:
    document = made.ran.json
    assert document["path"] == str(made.folder)
    assert document["bytes"] > 0
    assert document["proof"]["leaks"] == []
    assert sums_pass(made.folder)
    manifest = tomllib.loads((made.folder / "manifest.toml").read_text("utf-8"))
    assert manifest["personal"] is False
    assert manifest["areas"] == ["data", "database"]
    proof = manifest["proof"]
    assert proof["source"] == "prod"
    assert proof["run"] == document["run"]
    assert (proof["leaks"], proof["sampled"]) == (0, False)
    for key in ("columns", "values", "files"):
        assert proof[key] == document["proof"][key] > 0


def test_nothing_of_production_is_in_a_release(made: Made, world: Any) -> None:
    prod = world.prod
    texts = {
        path: gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for path in made.folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    assert any(b"COPY public.person " in text for text in texts.values())
    names = [str(path.relative_to(made.folder)) for path in made.folder.rglob("*")]
    assert not [name for name in names if name.endswith(("globals.sql", "config.php"))]
    # Roles that production's objects know, where it is, who logs in there.
    own = (prod.password, "nur_prod", "biso_statistik", str(prod.place), prod.machine.user)
    for word in (*PLANTED, *own):
        for path, text in texts.items():
            assert word.encode() not in text, f"{word} is in {path.name}"
        assert not [name for name in names if word in name]


def take(world: Any, *words: str, code: int = 0) -> Any:
    return world.refresh("--source", "released", *words, code=code)


def test_a_refresh_takes_the_newest_release(made: Made, world: Any) -> None:
    site(world)
    config = world.test.config.read_bytes()
    kept = (world.test.datadir / "fop.xconf").read_bytes()
    ran = take(world)
    assert ran.json["source"] == made.id
    text = world.test.cluster.text(world.test.dbname)
    assert "COPY public.person " in text
    assert [word for word in PLANTED if word in text] == []
    files = [one for one in world.test.datadir.rglob("*") if one.is_file()]
    assert not [one for one in files if any(w.encode() in one.read_bytes() for w in PLANTED)]
    assert world.test.config.read_bytes() == config
    assert (world.test.datadir / "fop.xconf").read_bytes() == kept, "test keeps its own"
    assert world.leftovers(previous=True) == []


def test_whoever_takes_releases_alone_never_asks_production(made: Made, world: Any) -> None:
    refresh = {"source": "released", "sources_allowed": ["released"], "anonymize": "required"}
    prod = world.hosts["prod"]
    prod.stop()
    before = (prod.folder / "sshd.log").read_text()
    for known in ({"ssh": "e2e-prod"}, {"ssh": "nobody@nowhere.invalid"}):
        site(world, refresh=refresh, prod=known)
        assert take(world).json["source"] == made.id
    # not even configured
    file = world.site_folder / "biso.toml"
    document = tomllib.loads(file.read_text())
    del document["environments"]["prod"]
    file.write_text(tomli_w.dumps(document))
    assert take(world).json["source"] == made.id
    ran = world.run("refresh-test", "--source", "live", "--yes", "--json")
    assert ran.code == 3
    assert "sources_allowed" in ran.json["error"]["hint"]
    ran = world.run("refresh-test", "--source", "released", "--no-anonymize", "--yes", "--json")
    assert ran.code == 3
    assert (prod.folder / "sshd.log").read_text() == before
