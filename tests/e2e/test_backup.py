"""A backup from end to end: what is in the set, what production notices, what it costs, how long it
is kept."""

from __future__ import annotations

import itertools
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from set_world import (
    biso,
    blocks,
    contents,
    dumped,
    forget_sets,
    live_metadata,
    read_metadata,
    site,
    store_of,
    sums_pass,
    user,
)

COUNTERS = "SELECT tup_inserted, tup_updated, tup_deleted FROM pg_stat_database WHERE datname = "


@dataclass(frozen=True)
class Made:
    """One backup of production, over SSH as an ordinary user, and what was seen meanwhile."""

    world: Any
    store: Path
    folder: Path
    json: dict[str, Any]
    before: dict[str, Any]
    changed: tuple[dict[bytes, int], dict[bytes, int]]
    counters: tuple[Any, Any]
    visitor: Any
    calls: list[str]
    left: list[str]


@pytest.fixture(scope="module", params=["admin", "plain"])
def made(request: pytest.FixtureRequest, worlds: Callable[[Any], Any]) -> Iterator[Made]:
    """Many looks at one backup; no test that uses it changes anything."""
    world = worlds(request.param)
    world.reset()
    forget_sets(world)
    store = site(world)
    prod = world.prod
    before, changed = prod.state(), _changed(prod)
    written = prod.cluster.rows(f"{COUNTERS}'biso'")
    with type(world.visitor())(prod) as visitor:
        ran = biso(world, "backup")
    yield Made(
        world=world,
        store=store,
        folder=Path(ran.json["path"]),
        json=ran.json,
        before=before,
        changed=(changed, _changed(prod)),
        counters=(written, prod.cluster.rows(f"{COUNTERS}'biso'")),
        visitor=visitor,
        calls=world.hosts["prod"].calls(),
        left=world.leftovers(previous=False),
    )
    forget_sets(world)


def _changed(instance: Any) -> dict[bytes, int]:
    """When each entry was last written or given other rights; but for the data dir itself, in which
    the flag of maintenance comes and goes."""
    found = {}
    for here, folders, files in os.walk(os.fsencode(instance.place)):
        for name in (*folders, *files):
            path = os.path.join(here, name)
            if path != os.fsencode(instance.datadir):
                found[path] = os.lstat(path).st_ctime_ns
    return found


def test_a_set_is_laid_out_as_the_contract_says(made: Made) -> None:
    name = made.json["set"]
    stamp, _, environment = name.partition("-")
    assert environment == "prod"
    assert made.folder == made.store / "sets" / name
    assert {path.name for path in made.folder.iterdir()} == {
        "webroot", "data", "db", "config", "manifest.toml", "METADATA", "SHA256SUMS", "RESTORE.md",
        "state.toml",
    }  # fmt: skip
    dump = made.folder / f"db/biso_{stamp}.sql.gz"
    assert {path.name for path in (made.folder / "db").iterdir()} == {
        dump.name, "globals.sql", "grants.sql"
    }  # fmt: skip
    assert os.readlink(made.store / "latest") == f"sets/{name}"
    assert (made.store / "db/biso_latest.sql.gz").samefile(dump)
    config = made.world.prod.config.read_bytes()
    assert (made.folder / "config/config.php").read_bytes() == config
    assert [path.name for path in (made.store / "sets").iterdir()] == [name]


def test_the_sums_pass_and_all_of_it_belongs_to_the_login_alone(made: Made) -> None:
    assert sums_pass(made.folder)
    covered = (made.folder / "SHA256SUMS").read_text("utf-8", "surrogateescape")
    assert "METADATA" in covered and "manifest.toml" in covered and "state.toml" not in covered
    for folder in (made.store, made.store / "sets", made.store / "db", made.folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    login = made.world.hosts["prod"].user
    for here, folders, files in os.walk(os.fsencode(made.store)):
        for entry in (*folders, *files):
            status = os.lstat(os.path.join(here, entry))
            assert user(status.st_uid) == login, entry
            needed = {stat.S_IFDIR: 0o700, stat.S_IFREG: 0o600}.get(stat.S_IFMT(status.st_mode), 0)
            assert status.st_mode & needed == needed, entry


def test_metadata_is_what_stands_in_the_live_trees(made: Made) -> None:
    recorded = read_metadata(made.folder)
    prod = made.world.prod
    live = live_metadata("webroot", prod.webroot) | live_metadata("data", prod.datadir)
    assert set(recorded) == set(live)
    for path, entry in live.items():
        if path == b"data":  # its time is that of the flag of maintenance
            assert recorded[path][:3] == entry[:3]
        else:
            assert recorded[path] == entry, path
    kinds = {entry[0] for entry in recorded.values()}
    assert kinds == {b"f", b"d", b"l", b"h"}
    if made.world.kind == "admin":
        assert recorded[b"data/geheim/root.key"][:3] == (b"f", b"0600", b"root:root")
    assert recorded[b"data/leerer Ordner/darin/auch"][0] == b"d"
    assert b"data/tmp" in recorded and b"data/tmp/halb-fertig.pdf" not in recorded
    for area, root in (("webroot", prod.webroot), ("data", prod.datadir)):
        ours, theirs = contents(made.folder / area), contents(root)
        for path, (_, digest, moment) in ours.items():
            assert (digest, moment) == theirs[path][1:], path
        assert {area.encode() + b"/" + path for path in ours} == {
            path
            for path, entry in recorded.items()
            if entry[0] in b"fh" and path.startswith(area.encode() + b"/")
        }


def test_the_dump_loads_by_hand_into_an_equal_database(made: Made) -> None:
    prod = made.world.prod
    cluster = prod.cluster
    cluster.rows(
        f"CREATE DATABASE \"by hand\" OWNER {prod.role} TEMPLATE template0 LOCALE 'de_CH.utf8'"
    )
    try:
        cluster.rows("ALTER DATABASE \"by hand\" SET timezone = 'Europe/Zurich'")
        cluster.psql(dumped(made.store / "db/biso_latest.sql.gz"), "by hand")
        assert cluster.fingerprint("by hand") == cluster.fingerprint(prod.dbname)
        theirs, ours = (cluster.catalog(name) for name in (prod.dbname, "by hand"))
        for what in theirs:
            assert ours[what] == theirs[what], what
    finally:
        cluster.rows('DROP DATABASE "by hand"')


def test_production_gets_no_row_and_no_file_and_is_away_for_a_moment(made: Made) -> None:
    assert made.world.prod.state() == made.before
    assert made.changed[0] == made.changed[1]
    assert made.counters[0] == made.counters[1]
    assert made.calls == []
    assert made.left == []
    answers = made.visitor.answers
    assert {status for _, _, status, _ in answers} == {200, 503}
    assert answers[0][2] == answers[-1][2] == 200
    assert sum(one[2] != two[2] for one, two in itertools.pairwise(answers)) == 2
    patience = made.world.patience
    reported = made.json["maintenance_seconds"]
    assert 0 < reported < 3 * patience
    assert abs(reported - made.visitor.away) < 0.5 * patience


def test_the_json_document_of_a_backup_has_what_the_contract_says(made: Made) -> None:
    said = made.json
    assert (said["ok"], said["task"], said["exit_code"], said["error"]) == (True, "backup", 0, None)
    assert 8_000_000 < said["bytes"] < 9_000_000
    assert {step["status"] for step in said["steps"]} == {"ok"}
    listed = biso(made.world, "list").json["sets"]
    (one,) = listed
    assert {"id", "state", "created", "bytes", "areas", "verified", "drilled", "pinned"} <= set(one)
    assert (one["id"], one["state"], one["pinned"]) == (said["set"], "good", False)
    assert (one["bytes"], one["areas"]) == (said["bytes"], ["webroot", "data", "database"])
    shown = biso(made.world, "show", "latest").json
    assert (shown["set"], shown["path"]) == (said["set"], said["path"])
    secret = made.world.prod.password
    journal = made.world.site_folder / ".biso/runs" / said["run"] / "journal.jsonl"
    for path in (journal, made.folder / "manifest.toml", made.folder / "db/globals.sql"):
        assert secret not in path.read_text()


def test_a_second_backup_grows_by_what_changed_and_leaves_the_first_alone(world: Any) -> None:
    """By the ordinary login: what it cannot own it must not chmod through a link either."""
    forget_sets(world)
    site(world)
    many = world.prod.datadir / "viele"
    many.mkdir()
    for number in range(300):
        (many / f"{number}.bin").write_bytes(os.urandom(16384))
        (many / f"{number}.bin").chmod((0o640, 0o440, 0o600)[number % 3])
    for path in (many, *many.iterdir()):
        shutil.chown(path, world.prod.owner, world.prod.owner)
    first = Path(biso(world, "backup").json["path"])
    sealed = contents(first)
    for number in (0, 1, 2):
        (many / f"{number}.bin").write_bytes(os.urandom(16384))
    (many / "3.bin").rename(many / "umbenannt.bin")
    (many / "4.bin").unlink()
    (many / "5.bin").chmod(0o660)
    second = Path(biso(world, "backup").json["path"])

    ours, theirs = contents(second / "data/viele"), contents(many)
    assert {path: entry[1] for path, entry in ours.items()} == {
        path: entry[1] for path, entry in theirs.items()
    }
    assert contents(first) == sealed
    assert sums_pass(first) and sums_pass(second)
    old = blocks(first)
    grown = {inode: size for inode, size in blocks(second).items() if inode not in old}
    folders = sum(path.stat().st_blocks * 512 for path in second.rglob("*/") if path.is_dir())
    documents = 4 * 65536  # manifest, METADATA, sums, guide, dump: as large as they were
    assert sum(grown.values()) - folders < 6 * 16384 + documents
    assert sum(old.values()) > 300 * 16384
    forget_sets(world)


@pytest.mark.parametrize(
    "how", ["whole", "none", pytest.param("--no-maintenance", marks=pytest.mark.whole)]
)
def test_maintenance_is_as_long_as_the_site_wants(local: Any, how: str) -> None:
    none = how != "whole"
    site(local, ssh=False, backup={} if how.startswith("-") else {"maintenance": how})
    with type(local.visitor())(local.prod) as visitor:
        ran = biso(local, "backup", *([how] if how.startswith("-") else []))
    codes = {status for _, _, status, _ in visitor.answers}
    assert codes == ({200} if none else {200, 503})
    steps = {step["name"]: step["seconds"] for step in ran.json["steps"]}
    if none:
        assert ran.json["maintenance_seconds"] == 0
    else:
        assert ran.json["maintenance_seconds"] >= steps["dump"]
        assert abs(ran.json["maintenance_seconds"] - visitor.away) < 0.5 * local.patience
    report = local.run("report", "--run", ran.json["run"], "--json").json["report"]
    spells = [spell["seconds"] for one in report["served"] for spell in one["away"]]
    assert spells == ([] if none else [ran.json["maintenance_seconds"]])
    assert sums_pass(Path(ran.json["path"]))
    assert local.leftovers(previous=False) == []


def test_a_site_that_was_in_maintenance_stays_so(local: Any) -> None:
    site(local, ssh=False)
    flag = local.prod.datadir / "maintenance.on"
    flag.touch()
    shutil.chown(flag, local.prod.owner, local.prod.owner)
    ran = biso(local, "backup")
    assert flag.exists()
    assert local.prod.get()[0] == 503
    assert ran.json["maintenance_seconds"] == 0
    assert "is in maintenance now, and stays so" in ran.err
    assert not (Path(ran.json["path"]) / "data/maintenance.on").exists()


def test_services_are_held_still_where_the_site_says_so(world: Any) -> None:
    """One that did not run before does not run afterwards."""
    site(world, backup={"hold": ["biso-cron", "biso-queue"]})
    ran = biso(world, "backup", "--only", "database")
    assert world.hosts["prod"].calls() == ["stop biso-cron", "start biso-cron"]
    assert ran.json["maintenance_seconds"] > 0
    assert world.leftovers(previous=False) == []
    forget_sets(world)


def test_a_maintenance_that_runs_into_its_limit_gives_no_good_set(local: Any) -> None:
    slow = (
        '\n[[recipes.backup.insert]]\nafter = "dump"\nname = "slow"\non = "prod"\n'
        'run = ["sleep", "4"]\n'
    )
    limits = {"maintenance": "whole", "max_maintenance": "2s"}
    store = site(local, ssh=False, backup=limits, text=slow)
    ran = biso(local, "backup", code=1)
    assert "ran into its limit of 2 s" in ran.message
    assert 2 <= ran.json["maintenance_seconds"] < 2 + 2 * local.patience
    assert local.prod.get()[0] == 200
    assert [one["state"] for one in biso(local, "list").json["sets"]] == ["partial"]
    assert not (store / "latest").is_symlink()
    assert local.leftovers(previous=False) == []
    site(local, ssh=False)
    assert sums_pass(Path(biso(local, "backup").json["path"])), (
        "the next one goes on with its files"
    )


def test_a_log_database_that_nothing_handles_fails_the_backup(local: Any) -> None:
    local.with_log_database()
    store = site(local, ssh=False)
    ran = biso(local, "backup", code=3)
    assert "log.db" in ran.message and "log_database.py" in ran.message
    assert not store.exists()

    site(local, ssh=False, backup={"log_database": "ignore"})
    ran = biso(local, "backup")
    assert _dumps(ran) == {"biso"}


def test_the_plugin_puts_the_log_database_into_the_set(local: Any) -> None:
    local.with_log_database()
    plugins = str(Path(__file__).parents[2] / "plugins")
    site(local, ssh=False, site={"plugins": [plugins]})
    ran = biso(local, "backup")
    assert _dumps(ran) == {"biso", "biso_log"}
    stamp = ran.json["set"].partition("-")[0]
    text = dumped(Path(ran.json["path"]) / f"db/biso_log_{stamp}.sql.gz")
    assert "COPY public.log_eintrag" in text


def _dumps(ran: Any) -> set[str]:
    """The stems of the dumps in the set that was made."""
    names = [path.name for path in (Path(ran.json["path"]) / "db").iterdir()]
    return {name.partition("_2")[0] for name in names if name.endswith(".gz")}


def test_the_plan_of_a_backup_changes_nothing(local: Any) -> None:
    store = site(local, ssh=False)
    before = local.prod.state()
    ran = biso(local, "backup", "--plan")
    assert "window" in [step["name"] for step in ran.json["plan"]]
    assert local.prod.state() == before
    assert not store.exists()
    assert local.leftovers(previous=False) == []


def test_retention_keeps_what_is_pinned_and_removes_what_the_plan_named(local: Any) -> None:
    keep = {"last": 1, "daily": 0, "weekly": 0, "monthly": 0}
    store = site(local, ssh=False, backup={"keep": keep})
    ids = [biso(local, "backup").json["set"] for _ in range(3)]
    part = biso(local, "backup", "--only", "data").json["set"]
    planned = biso(local, "pin", ids[0], "--plan").json["plan"]
    assert f"{ids[0]} is kept for good" in planned[0]["changes"][0]
    assert not any(one["pinned"] for one in biso(local, "list").json["sets"])
    biso(local, "pin", ids[0], "--reason", "vor der Umstellung")
    newest = store / "sets" / ids[2]
    assert os.readlink(store / "latest") == f"sets/{ids[2]}", "a set of one area is never latest"
    assert (newest / "data/leer.txt").stat().st_nlink == 4

    plan = biso(local, "prune", "--plan").json["plan"]
    assert ids[1] in str(plan[0]["destroys"])
    assert ids[0] not in str(plan[0]["destroys"])
    listed = {one["id"]: one for one in biso(local, "list").json["sets"]}
    assert set(listed) == {*ids, part}
    assert [listed[one]["pinned"] for one in ids] == [True, False, False]
    assert listed[ids[0]]["pin"]["reason"] == "vor der Umstellung"
    assert listed[part]["areas"] == ["data"]

    refused = local.run("prune", "--json")
    assert refused.code == 3, str(refused)
    ran = biso(local, "prune", "--yes")
    assert ran.json["removed"] == [ids[1]]
    assert {path.name for path in (store / "sets").iterdir()} == {ids[0], ids[2], part}
    assert sums_pass(newest) and sums_pass(store / "sets" / ids[0])
    assert os.readlink(store / "latest") == f"sets/{ids[2]}"

    assert biso(local, "unpin", ids[0], "--plan").json["plan"][0]["name"] == "unpin"
    assert biso(local, "prune", "--yes").json["removed"] == []
    biso(local, "unpin", ids[0])
    assert biso(local, "prune", "--yes").json["removed"] == [ids[0]]


def test_a_store_in_the_data_dir_is_refused(local: Any) -> None:
    inside = local.prod.datadir / "sicherung"
    local.site(ssh=False, backup={"path": str(inside)})
    assert "would lie in the data dir" in biso(local, "backup", code=3).message
    assert not inside.exists()


def test_a_store_that_the_login_cannot_make_says_how_it_is_made(world: Any) -> None:
    world.site(backup={"path": str(world.base / "woanders")})
    ran = biso(world, "backup", code=3)
    assert "install -d -m 0700" in ran.message
    assert world.leftovers(previous=False) == []
    assert store_of(world) != world.base / "woanders"
