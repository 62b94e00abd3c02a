"""A released set from end to end: made of production, proven, sealed on test's host, and what comes
of it; production's own words are in none of its files."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from set_world import biso, sums_pass

from biso_tasks.backup.gate import GATE
from biso_tasks.demo.data import PLANTED

OF_TEST = "nur auf dem Testserver"


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


def key(world: Any, name: str) -> Path:
    path: Path = world.laptop / name
    if not path.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def signers(world: Any, name: str) -> str:
    """An allowed_signers file for one key."""
    public = key(world, name).with_suffix(".pub").read_text()
    file: Path = world.laptop / f"allowed-{name}"
    file.write_text(f'stelle namespaces="biso-release" {public}')
    return str(file)


@pytest.fixture(scope="module")
def made(worlds: Any) -> Iterator[Made]:
    """One release, which tests look at and take, and never change."""
    world = worlds("admin")
    world.reset()
    # What a refresh would keep of test is nothing that a release may have, nor skip.
    kept = {"keep_tables": ["mailqueue"], "keep_files": ["fop.xconf"]}
    store = site(world, refresh=kept, release={"sign": str(key(world, "signer"))})
    (world.test.datadir / "fop.xconf").write_text(OF_TEST)
    before = world.test.state(), world.prod.state()
    ran = biso(world, "release", "--yes")
    assert (world.test.state(), world.prod.state()) == before, "nothing that is served changes"
    assert world.leftovers(previous=False) == []
    assert world.test.cluster.rows("SELECT rolname FROM pg_roles WHERE rolname ~ '__stage'") == []
    yield Made(store, ran)
    shutil.rmtree(store)


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
    for table in (b"person", b"mailqueue"):
        assert any(b"COPY public." + table + b" (" in text for text in texts.values())
    names = [str(path.relative_to(made.folder)) for path in made.folder.rglob("*")]
    assert not [name for name in names if name.endswith(("globals.sql", "config.php"))]
    # Roles that production's objects know, where it is, who logs in there.
    own = (prod.password, "nur_prod", "biso_statistik", str(prod.place), prod.machine.user, OF_TEST)
    for word in (*PLANTED, *own):
        for path, text in texts.items():
            assert word.encode() not in text, f"{word} is in {path.name}"
        assert not [name for name in names if word in name]


def take(world: Any, *words: str, code: int = 0) -> Any:
    return world.refresh("--source", "released", *words, code=code)


def test_a_refresh_takes_the_newest_release(made: Made, world: Any) -> None:
    site(world, release={"allowed_signers": signers(world, "signer")})
    config = world.test.config.read_bytes()
    kept = (world.test.datadir / "fop.xconf").read_bytes()
    ran = take(world)
    assert ran.json["source"] == made.id
    report = world.run("report", "--run", ran.json["run"], "--json").json["report"]
    assert report["personal_data"]["anonymised"] is True
    (spell,) = {one["environment"]: one["away"] for one in report["served"]}["test"]
    assert abs(spell["seconds"] - ran.json["downtime_seconds"]) < 0.01
    swap = next(one for one in report["steps"] if one["name"] == "swap")
    assert swap["began"] - 0.1 < spell["began"] < swap["began"] + swap["seconds"]
    assert "NOT anonymised" not in str(report["personal_data"])
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


def test_releases_are_told_apart_and_looked_for(made: Made, world: Any) -> None:
    site(world, refresh={"source": "released"})
    listed = biso(world, "list", "--env", "test").json["sets"]
    assert [(one["id"], one["released"], one["areas"]) for one in listed] == [
        (made.id, True, ["data", "database"])
    ]
    assert biso(world, "list").json["sets"] == [], "production has none of its own"
    shown = biso(world, "show", made.id)
    assert shown.json["manifest"]["proof"]["run"] == made.ran.json["run"]
    assert biso(world, "verify", "--set", made.id).json["findings"] == []
    checks = biso(world, "doctor").json["checks"]
    assert not [one for one in checks if one["host"] == "prod"], "production is not looked at"
    (line,) = [one for one in checks if one["name"] == "releases"]
    assert line["ok"] and made.id in line["detail"]
    plan = biso(world, "prune", "--plan").json["plan"]
    (step,) = [one for one in plan if one["name"] == "prune-releases"]
    assert step["changes"] == [f"keeps the release {made.id}: last 1 of 7"]
    assert step["destroys"] == []
    refused = world.run("restore", made.id, "--to", "prod", "--yes", "--confirm", "prod", "--json")
    assert refused.code == 3
    assert "is a release" in refused.json["error"]["message"]
    site(world, refresh={"source": "released"}, release={"max_age": "1s"})
    checks = biso(world, "doctor", code=3).json["checks"]
    (line,) = [one for one in checks if one["name"] == "releases"]
    assert not line["ok"] and "release.max_age" in line["detail"]


def test_the_gate_is_printed_as_it_is_installed(world: Any) -> None:
    ran = world.run("release", "--gate")
    assert (ran.code, ran.out) == (0, GATE)


# -- through the gate --


@contextmanager
def restricted(world: Any, store: Path) -> Iterator[None]:
    """A developer has one key, which opens nothing but the gate on test's host. As an alias
    `releases`; production's host lets nobody in whom this laptop knows."""
    machine = world.hosts["test"]
    gate = machine.folder / "gate"
    gate.write_text(GATE, "utf-8")
    gate.chmod(0o755)
    own = key(world, "developer")
    authorized = machine.folder / "authorized_keys"
    before = authorized.read_text()
    public = own.with_suffix(".pub").read_text()
    authorized.write_text(f'{before}restrict,command="{gate} {store}" {public}')
    config = world.laptop / "ssh_config"
    config.write_text(
        config.read_text().replace("/key\n", "/developer\n")
        + f"Host releases\n  HostName 127.0.0.1\n  Port {machine.port}\n  User {machine.user}\n"
        f"  IdentityFile {own}\n  IdentitiesOnly yes\n  IdentityAgent none\n"
    )
    try:
        yield
    finally:
        authorized.write_text(before)


def test_a_developers_key_takes_a_release_and_reaches_nothing_else(made: Made, world: Any) -> None:
    """Test is on the developer's own machine; production and the host of releases are not."""
    fetched = world.base / "fetched"
    log = world.hosts["prod"].folder / "sshd.log"
    known = log.read_text()
    refresh = {"source": "released", "anonymize": "required"}
    site(world, refresh=refresh, test={"ssh": None},
         release={"path": str(fetched), "ssh": "releases"})  # fmt: skip
    with restricted(world, made.store):
        live = world.run("refresh-test", "--source", "live", "--yes", "--json")
        assert live.code == 1
        assert "prod" in live.json["error"]["message"]
        assert "Accepted" not in log.read_text().removeprefix(known)

        refresh["sources_allowed"] = ["released"]
        allowed = {"allowed_signers": signers(world, "signer")}
        site(world, refresh=refresh, test={"ssh": None},
             release={"path": str(fetched), "ssh": "releases", **allowed})  # fmt: skip
        assert world.run("refresh-test", "--source", "live", "--yes", "--json").code == 3
        plan = biso(world, "refresh-test", "--plan").json["plan"]
        (opened,) = [step["changes"] for step in plan if step["name"] == "open-set"]
        assert "fetches" in opened[0] and "from releases" in opened[0]
        assert not fetched.exists(), "a plan changes nothing"

        asked = log.read_text()
        ran = take(world)
        assert ran.json["source"] == made.id
        assert log.read_text() == asked, "production was asked"
        assert [one.name for one in (fetched / "sets").iterdir()] == [made.id]
        text = world.test.cluster.text(world.test.dbname)
        assert "COPY public.person " in text
        assert [word for word in PLANTED if word in text] == []
    # What was fetched is enough from here on.
    ran = world.run("refresh-test", "--source", made.id, "--yes", "--json")
    assert ran.code == 3, "the site allows the newest release alone"
    shutil.rmtree(fetched)


# -- what is refused --


def test_a_release_that_was_changed_is_not_taken(made: Made, world: Any) -> None:
    store = site(world)
    before = world.test.state()
    dump = next((made.folder / "db").glob("biso_2*.sql.gz"))
    for path in (dump, made.folder / "manifest.toml", made.folder / "SHA256SUMS"):
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        state = (made.folder / "state.toml").read_bytes()
        ran = world.run("refresh-test", "--source", "released", "--yes", "--json")
        assert ran.code in (3, 4), str(ran)
        assert made.id in ran.json["error"]["message"], path.name
        path.write_bytes(whole)
        (made.folder / "state.toml").write_bytes(state)
    assert world.test.state() == before
    # An older one is not taken in silence: what is too old is said.
    site(world, release={"max_age": "1s"})
    ran = take(world, code=3)
    assert "release.max_age" in ran.message
    site(world, release={"allowed_signers": signers(world, "somebody")})
    assert "is nobody's in" in take(world, code=3).message
    signature = made.folder / "SHA256SUMS.sig"
    content = signature.read_bytes()
    signature.unlink()
    try:
        site(world, release={"allowed_signers": signers(world, "signer")})
        assert "is not signed" in take(world, code=3).message
    finally:
        signature.write_bytes(content)
    assert list((store / "sets").iterdir()) == [made.folder]
    assert world.leftovers(previous=False) == []


def test_a_release_that_only_a_sample_would_be_looked_for_in_is_not_made(world: Any) -> None:
    """Production has more values than the proof may know; a refresh goes on, and says so."""
    store = store_of_releases(world).parent / "of a sample"
    site(world, privacy={"bound": 1000}, release={"path": str(store)})
    world.prod.cluster.rows(
        f"SET ROLE {world.prod.role}; CREATE TABLE viele (id int PRIMARY KEY, bemerkung text);"
        "INSERT INTO viele SELECT i, 'Anruf der Klientin Nummer ' || i FROM "
        "generate_series(1, 10001) i",
        world.prod.dbname,
    )
    ran = biso(world, "release", "--yes", code=3)
    assert "more personal values than the 1000" in ran.message
    assert "`bound` in [privacy]" in ran.json["error"]["hint"]
    assert not store.is_dir() or not list((store / "sets").iterdir())
    assert world.leftovers(previous=False) == []
    ran = world.refresh("--to", "test")
    report = world.run("report", "--run", ran.json["run"], "--json").json["report"]
    assert "a sample of production's values" in str(report)


def test_a_site_that_requires_anonymising_goes_back_to_what_was_proven_alone(world: Any) -> None:
    home = world.hosts["test"].folder / "home"
    backup = {"path": str(home / "backups")}
    world.site(refresh={"anonymize": "required"}, backup=backup)
    raw = biso(world, "baseline", "--name", "roh").json["set"]
    assert "personal data" in biso(world, "reset-test", "--name", "roh", "--yes", code=3).message
    world.refresh("--to", "test")
    # What served before this tool came: nobody knows.
    assert "was not anonymised by this tool" in biso(world, "rollback", "--yes", code=3).message
    made = biso(world, "baseline", "--name", "gut").json
    manifest = Path(made["path"], "manifest.toml")
    document = tomllib.loads(manifest.read_text("utf-8"))
    assert document["personal"] is False
    assert document["proven"]["run"]
    biso(world, "reset-test", "--name", "gut", "--yes")
    assert biso(world, "rollback", "--yes").json["previous"]
    # A set that only says so.
    sets = home / "backups/baselines/sets"
    lie = tomllib.loads((sets / raw / "manifest.toml").read_text("utf-8"))
    lie["personal"] = False
    (sets / raw / "manifest.toml").write_text(tomli_w.dumps(lie), "utf-8")
    assert biso(world, "reset-test", "--name", "roh", "--yes", code=4)
    vouch(sets / raw)
    said = biso(world, "reset-test", "--name", "roh", "--yes", code=3).message
    assert "there is no proof of it" in said
    shutil.rmtree(home / "backups")


def vouch(folder: Path) -> None:
    """Sums and state agree with what the manifest says now."""
    sums = folder / "SHA256SUMS"
    digest = hashlib.sha256((folder / "manifest.toml").read_bytes()).hexdigest()
    lines = [f"{digest}  manifest.toml" if line.endswith("  manifest.toml") else line
             for line in sums.read_text("utf-8", "surrogateescape").splitlines()]  # fmt: skip
    sums.write_text("\n".join(lines) + "\n", "utf-8", "surrogateescape")
    state = folder / "state.toml"
    digest = hashlib.sha256(sums.read_bytes()).hexdigest()
    lines = [f'sums = "{digest}"' if line.startswith("sums = ") else line
             for line in state.read_text("utf-8").splitlines()]  # fmt: skip
    state.write_text("\n".join(lines) + "\n", "utf-8")
