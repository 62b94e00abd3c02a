"""The store: what is there or not there, what `latest` means, and who owns it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.backup.checksums import hash_set, make_sums
from biso_tasks.backup.ids import BadSet, SetId, new_id, parse_id
from biso_tasks.backup.manifest import Manifest
from biso_tasks.backup.state import Mark, SetState
from biso_tasks.backup.store import Store
from biso_tasks.errors import Locked, Refused, StepFailed
from biso_tasks.host.command import Command, Result
from biso_tasks.host.local import LocalHost

OWNER = {"run": "r1", "who": "anna@laptop", "since": "2026-11-20T03:15:00+00:00"}
MARK = Mark("2026-11-21T00:00:00+00:00", "r2")


def at(day: int, env: str = "prod") -> str:
    return new_id(datetime(2026, 11, day, 3, 15, tzinfo=UTC), env)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_id_is_its_moment_in_utc_and_its_environment() -> None:
    moment = datetime(2026, 11, 20, 4, 15, tzinfo=UTC)
    assert (
        new_id(moment.astimezone(timezone(timedelta(hours=1))), "prod-west_2")
        == "20261120_041500-prod-west_2"
    )
    parsed = parse_id("20261120_041500-prod-west_2")
    assert (parsed.env, parsed.moment) == ("prod-west_2", moment)
    assert parsed.partial == ".partial-20261120_041500-prod-west_2"


@pytest.mark.parametrize(
    "word",
    ["", "..", "../x", "20261120_041500-", "20261120_041500-a/b", "20261120_041500-..",
     "20261120_041500-prod\n", "20261320_041500-prod", "20230229_041500-prod", "20261120-prod",
     "20261120_041500--prod", "٢٠٢٦1120_041500-prod"],
)  # fmt: skip
def test_what_is_no_id_is_refused(word: str) -> None:
    with pytest.raises(Refused, match="is not the id"):
        parse_id(word)


def test_the_folders_are_private_whatever_the_umask(here: LocalHost, tmp_path: Path) -> None:
    root = tmp_path / "a b" / "store"
    root.mkdir(parents=True, mode=0o755)
    before = os.umask(0)
    try:
        Store(here, str(root)).prepare()
    finally:
        os.umask(before)
    for folder in (root, root / "sets", root / "db"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_set_is_private_and_its_files_too(store: Store, maker: Any) -> None:
    before = os.umask(0)
    try:
        folder = maker.partial(at(20), ())
        for name in ("manifest.toml", "METADATA", "RESTORE.md", "config/config.php"):
            store.write_file(at(20), name, maker.manifest(at(20), areas=()).as_toml())
        make_sums(store, at(20), {})
        folder = Path(store.seal(at(20), run="r1").path)
    finally:
        os.umask(before)
    for path in (folder, folder / "config"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for name in ("manifest.toml", "SHA256SUMS", "config/config.php", "state.toml"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name


def test_a_place_where_no_store_could_be_made_is_known_before(here: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    Store(here, str(tmp_path / "neu/tief/store")).require_place()
    Store(here, str(tmp_path)).require_place()
    bad = Store(here, str(tmp_path / "file/store"))
    with pytest.raises(Refused, match="cannot make") as refused:
        bad.require_place()
    assert "install -d -m 0700" in (refused.value.hint or "")
    assert not (tmp_path / "neu").exists(), "nothing was made"


@pytest.mark.needs("root")
def test_a_store_of_another_user_is_refused_by_name(store: Store) -> None:
    shutil.chown(store.path, "nobody")
    for ask in (store.prepare, store.list):
        with pytest.raises(Refused, match=r"belongs to nobody, not to") as caught:
            ask()
        assert "connect as nobody" in caught.value.hint


def test_no_store_holds_no_sets(here: LocalHost, tmp_path: Path) -> None:
    empty = Store(here, str(tmp_path / "nowhere"))
    assert empty.list() == ()
    assert empty.sweep() == ()
    with pytest.raises(Refused, match="no complete good set"):
        empty.resolve("latest")


def test_a_sealed_set_is_listed_as_good_and_is_latest(store: Store, maker: Any) -> None:
    for day in (19, 20):
        maker.seal(at(day))
    found = store.list()
    assert [(one.id, one.state, one.complete) for one in found] == [
        (at(19), "good", True),
        (at(20), "good", True),
    ]
    assert found[1].size > 0
    assert store.resolve("latest") == at(20)
    root = Path(store.path)
    assert os.readlink(root / "latest") == f"sets/{at(20)}"
    linked, dump = root / "db/biso_latest.sql.gz", root / f"latest/db/biso_{at(20)[:15]}.sql.gz"
    assert linked.samefile(dump)
    assert names(root) == ["db", "latest", "seen", "sets"]
    assert names(root / "db") == ["biso_latest.sql.gz"]


def test_sealing_the_same_dump_link_again_leaves_nothing_beside(store: Store, maker: Any) -> None:
    maker.seal(at(20))
    store.point_for([at(20)])
    assert names(Path(store.path) / "db") == ["biso_latest.sql.gz"]


def test_many_sets_are_listed_in_one_round_trip(maker: Any, here: LocalHost) -> None:
    for day in (17, 18, 19):
        maker.seal(at(day), areas=("database",))
    asked: list[Command] = []

    class Counting:
        name, login = here.name, here.login

        def run(self, command: Command, **more: Any) -> Result:
            asked.append(command)
            return here.run(command, **more)

    assert len(Store(Counting(), maker.store.path).list()) == 3  # type: ignore[arg-type]
    assert len(asked) == 1


def test_a_set_of_single_areas_is_never_latest(store: Store, maker: Any) -> None:
    maker.seal(at(19))
    maker.seal(at(20), areas=("database",))
    assert store.resolve("latest") == at(19)
    assert os.readlink(f"{store.path}/latest") == f"sets/{at(19)}"


def test_a_set_made_to_be_handed_out_is_released_and_never_latest(store: Store, maker: Any) -> None:
    maker.seal(at(19))
    maker.seal(at(20), personal=False, proof={"leaks": 0})
    assert store.resolve("latest") == at(19)
    assert store.resolve("released") == at(20)


def test_latest_is_of_the_environment_that_is_backed_up(maker: Any, here: LocalHost) -> None:
    maker.store.environment = "prod"
    maker.seal(at(19, "prod"))
    maker.seal(at(20, "test"))
    assert maker.store.resolve("latest") == at(19)
    assert os.readlink(f"{maker.store.path}/latest") == f"sets/{at(19)}"


def links(store: Store) -> tuple[str, int]:
    """What `latest` names, and the inode that scripts fetch."""
    return os.readlink(f"{store.path}/latest"), Path(
        store.path, "db/biso_latest.sql.gz"
    ).stat().st_ino


def test_sets_of_another_environment_never_move_the_links(
    store: Store, maker: Any, here: LocalHost
) -> None:
    """Whatever happens to them, and whoever's run it is."""
    maker.seal(at(18))
    maker.seal(at(19))
    before = links(store)
    for theirs in (store, Store(here, store.path, "test", links="prod")):
        maker.store = theirs
        for day in (20, 21):
            maker.seal(at(day, "test"))
        theirs.write_state(
            at(21, "test"), theirs.read(at(21, "test")).status.after(MARK, problems=True)
        )
        theirs.point_for([at(21, "test")])
        theirs.remove(at(20, "test"))
        theirs.sweep()
        assert links(store) == before
        theirs.remove(at(21, "test"))
        assert links(store) == before
    store.remove(at(19))
    assert links(store)[0] == f"sets/{at(18)}"
    maker.store = Store(here, store.path, "test")
    maker.seal(at(22))
    assert links(store)[0] == f"sets/{at(18)}", "a store whose links mean nobody leaves them alone"


def test_what_a_new_set_is_joined_to_is_the_environments_own_and_as_personal(
    store: Store, maker: Any
) -> None:
    maker.seal(at(15))
    maker.seal(at(16), areas=("data",))
    maker.seal(at(17), personal=False)
    maker.seal(at(18), personal=False, proof={"leaks": 0})
    maker.seal(at(18, "test"))
    maker.seal(at(19))
    store.write_state(at(19), store.read(at(19)).status.after(MARK, problems=True))
    maker.seal(at(20), proof={"leaks": 0})
    maker.partial(at(21), ())
    ids = [one.id for one in store.former("prod", personal=True)]
    assert ids == [at(16), at(15)], "the newest first"
    assert [one.id for one in store.former("prod", personal=False)] == [at(17)]


def test_a_damaged_set_is_not_latest_and_is_well_again_once_verified(
    store: Store, maker: Any
) -> None:
    maker.seal(at(19))
    maker.seal(at(20))
    status = store.read(at(20)).status
    store.write_state(at(20), status.after(MARK, problems=True))
    assert [one.state for one in store.list()] == ["good", "damaged"]
    assert store.resolve("latest") == at(19)
    store.write_state(at(20), store.read(at(20)).status.after(MARK, problems=False, drilled=True))
    assert store.list()[1].state == "drilled"
    assert names(Path(store.path) / "sets") == [at(19), at(20)]


def test_another_format_of_the_dump_has_no_link_for_scripts(store: Store, maker: Any) -> None:
    maker.seal(at(19))
    dump = maker.dump("x", "0" * 64, 1, format="custom", file="db/x.dump")
    maker.seal(at(20), databases=(dump,))
    assert os.readlink(f"{store.path}/latest") == f"sets/{at(20)}"
    assert not Path(store.path, "db/biso_latest.sql.gz").exists()


def test_a_dump_of_somebody_elses_is_not_removed(store: Store) -> None:
    own = Path(store.path, "db/biso_latest.sql.gz")
    own.write_bytes(b"by hand")
    store.point_for([at(20)])
    assert own.read_bytes() == b"by hand"


def test_a_folder_called_latest_is_left_alone(store: Store, maker: Any) -> None:
    Path(store.path, "latest").mkdir()
    with pytest.raises(StepFailed, match="no symbolic link"):
        maker.seal(at(20))
    assert store.resolve("latest") == at(20)


@pytest.mark.parametrize("name", ["state.toml", "manifest.toml"])
@pytest.mark.parametrize("content", [None, b"", b"\0\0\n", b"sums = 1\n", b"\xff = ["])
def test_a_set_without_its_documents_is_damaged_and_disturbs_no_other(
    store: Store, maker: Any, name: str, content: bytes | None
) -> None:
    folder = maker.seal(at(19))
    maker.seal(at(20))
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    bad, good = store.list()
    assert (bad.state, good.state) == ("damaged", "good")
    assert name in bad.why
    with pytest.raises(BadSet, match=name):
        store.read(at(19))


def test_a_set_under_the_name_of_another_is_damaged(store: Store, maker: Any) -> None:
    maker.seal(at(20)).rename(Path(store.set_path(at(21))))
    assert store.list()[0].state == "damaged"


def test_an_unknown_set_is_refused_naming_near_ones(store: Store, maker: Any) -> None:
    maker.seal(at(20))
    for ask in (store.resolve, store.read, store.remove):
        with pytest.raises(Refused, match="there is no set") as caught:
            ask("20261120_031501-prod")
        assert at(20) in caught.value.hint


def test_a_partial_set_is_no_set(store: Store, maker: Any) -> None:
    maker.partial(at(20), ("webroot",))
    assert [one.state for one in store.list()] == ["partial"]
    with pytest.raises(Refused):
        store.resolve("latest")
    with pytest.raises(Refused):
        store.read(at(20))


def test_what_a_killed_run_left_of_trees_is_gone_on_with(store: Store, maker: Any) -> None:
    folder = maker.partial(at(18), ("webroot", "data"))
    maker.fill(folder, ("webroot", "data"))
    for name in ("manifest.toml", "METADATA", "SHA256SUMS", "db/old.sql.gz", "state.toml"):
        store.write_file(at(18), name, b"old")
    inode = (folder / "webroot/index.php").stat().st_ino
    Path(store.path, "sets", SetId("20261117_000000", "prod").partial, "x").mkdir(parents=True)
    other = SetId("20261119_000000", "prod-2").partial
    Path(store.path, "sets", other, "data").mkdir(parents=True)
    for tree in ("webroot", "data"):
        store.remember(at(18), tree, tree.encode())
    path = Path(store.begin(at(20), ("webroot", "database")))
    assert names(path.parent) == [other, path.name], "another environment's is its own affair"
    assert names(path) == ["db", "webroot"] and names(path / "db") == []
    assert store.recall(at(20), "webroot") == b"webroot", "what was known of the files goes along"
    assert store.recall(at(20), "data") is None
    assert (path / "webroot/index.php").stat().st_ino == inode
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_partial_set_of_other_trees_is_left_for_a_run_that_wants_them(
    store: Store, maker: Any
) -> None:
    """A dump alone does not throw away what a killed backup had copied."""
    maker.fill(maker.partial(at(18), ("webroot", "data")), ("webroot", "data"))
    path = Path(store.begin(at(19), ("database",)))
    assert names(path.parent) == [parse_id(at(18)).partial, path.name]
    path = Path(store.begin(at(20), ("webroot", "data", "database")))
    assert names(path.parent) == [path.name]
    assert names(path) == ["data", "db", "webroot"]


def test_a_process_that_outlives_its_killed_run_does_not_write_into_the_next_set(
    store: Store, maker: Any
) -> None:
    """Its directory goes with it under any name: as that of an rsync, which works in the tree."""
    folder = maker.partial(at(18), ("data",))
    maker.fill(folder, ("data",))
    text = "cd data/inner; echo there; read -r _; echo x >late; echo y >../late; echo done"
    outlives = subprocess.Popen(
        ["bash", "-c", text], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with outlives:
        assert outlives.stdout is not None
        assert outlives.stdout.readline() == "there\n"
        path = Path(store.begin(at(20), ("data",)))
        before = sorted(one.name for one in path.rglob("*"))
        out, _ = outlives.communicate("go\n")
    assert out == "done\n"
    assert sorted(one.name for one in path.rglob("*")) == before
    assert "höhe und tiefe" in before


def test_a_link_in_the_place_of_a_tree_is_not_gone_on_with(
    store: Store, maker: Any, tmp_path: Path
) -> None:
    folder = maker.partial(at(18), ("webroot",))
    (folder / "webroot").symlink_to(tmp_path)
    assert names(Path(store.begin(at(20), ("webroot",)))) == ["db"]
    assert tmp_path.exists()


def test_a_set_is_not_sealed_without_its_documents(store: Store, maker: Any) -> None:
    maker.partial(at(20), ())
    with pytest.raises(StepFailed, match=r"manifest\.toml is not there"):
        store.seal(at(20), run="r1")
    assert [one.state for one in store.list()] == ["partial"]


def test_a_set_is_not_sealed_with_the_manifest_of_another(store: Store, maker: Any) -> None:
    maker.partial(at(20), ())
    for name in ("METADATA", "RESTORE.md"):
        store.write_file(at(20), name, b"")
    for content in (b"", maker.manifest(at(19), areas=()).as_toml()):
        store.write_file(at(20), "manifest.toml", content)
        make_sums(store, at(20), {})
        with pytest.raises(BadSet, match=r"manifest\.toml"):
            store.seal(at(20), run="r1")
    assert [one.state for one in store.list()] == ["partial"]


def test_a_file_is_written_anew_and_never_through_a_link(store: Store, maker: Any) -> None:
    folder = maker.partial(at(20), ())
    other = Path(store.path, "other")
    other.write_text("other")
    (folder / "METADATA").hardlink_to(other)
    (folder / "RESTORE.md").symlink_to(other)
    for name in ("METADATA", "RESTORE.md"):
        store.write_file(at(20), name, b"new")
        assert (folder / name).read_bytes() == b"new"
    assert other.read_text() == "other"
    for name in ("../x", "/x", "a/../../x", "a//b"):
        with pytest.raises(ValueError, match=name):
            store.write_file(at(20), name, b"")


def test_a_removed_set_hands_latest_on(store: Store, maker: Any) -> None:
    maker.seal(at(19))
    folder = maker.seal(at(20))
    (folder / "webroot/inner").chmod(0o500)
    store.remove(at(20))
    assert names(Path(store.path) / "sets") == [at(19)]
    assert os.readlink(f"{store.path}/latest") == f"sets/{at(19)}"
    assert Path(store.path, "db/biso_latest.sql.gz").stat().st_nlink == 2
    store.remove(at(19))
    assert not Path(store.path, "latest").is_symlink()
    assert store.list() == ()


def test_what_killed_runs_left_is_swept(store: Store, maker: Any) -> None:
    maker.seal(at(20))
    sets = Path(store.path) / "sets"
    (sets / f".removing-{at(19)}" / "webroot").mkdir(parents=True)
    (sets / ".work-abc").mkdir()
    (sets / f".state-{at(20)}.new").write_text("half")
    Path(store.path, "latest").unlink()
    maker.partial(at(18), ())
    assert len(store.sweep()) == 3
    assert os.readlink(f"{store.path}/latest") == f"sets/{at(20)}"
    assert names(sets) == [parse_id(at(18)).partial, at(20)]
    store.remove_partial(at(18))
    assert names(sets) == [at(20)]
    with pytest.raises(Refused, match="there is no set"):
        store.remove_partial(at(20))


def test_a_verification_keeps_its_folder_while_another_run_sweeps(store: Store, maker: Any) -> None:
    """A nightly backup sweeps the store in which a set is being read."""
    big = maker.seal(at(20)) / "data/gross"
    with big.open("wb") as file:
        os.truncate(file.fileno(), 2 * 1024**3)
    sets = Path(store.path) / "sets"
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(hash_set, store, at(20))
        until = time.monotonic() + 20
        while not [*sets.glob(".work-*/jobs/*")]:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert (store.left(), store.sweep()) == ((), ())
        assert not reading.done()
        assert "data/gross" in reading.result(60)
    # One that nobody holds any more is what a killed run has left.
    (sets / ".work-abc").mkdir()
    (sets / ".work-abc/held").touch()
    assert store.left() == (".work-abc",)
    assert store.sweep() == (".work-abc",)
    assert names(sets) == [at(20)]


def test_nothing_is_said_to_be_left_while_somebody_holds_the_store(
    store: Store, maker: Any
) -> None:
    maker.seal(at(20))
    sets = Path(store.path) / "sets"
    (sets / f".removing-{at(19)}").mkdir()
    with store.lock({"run": "r", "who": "anna", "since": "now"}):
        assert store.left() == ()
    assert store.left() == (f".removing-{at(19)}",)


def test_an_answer_that_comes_by_half_says_nothing_of_the_sets(
    store: Store, maker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker.seal(at(20))
    whole = type(store.host).run

    def half(self: Any, *args: Any, **options: Any) -> Any:
        result = whole(self, *args, **options)
        return replace(result, out=result.out[: len(result.out) // 2])

    monkeypatch.setattr(type(store.host), "run", half)
    for look in (store.list, lambda: store.read_file(at(20), "SHA256SUMS")):
        with pytest.raises(StepFailed, match="came by half"):
            look()


def test_what_is_remembered_goes_with_its_set_and_with_the_next_one(
    store: Store, maker: Any
) -> None:
    for day in (17, 18):
        maker.seal(at(day))
    maker.seal(at(19), areas=("data",))
    maker.fill(maker.partial(at(20), ("webroot",)), ("webroot",))
    for day, areas in ((16, ("data",)), (17, ("data",)), (18, ("webroot", "data")),
                       (19, ("data",)), (20, ("webroot",))):  # fmt: skip
        for area in areas:
            store.remember(at(day), area, b"x")
    store.remember(at(18, "test"), "data", b"x")
    store.sweep()
    assert names(Path(store.path) / "seen") == [
        f"{at(18)}.webroot", f"{at(19)}.data", f"{at(20)}.webroot"
    ]  # fmt: skip
    assert store.recall(at(19), "data") == b"x"
    assert store.recall(at(18), "data") is None
    with pytest.raises(ValueError, match=r"\.\."):
        store.remember(at(18), "../x", b"")


def test_a_pin_has_a_reason_and_goes_again(store: Store, maker: Any) -> None:
    maker.seal(at(20))
    now = datetime(2026, 11, 20, tzinfo=UTC)
    store.pin(at(20), 'vor dem "Umbau"', now + timedelta(days=1), now)
    pin = store.list()[0].pin
    assert pin is not None
    assert pin.reason == 'vor dem "Umbau"'
    assert pin.holds(now)
    assert not pin.holds(now + timedelta(days=1))
    store.unpin(at(20))
    assert store.list()[0].pin is None


def test_the_store_is_held_by_one_and_the_other_is_told_by_whom(store: Store) -> None:
    with store.lock(OWNER), pytest.raises(Locked, match="run r1 of anna@laptop"), store.lock(OWNER):
        pass
    with store.lock(OWNER) as held:
        assert held.alive


def test_a_state_comes_back_equal() -> None:
    status = SetState("a" * 64, MARK, damaged=Mark(MARK.when, "r3", 'cut: "x"\n'))
    assert SetState.from_toml(status.as_toml()) == status
    with pytest.raises(BadSet, match=r"state\.toml: good\.when: .* no time zone"):
        SetState.from_toml(status.as_toml().replace(b"+00:00", b""))


def test_a_manifest_names_file_and_key_of_what_is_wrong(maker: Any) -> None:
    manifest = maker.manifest(
        at(20), areas=("database",), databases=(maker.dump("x", "0" * 64, 1),)
    )
    text = manifest.as_toml().decode()
    assert Manifest.from_toml(text.encode()) == manifest
    for old, new, said in (
        ("format = 1", "format = 2", "format 2 is not known"),
        ('"production"', '"prod"', "role: expected production or test"),
        ("personal = true", 'personal = "yes"', "personal: expected true or false"),
        ('sha256 = "0', 'sha256 = "g', r"databases\[0\]\.sha256"),
        ("db/biso_x", "db/../biso_x", r"databases\[0\]\.file"),
        ("large_objects = 0", "x = 0", r"databases\[0\]\."),
        ('kind = "areas"', 'kind = "full"', "kind: does not fit"),
        ("areas = [", 'areas = ["data", ', r"trees\.data: does not fit"),
        ("environment = ", "environmen = ", "environment: is missing"),
        ("maintenance_seconds = 0.4", "maintenance_seconds = nan", "maintenance_seconds"),
    ):
        assert old in text, old
        with pytest.raises(BadSet, match=said):
            Manifest.from_toml(text.replace(old, new, 1).encode())


def test_a_manifest_holds_what_is_no_utf8_and_leaves_out_nothing(maker: Any) -> None:
    raw = os.fsdecode(b"data/\xff\n")
    manifest = maker.manifest(
        at(20), areas=("database",), databases=(maker.dump("x", "0" * 64, 1, dbname='a "b" \\ ü'),),
        vanished=(raw, "data/ä"), missing=("passwords",), proof={"leaks": 0, "files": ["a"]},
    )  # fmt: skip
    content = manifest.as_toml()
    content.decode("utf-8")
    assert Manifest.from_toml(content) == manifest
