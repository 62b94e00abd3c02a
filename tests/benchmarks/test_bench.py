"""`bench` itself: what it would do, what it does on a small site, and that nothing of it stays."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from benchmarks.command import Asked, asked, outlook, play
from benchmarks.figures import FIGURES
from benchmarks.instances import Volume
from benchmarks.scenes import PLAYED
from biso_tasks.cli.tasks_site import TASKS
from biso_tasks.demo.postgres import start_cluster
from biso_tasks.errors import Locked, Refused, UsageError

ROOT = Path(__file__).parents[2]
TINY = Volume(3, 100, 1)


def biso(*words: str, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "biso_tasks.cli.main", "bench", *words], cwd="/", text=True,
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=False,
    )  # fmt: skip


def test_the_plan_says_what_would_be_measured_and_where():
    done = biso("--plan", "--json", "--only", "refresh,start", "--rounds", "3")
    assert done.returncode == 0, done.stderr
    (plan,) = json.loads(done.stdout)["plan"]
    text = " · ".join(plan["changes"])
    for word in ("100 MB", "4000 files", "3 rounds", "refresh-first", "away-refresh", "start"):
        assert word in text
    assert "verify" not in text


def test_the_help_names_every_figure_that_only_can_choose():
    found = next(one for one in TASKS if one.name == "bench").help["only"]
    assert set(found.partition(": ")[2].split(", ")) == set(PLAYED)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"only": "refresh,speed"}, "--only speed"),
        ({"rounds": "0"}, "--rounds '0'"),
        ({"rounds": "2.5"}, "--rounds '2.5'"),
        ({"database": "much"}, "--database 'much'"),
        ({"database": "nan"}, "--database 'nan'"),
        ({"files": "-1"}, "--files '-1'"),
        ({"files_mb": "0"}, "--files-mb '0'"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_its_option(given: dict[str, str], said: str):
    usual = {"database": "100", "files": "4000", "files_mb": "100", "rounds": "5", "only": ""}
    with pytest.raises(UsageError) as caught:
        asked(**{**usual, **given})
    assert said in caught.value.message
    assert caught.value.hint


def test_without_only_everything_is_measured():
    one = asked("100", "4000", "100", "5", "")
    assert one.scenes == tuple(PLAYED)
    assert one.command == "invoke bench --database 100 --files 4000 --files-mb 100 --rounds 5"
    assert len(outlook(one)) == len(PLAYED) + 2


def test_an_installed_package_says_where_the_benchmarks_are(tmp_path: Path):
    shutil.copytree(ROOT / "biso_tasks", tmp_path / "biso_tasks")
    done = biso("--plan", path=str(tmp_path))
    assert done.returncode == 2
    assert "without its benchmarks" in done.stderr
    assert "./biso bench in a checkout" in done.stderr


def test_a_disk_that_is_too_small_is_said_before_anything_is_built(tmp_path: Path):
    huge = Asked(Volume(9e8, 100, 1), 1, ("start",), home=tmp_path)
    with pytest.raises(Refused, match="of room, and this would take"):
        play(huge, lambda text: None)
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_the_documented_procedure_needs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("bash", "gzip", "gunzip", "find", "xargs", "sha256sum"):
        (tmp_path / name).symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="not on this machine: rsync") as caught:
        play(Asked(TINY, 1, ("start",), home=tmp_path / "home"), lambda text: None)
    assert "apt install rsync" in caught.value.hint
    assert not (tmp_path / "home").exists()


@pytest.mark.real
@pytest.mark.needs("postgresql", "php", "rsync")
@pytest.mark.timeout(900)
def test_a_small_run_measures_both_ways_writes_it_down_and_leaves_nothing(tmp_path: Path, holding):
    said: list[str] = []
    report, page = play(Asked(TINY, 1, ("backup", "start"), home=tmp_path), said.append)
    assert report.failed == {}
    told = json.loads(page.with_suffix(".json").read_text("utf-8"))
    figures = {one["key"]: one for one in told["figures"]}
    assert set(figures) == {
        "backup-first", "backup-next", "maintenance", "maintenance-documented", "start",
    }  # fmt: skip
    samples = told["samples"]
    for way in ("documented.production", "backup.production"):
        assert all(0 < seconds < 60 for seconds in samples[way]), way
    assert figures["backup-first"]["value"] == pytest.approx(
        samples["backup.first.ours"][0] / samples["backup.first.documented"][0], rel=0.01
    )
    assert figures["backup-first"]["limit"]["stage"] in ("dump", "hashing the set")
    assert figures["start"]["rounds"] == 5
    assert told["versions"]["PostgreSQL"].split(".")[0].isdigit()
    text = page.read_text("utf-8") + page.with_suffix(".json").read_text("utf-8")
    assert str(tmp_path) not in text
    assert "documented backup" in "\n".join(said)
    assert sorted(tmp_path.iterdir()) == sorted([page, page.with_suffix(".json")])
    assert holding(tmp_path) == []


@pytest.mark.whole
@pytest.mark.real
@pytest.mark.needs("postgresql", "php", "sshd", "ssh", "rsync")
@pytest.mark.timeout(3600)
def test_every_scene_can_be_played_to_its_end(tmp_path: Path):
    report, page = play(Asked(TINY, 1, tuple(PLAYED), home=tmp_path), lambda text: None)
    assert report.failed == {}
    told = json.loads(page.with_suffix(".json").read_text("utf-8"))
    figures = {one["key"]: one["value"] for one in told["figures"]}
    assert set(figures) == {one.key for one in FIGURES}
    # the old instance serves until the new one is swapped in; documented, it is away all along
    assert 0 < figures["away-refresh"] < figures["away-documented"]
    assert figures["memory-growth"] < 20
    assert figures["wide-first"] > 0


_RUN = """
import sys
from pathlib import Path
from benchmarks.command import Asked, play
from benchmarks.instances import Volume
def say(text): print(text, flush=True)
play(Asked(Volume(3, 100, 1), 1, ("refresh",), home=Path(sys.argv[1])), say)
"""


@pytest.mark.real
@pytest.mark.needs("postgresql", "php", "rsync")
@pytest.mark.timeout(900)
def test_ctrl_c_in_the_middle_leaves_no_server_and_no_file(tmp_path: Path, holding):
    child = subprocess.Popen(
        [sys.executable, "-c", _RUN, tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert child.stdout is not None
    with play_refused(tmp_path, child.stdout, holding):
        child.send_signal(signal.SIGINT)
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)  # a person's second one, while it cleans up
        out, err = child.communicate(timeout=600)
    assert "KeyboardInterrupt" in err, err
    assert "not finished" not in out
    assert list(tmp_path.iterdir()) == []
    assert holding(tmp_path) == []


@contextlib.contextmanager
def play_refused(home: Path, out, holding):
    """Waits until ours is at work, where a second run is turned away."""
    for line in out:
        if "documented refresh" in line:
            break
    with pytest.raises(Locked, match="at work"):
        play(Asked(TINY, 1, ("start",), home=home), lambda text: None)
    time.sleep(1)
    servers = [one for one in holding(home) if "postgres" in one or "sshd" in one]
    assert servers, "nothing ran that could have been left behind"
    yield


@pytest.mark.real
@pytest.mark.needs("postgresql", "php")
@pytest.mark.timeout(900)
def test_what_a_killed_run_left_is_removed_by_clean(tmp_path: Path, holding):
    child = subprocess.Popen(
        [sys.executable, "-c", _RUN, tmp_path], stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("refresh:"):
            break
    child.kill()
    child.communicate()
    assert holding(tmp_path)
    (tmp_path / "old.md").touch()
    tidied = "from pathlib import Path; import sys; from benchmarks.command import tidy; tidy(Path("
    subprocess.run(
        [sys.executable, "-c", f"{tidied}sys.argv[1]))", tmp_path], check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["old.md"]
    assert holding(tmp_path) == []


@pytest.mark.real
@pytest.mark.needs("postgresql", "psql")
def test_the_documented_procedure_waits_for_whoever_it_may_not_send_away(tmp_path: Path):
    """An autovacuum is the server's, as a superuser's session is: the owner cannot end it, and
    DROP DATABASE fails as long as it lasts."""
    cluster = start_cluster(tmp_path / "pg")
    try:
        cluster.psql("CREATE ROLE biso_test LOGIN CREATEDB PASSWORD 'a'")
        cluster.psql("CREATE DATABASE biso_test OWNER biso_test")
        guest = psycopg.connect(
            host=str(cluster.socket_dir), port=cluster.port, user=cluster.superuser,
            dbname="biso_test",
        )  # fmt: skip
        environ = {
            **os.environ, "PGPASSWORD": "a", "TEST_PORT": str(cluster.port),
            "INCOMING": str(tmp_path / "in"),
        }  # fmt: skip
        words = ["bash", "benchmarks/documented.sh", "anew", "biso_test"]
        run = subprocess.Popen(words, cwd=ROOT, env=environ)
        time.sleep(1)
        assert run.poll() is None
        guest.close()
        assert run.wait(30) == 0
        assert list(tmp_path.glob("in*")) == []
    finally:
        cluster.remove()
