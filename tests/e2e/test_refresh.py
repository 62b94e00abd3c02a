"""A refresh from end to end: what test gets, what production notices, what is left behind."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.demo.data import PLANTED

KEPT = (b"fop.xconf", b"phpdocxconfig.ini")


def same_code(world: Any) -> None:
    """Test's code is as old as production's, so that no migration changes what was copied."""
    max((world.test.webroot / "migrations").glob("*.sql")).unlink()


def require_same(world: Any, *, owners: bool = True) -> None:
    """Test holds what production holds: rows, sequences, large objects, schema, files."""
    prod, test = world.prod, world.test
    theirs, ours = (one.cluster.fingerprint(one.dbname) for one in (prod, test))
    for what in theirs:
        assert ours[what] == theirs[what], what
    theirs, ours = (one.cluster.catalog(one.dbname) for one in (prod, test))
    for what in theirs:
        assert ours[what] == theirs[what], what
    wanted, found = prod.tree(), test.tree()
    assert set(found) == set(wanted)
    for path in set(wanted) - set(KEPT):
        assert found[path] == wanted[path], path
    for path in KEPT:
        assert found[path] != wanted[path], f"{path!r} should be test's own"


def require_same_grants(world: Any) -> None:
    """What other roles may do, with the application's role for the application's."""
    query = (
        "SELECT c.oid::regclass::text, c.relacl::text FROM pg_class c"
        " WHERE relname IN ('region', 'v_offene_faelle', 'Größe pro Fall')"
        " UNION ALL SELECT attname, attacl::text FROM pg_attribute WHERE attacl IS NOT NULL"
        " AND attrelid >= 16384"
        " UNION ALL SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname ~ 'Ausw'"
    )
    theirs, ours = (
        {
            name: sorted(
                re.sub(rf"\b{one.role}(?=[=,}}]|$)", "APP", acl or "").strip("{}").split(",")
            )
            for name, acl in one.cluster.rows(query, one.dbname)
        }
        for one in (world.prod, world.test)
    )
    assert "biso_statistik" in str(theirs)
    assert ours == theirs
    owners = world.test.cluster.rows(
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class c JOIN pg_namespace n"
        " ON n.oid = relnamespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'",
        world.test.dbname,
    )
    assert owners == [(world.test.role,)], "everything belongs to the application's role"


def own_files(world: Any) -> dict[bytes, Any]:
    return {path: entry for path, entry in world.test.tree().items() if path in KEPT}


@pytest.mark.parametrize(
    "way",
    [
        "direct",
        "plain",
        pytest.param("relay", marks=pytest.mark.whole),
        pytest.param("local", marks=pytest.mark.whole),
    ],
)
def test_the_test_instance_becomes_an_exact_copy_of_production(
    way: str, request: pytest.FixtureRequest
) -> None:
    world = request.getfixturevalue("plain_world" if way == "plain" else "world")
    same_code(world)
    if way == "direct":
        world.give_key()
    route = {"relay": "relay", "direct": "direct"}.get(way, "auto")
    world.site(ssh=way != "local", refresh={"route": route})
    before, kept = world.test.cluster.properties(world.test.dbname), own_files(world)
    old = world.test.inodes()

    ran = world.refresh()

    require_same(world)
    require_same_grants(world)
    assert "nur_prod" in ran.err, "a role that test does not have is named"
    assert own_files(world) == kept
    after = world.test.cluster.properties(world.test.dbname)
    if way == "plain":  # only a superuser may set a parameter that the server does not know
        assert "biso.mandant" in ran.err
        before["settings"][0] = before["settings"][0].replace(',"biso.mandant=test: ä\'ö"', "")
    assert after == before, "owner, access and settings of the database are test's own"
    used = {"local": "local", "direct": "direct"}.get(way, "relay")
    assert f"route {used}" in ran.err
    live, previous = world.test.inodes(), world.test.inodes(world.test.stage_dir / "previous/data")
    assert previous == old, "the previous instance is the old one itself"
    assert not live & (previous | world.prod.inodes()), "a shared inode would be a shared write"
    scratch = world.test.datadir / "tmp"
    assert scratch.is_dir() and not list(scratch.iterdir())
    assert os.stat(scratch).st_mode & stat.S_IWUSR
    assert world.leftovers(previous=True) == []


@contextmanager
def closed_to_test(world: Any) -> Iterator[Path]:
    """Test's host has a key that production's accepts, and comes from an address that production's
    sshd refuses; what it is asked is in the file that is given."""
    world.give_key()
    test, prod = world.hosts["test"], world.hosts["prod"]
    own = test.ssh_folder / "config"
    own.write_text("Host *\n  BindAddress 127.0.0.2\n")
    shutil.chown(own, test.user)
    config = prod.folder / "sshd_config"
    before = config.read_text()
    config.write_text(f"{before}DenyUsers *@127.0.0.2\n")
    prod.reload()
    log = prod.folder / "sshd.log"
    log.write_text("")
    try:
        yield log
    finally:
        config.write_text(before)
        prod.reload()


@pytest.mark.parametrize("route", ["relay", pytest.param("auto", marks=pytest.mark.whole)])
def test_by_relay_test_need_not_reach_production(world: Any, route: str) -> None:
    """An exact copy, though production's sshd lets nobody in from test's host; and with `relay`
    nobody even tries."""
    same_code(world)
    world.site(refresh={"route": route})
    kept = own_files(world)
    with closed_to_test(world) as log:
        ran = world.refresh()
        said = log.read_text()
    assert "route relay" in ran.err
    asked = [line for line in said.splitlines() if "127.0.0.2" in line]
    assert not [line for line in asked if "Accepted" in line]
    if route == "relay":
        assert asked == []
    else:
        assert "not allowed because listed in DenyUsers" in "".join(asked)
    assert "Accepted publickey" in said, "this machine was let in"
    require_same(world)
    require_same_grants(world)
    assert own_files(world) == kept
    assert world.leftovers(previous=True) == []


def test_production_notices_nothing_and_test_is_away_only_for_the_swap(world: Any) -> None:
    prod, _test = world.prod, world.test
    counters = (
        "SELECT tup_inserted, tup_updated, tup_deleted, temp_files, deadlocks"
        " FROM pg_stat_database WHERE datname = 'biso'"
    )
    before, changed, written = prod.state(), _changed(prod.datadir), prod.cluster.rows(counters)
    with world.visitor() as visitor, type(visitor)(prod) as client:
        ran = world.refresh()
    assert prod.state() == before
    assert _changed(prod.datadir) == changed
    assert prod.cluster.rows(counters) == written
    assert world.hosts["prod"].calls() == []
    assert {status for _, _, status, _ in client.answers} == {200}, "production was in maintenance"

    require_document(world, ran)
    reported = ran.json["downtime_seconds"]
    assert 0 < reported < 3 * world.patience
    assert {status for _, _, status, _ in visitor.answers} <= {200, 503, 0}
    assert visitor.away <= reported + 0.7 * world.patience
    titles = [body.partition("<title>")[2].partition("<")[0] for *_, body in visitor.answers]
    assert (titles[0], titles[-1]) == (
        "BISO Beratungsstelle E2E-Test", "BISO Beratungsstelle E2E-Prod"
    )  # fmt: skip
    assert world.hosts["test"].calls() == [
        "stop biso-cron", "stop biso-web", "start biso-web", "start biso-cron"
    ]  # fmt: skip


def _changed(folder: Path) -> dict[bytes, int]:
    """When each entry was last written or given other rights; reading does not count."""
    found = {b"": os.lstat(folder).st_ctime_ns}
    for here, folders, files in os.walk(os.fsencode(folder)):
        for name in (*folders, *files):
            path = os.path.join(here, name)
            found[path] = os.lstat(path).st_ctime_ns
    return found


def require_document(world: Any, ran: Any) -> None:
    """The JSON has what the contract says, and neither it nor the journal a password."""
    said = ran.json
    assert {"ok", "task", "run", "exit_code", "seconds", "steps", "error"} <= set(said)
    assert (said["ok"], said["task"], said["exit_code"], said["error"]) == (
        True, "refresh-test", 0, None
    )  # fmt: skip
    assert said["source"] == "live"
    assert said["previous"] == "biso_test__previous"
    assert 0 < said["downtime_seconds"] < 3 * world.patience
    assert said["seconds"] > 0
    for step in said["steps"]:
        assert set(step) == {"name", "on", "status", "seconds"}
    assert {step["status"] for step in said["steps"]} <= {"ok", "skipped"}
    names = [step["name"] for step in said["steps"]]
    assert names[0] == "lock" and "swap" in names
    prod, test = world.prod, world.test
    for secret in (prod.password, test.password):
        for text in (ran.out, ran.err, _journal(world, said["run"])):
            assert secret not in text
            assert json.dumps(secret)[1:-1] not in text


def _journal(world: Any, run: str) -> str:
    text: str = (world.site_folder / ".biso/runs" / run / "journal.jsonl").read_text()
    return text


def _result(world: Any, run: str, step: str) -> dict[str, Any]:
    """What a step gave, as the journal has it."""
    for line in _journal(world, run).splitlines():
        entry = json.loads(line)
        if entry.get("event") == "step_finished" and entry["name"] == step:
            facts: dict[str, Any] = entry["facts"]
            return facts
    raise AssertionError(f"no result of {step} in the journal")


def test_no_personal_string_is_left_after_an_anonymised_refresh(world: Any) -> None:
    for one in PLANTED:
        assert one in world.prod.cluster.text(world.prod.dbname), "nothing to find otherwise"
    ran = world.refresh("--to", "test")
    dump = world.test.cluster.text(world.test.dbname)
    for one in PLANTED:
        assert one not in dump
    for path in world.test.datadir.rglob("*"):
        name = os.fsencode(path)
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            for one in PLANTED:
                assert one.encode() not in content, name
        # A surname alone is shared by many and stays in a file's name; a full name does not.
        for one in (*PLANTED[1:], f"Änne {PLANTED[0]}", f"{PLANTED[0]} Änne"):
            assert one.encode() not in name
    proof = ran.json["proof"]
    assert set(proof) >= {"columns", "values", "files", "leaks"}
    assert proof["columns"] > 10 and proof["values"] > 100 and proof["files"] > 10
    assert not proof["leaks"]
    assert ran.json["downtime_seconds"] < 3 * world.patience
    letter = "brief_vorlagen/Erstgespräch.docx"
    assert (world.test.datadir / letter).read_bytes() == (world.prod.datadir / letter).read_bytes()
    assert world.test.get()[0] == 200
    assert world.leftovers(previous=True) == []


def test_a_second_refresh_moves_only_changes_and_rollback_goes_there_and_back(world: Any) -> None:
    same_code(world)
    first_state = world.test.state()
    first = world.refresh().json["run"]
    one = world.test.state()
    big = world.prod.datadir / "dateien/neu.bin"
    big.write_bytes(os.urandom(100_000))
    shutil.chown(big, world.prod.owner, world.prod.owner)
    world.prod.cluster.rows("INSERT INTO params VALUES ('x', 'neu', '1')", "biso")
    second = world.refresh().json["run"]
    two = world.test.state()
    require_same(world)
    moved = _result(world, first, "stage-data"), _result(world, second, "stage-data")
    assert moved[0]["bytes"] > 200_000
    assert 100_000 <= moved[1]["bytes"] < 160_000, "only what changed travels"
    assert two != one

    for expected in (one, two):
        ran = world.run("rollback", "--yes", "--json")
        assert ran.code == 0, str(ran)
        assert ran.json["downtime_seconds"] < 3 * world.patience
        assert ran.json["previous"] == "biso_test__previous"
        now = world.test.state()
        for what in expected:
            assert now[what] == expected[what], what
        assert world.test.get()[0] == 200
        assert world.leftovers(previous=True) == []
    assert first_state["database"] != two["database"]


def test_rollback_without_a_previous_instance_is_refused(world: Any) -> None:
    before = world.test.state()
    ran = world.run("rollback", "--yes", "--json")
    assert ran.code == 3, str(ran)
    assert "no previous instance" in ran.message
    assert world.test.state() == before
    assert world.leftovers(previous=False) == []


def test_a_test_instance_can_be_anonymised_by_itself(world: Any) -> None:
    assert "Muster" in world.test.cluster.text(world.test.dbname)
    prod = world.prod.state()
    ran = world.run("anonymize", "--yes", "--json")
    assert ran.code == 0, str(ran)
    assert not ran.json["proof"]["leaks"]
    dump = world.test.cluster.text(world.test.dbname)
    assert "petra@test.example" not in dump
    assert world.prod.state() == prod
    assert world.hosts["prod"].calls() == []
    assert world.leftovers(previous=True) == []


def test_a_plan_changes_nothing_and_lists_the_steps(world: Any) -> None:
    prod, test = world.prod.state(), world.test.state()
    times = _changed(world.test.place)
    ran = world.run("refresh-test", "--plan", "--json")
    assert ran.code == 0, str(ran)
    plan = ran.json["plan"]
    for step in plan:
        assert {"name", "on", "uses", "needs", "changes", "destroys"} <= set(step)
    names = [step["name"] for step in plan]
    assert names.index("stage-database") < names.index("anonymize") < names.index("swap")
    swap = next(step for step in plan if step["name"] == "swap")
    assert "biso_test" in str(swap["changes"])
    text = world.run("refresh-test", "--plan")
    assert text.code == 0
    assert "swap" in text.out and "biso_test" in text.out
    assert (world.prod.state(), world.test.state()) == (prod, test)
    assert _changed(world.test.place) == times
    assert world.leftovers(previous=False) == []


def test_a_plan_says_where_direct_is_not_what_it_will_be(world: Any) -> None:
    world.site(prod={"ssh": None}, refresh={"route": "direct"})
    ran = world.run("refresh-test", "--plan")
    assert ran.code == 0, str(ran)
    told = " ".join(ran.out.split())
    assert 'route = "direct": prod is this machine' in told and "route relay" in told


def test_without_yes_and_without_a_terminal_nothing_is_done(world: Any) -> None:
    before = world.test.state()
    ran = world.run("refresh-test", "--json")
    assert ran.code == 3, str(ran)
    assert "--yes" in ran.message
    assert world.test.state() == before
    assert world.leftovers(previous=False) == []


def test_another_test_environment_may_be_the_source_and_the_plan_says_so(world: Any) -> None:
    world.site(prod={"role": "test"}, refresh={"from": "prod", "to": "test"})
    config = world.prod.config
    config.write_text(config.read_text().replace("'PROD'", "'dev'"))
    ran = world.run("refresh-test", "--plan", "--json")
    assert ran.code == 0, str(ran)
    assert "prod is a test environment: what it holds is copied" in " ".join(ran.err.split())


def on_a_terminal(world: Any, *words: str, typed: bytes) -> tuple[int, str]:
    """Run the program on a terminal of its own and type when it asks; exit code, what it showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(world.site_folder)
        environ = {**world._environ(), "TERM": "xterm"}
        words = (sys.executable, "-m", "biso_tasks.cli.main", *words)
        os.execve(sys.executable, words, environ)
    try:
        shown, asked = _talk(terminal, typed)
    except BaseException:
        # One that still asks would hold its connections for as long as the tests last.
        os.killpg(pid, signal.SIGKILL)
        raise
    finally:
        os.close(terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode("utf-8", "replace"))
    assert asked, text
    return code, text


def _talk(terminal: int, typed: bytes) -> tuple[bytes, bool]:
    """All that was shown, and whether it asked."""
    shown = b""
    asked = False
    while True:
        if asked and typed.endswith(b"\x03") and not select.select([terminal], [], [], 1)[0]:
            # Pressed between the prompt and the wait for an answer, it is heard with the next one.
            os.write(terminal, b"\x03")
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # what Linux says at the end of a terminal
            data = b""
        if not data:
            return shown, asked
        shown += data
        if not asked and b"type the name of" in shown and shown.rstrip().endswith(b">"):
            asked = True
            os.write(terminal, typed)


def test_on_a_terminal_the_typed_name_of_the_target_starts_it(world: Any) -> None:
    same_code(world)
    code, shown = on_a_terminal(world, "refresh-test", "--no-anonymize", typed=b"test\n")
    assert code == 0, shown
    plan, question = shown.index("Plan: "), shown.index("type the name of")
    assert plan < question
    assert "NOT anonymised" in shown[plan:question]
    assert "the environment that will be changed: test" in shown
    assert "test serves the copy of prod" in shown[question:]
    require_same(world)
    assert world.leftovers(previous=True) == []


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (b"prod\n", 3, '"prod" was typed, not "test": nothing was changed'),
        (b"te\x03", 130, "interrupted at the question: nothing was changed"),
        pytest.param(b"TEST\n", 3, '"TEST" was typed', marks=pytest.mark.whole),
        pytest.param(b"\x04", 3, "no name was typed: nothing was changed", marks=pytest.mark.whole),
    ],
    ids=["another", "ctrl-c", "capitals", "end of file"],
)
def test_on_a_terminal_anything_else_changes_nothing(
    world: Any, typed: bytes, code: int, said: str
) -> None:
    before = world.test.state()
    ended, shown = on_a_terminal(world, "refresh-test", "--no-anonymize", typed=typed)
    assert (ended, said in " ".join(shown.split())) == (code, True), shown
    assert world.test.state() == before
    assert world.leftovers(previous=False) == []
    assert not (world.site_folder / ".biso/runs").exists()


def test_a_kept_row_that_production_has_as_well_is_no_survivor(world: Any) -> None:
    same_code(world)
    eva = "login = 'test.eva', name = 'Eva Probst-Zwahlen', email = 'e.probst@stelle-probe.ch'"
    for one in (world.prod, world.test):
        one.cluster.rows(
            f"UPDATE users SET {eva} WHERE id = (SELECT max(id) FROM users)", one.dbname
        )
    world.site(refresh={"keep_rows": {"users": "login LIKE 'test.%'"}})
    ran = world.refresh("--from", "prod")
    assert ran.json["proof"]["leaks"] == []
    kept = "SELECT name, email FROM users WHERE login = 'test.eva'"
    assert world.test.cluster.rows(kept, world.test.dbname) == [
        ("Eva Probst-Zwahlen", "e.probst@stelle-probe.ch")
    ]


def test_a_sites_own_step_and_what_it_keeps(world: Any) -> None:
    test = world.test
    mine = test.datadir / "eigene Hilfe.txt"
    mine.write_text("von Hand\n")
    shutil.chown(mine, test.owner, test.owner)
    folder = test.datadir / "dateien/nur hier"
    (folder / "tief").mkdir(parents=True)
    (folder / "tief/x").write_text("x")
    (folder / "y").symlink_to("tief/x")
    for path in (folder, folder / "tief", folder / "tief/x"):
        shutil.chown(path, test.owner, test.owner)
    kept_folder = test.tree(folder)
    params = test.cluster.rows("SELECT * FROM params ORDER BY 1, 2", test.dbname)
    login = "UPDATE users SET login = 'test.eva' WHERE id = (SELECT max(id) FROM users)"
    test.cluster.rows(login, test.dbname)
    (world.prod.datadir / "fop.xconf").write_text("<fop>von der Produktion</fop>")
    world.site(
        refresh={
            "keep_tables": ["params"],
            "keep_rows": {"users": "login LIKE 'test.%'"},
            "keep_files": ["eigene Hilfe.txt", "dateien/nur hier", "*.xconf"],
        },
        recipes={
            "refresh-test": {
                "insert": [
                    {
                        "after": "stage-data",
                        "name": "drop-import-inbox",
                        "on": "test",
                        "run": ["rm", "-rf", "{stage.datadir}/import"],
                    }
                ]
            }
        },
    )
    ran = world.refresh()
    assert "drop-import-inbox" in [step["name"] for step in ran.json["steps"]]
    assert (world.prod.datadir / "import").is_dir()
    assert not (test.datadir / "import").exists()
    assert (test.stage_dir / "previous/data/import").is_dir(), "it ran in the stage"
    assert mine.read_text() == "von Hand\n"
    assert test.tree(folder) == kept_folder
    assert "no '*.xconf'; these are names, no patterns" in ran.err
    assert (test.datadir / "fop.xconf").read_bytes() == (
        world.prod.datadir / "fop.xconf"
    ).read_bytes(), "not kept, since the site names its own"
    assert test.cluster.rows("SELECT * FROM params ORDER BY 1, 2", test.dbname) == params
    kept = "SELECT count(*) FROM users WHERE login = 'test.eva'"
    assert test.cluster.rows(kept, test.dbname) == [(1,)]
    everybody = "SELECT count(*) FROM users"
    (of_production,) = world.prod.cluster.rows(everybody, world.prod.dbname)[0]
    assert test.cluster.rows(everybody, test.dbname) == [(of_production + 1,)]
    assert world.leftovers(previous=True) == []


@pytest.mark.parametrize(
    "wanted", ["skip", pytest.param("schema", marks=pytest.mark.whole), "copy"]
)
def test_the_log_database_is_left_alone_unless_asked_for(wanted: str, plain_world: Any) -> None:
    world = plain_world
    world.with_log_database()
    world.site(refresh={"log_database": wanted})
    prod, test = (one.cluster for one in (world.prod, world.test))
    before = test.fingerprint("biso_log")
    world.refresh()
    theirs, ours = prod.fingerprint("biso_log"), test.fingerprint("biso_log")
    if wanted == "skip":
        assert ours == before
        assert "biso_log__previous" not in test.databases()
    elif wanted == "copy":
        assert ours == theirs
        assert test.fingerprint("biso_log__previous") == before
    else:
        assert [rows for rows, _ in ours["tables"].values()] == [0]
        assert test.fingerprint("biso_log__previous") == before
    assert world.test.get()[0] == 200
    assert world.leftovers(previous=True) == []


def test_a_log_database_that_test_does_not_have_is_no_hindrance(world: Any) -> None:
    """And the stage's config.php names none of the live ones all the same."""
    world.with_log_database()
    test, prod = world.test.cluster, world.prod.cluster
    test.rows("DROP DATABASE biso_log")
    theirs = prod.fingerprint("biso_log")
    spy = world.test.webroot / "biso-cli"
    said = world.test.place / "gesehen"
    spy.write_text(
        spy.read_text().replace(
            "$datenbank = new",
            f"@file_put_contents('{said}', Config::get('log.db')['dbname'] . PHP_EOL, FILE_APPEND);"
            "\n$datenbank = new",
            1,
        )
    )
    ran = world.refresh()
    assert "no database 'biso_log'" in ran.err
    assert set(said.read_text().split()) == {"biso_log", "biso_log__stage"}
    assert not {name for name in test.databases() if name.startswith("biso_log")}
    assert prod.fingerprint("biso_log") == theirs
    assert world.run("doctor", "--json").code == 0
    assert world.run("rollback", "--yes", "--json").code == 0
    assert world.leftovers(previous=True) == []


@pytest.mark.parametrize("wanted", ["copy", pytest.param("schema", marks=pytest.mark.whole)])
def test_a_log_database_that_is_to_be_replaced_must_be_there(world: Any, wanted: str) -> None:
    world.with_log_database()
    world.site(refresh={"log_database": wanted})
    before = world.test.state()
    for instance in (world.test, world.prod):
        instance.cluster.rows("DROP DATABASE biso_log")
        ran = world.refresh(code=3)
        assert f"{instance.name}: " in ran.message and "'biso_log'" in ran.message
        assert 'log_database = "skip"' in ran.message
        if instance is world.test:
            assert (
                f"createdb --port={instance.cluster.port} --owner=biso_test biso_log" in ran.message
            )
            instance.cluster.rows("CREATE DATABASE biso_log OWNER biso_test")
    assert world.test.state() == before


def test_what_did_not_run_before_does_not_run_afterwards(world: Any) -> None:
    """And a site that was in maintenance stays in maintenance."""
    flag: Path = world.test.datadir / "maintenance.on"
    flag.touch()
    shutil.chown(flag, world.test.owner, world.test.owner)
    ran = world.refresh()
    assert (world.test.datadir / "maintenance.on").exists()
    assert world.test.get()[0] == 503
    assert "was in maintenance before" in ran.err
    left: Callable[[str], bool] = lambda line: "maintenance" not in line  # noqa: E731
    assert [line for line in world.leftovers(previous=True) if left(line)] == []
