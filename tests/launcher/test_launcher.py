"""`./biso`: makes its .venv from nothing, mends it, never takes half of one, keeps stdout clean."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.real


@pytest.mark.needs("ensurepip")
def test_an_empty_environment_gets_a_venv_by_pip_and_the_program_runs(checkout):
    done = checkout.run("list", "two words", "ä", "", "*")
    assert done.returncode == 0, done.stderr
    facts = checkout.facts("list", "two words", "ä", "", "*")
    assert facts["args"] == ["list", "two words", "ä", "", "*"]
    assert facts["found"] == ["tiny_core"]
    assert facts["python"] == str(checkout.root / ".venv/bin/python")
    assert "making .venv" in done.stderr
    assert done.stdout.count("\n") == 1
    assert checkout.leftovers() == [".venv"]


@pytest.mark.needs("ensurepip")
def test_console_scripts_start_although_they_were_made_under_another_name(checkout):
    checkout.facts("list")
    script = checkout.root / ".venv/bin/tiny_core"
    assert b".venv.new" not in script.read_bytes()
    done = subprocess.run([script], capture_output=True, text=True, check=False)
    assert "1.0" in done.stdout + done.stderr


@pytest.mark.needs("ensurepip")
def test_a_wrong_hash_is_one_clear_line_a_log_and_no_venv(checkout):
    lock = checkout.root / "requirements/core.txt"
    lock.write_text(f"tiny-core==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    done = checkout.run("list")
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("biso: the packages could not be installed: ")
    assert str(checkout.root / ".venv.log") in last
    assert checkout.leftovers() == [".venv.log"]


@pytest.mark.needs("ensurepip")
def test_pip_takes_over_where_uv_fails(checkout):
    checkout.use_uv()
    done = checkout.run("list", env={"FAKE_UV": "fail"})
    assert done.returncode == 0, done.stderr
    assert "uv could not do it; trying pip" in done.stderr


@pytest.mark.needs("ensurepip")
@pytest.mark.parametrize("option", ["PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_TARGET"])
def test_pip_options_of_the_user_do_not_lead_the_packages_elsewhere(checkout, tmp_path, option):
    value = str(tmp_path / "elsewhere") if option == "PIP_TARGET" else "1"
    assert checkout.facts("list", env={option: value})["found"] == ["tiny_core"]
    assert not (tmp_path / "elsewhere").exists()


def test_nothing_is_made_again_while_the_lock_files_stay(checkout):
    checkout.use_uv()
    checkout.facts("list")
    before = checkout.calls.read_text()
    done = checkout.run("list")
    assert done.stderr == ""
    assert checkout.calls.read_text() == before


def test_demo_and_test_bring_their_packages_and_other_tasks_leave_them(checkout):
    checkout.use_uv()
    assert checkout.facts("list")["found"] == ["tiny_core"]
    assert checkout.facts("--json", "demo")["found"] == ["tiny_core", "tiny_demo"]
    assert checkout.facts("list", "test")["found"] == ["tiny_core", "tiny_demo"]
    assert checkout.facts("test", "-k", "x")["found"] == ["tiny_core", "tiny_demo", "tiny_dev"]


def test_bench_brings_the_demos_packages_for_it_builds_such_a_site(checkout):
    checkout.use_uv()
    assert checkout.facts("bench", "--plan")["found"] == ["tiny_core", "tiny_demo"]


def test_the_tab_key_installs_nothing(checkout):
    checkout.use_uv()
    assert checkout.run("--complete", "--", "test", "").stdout == ""
    assert not (checkout.root / ".venv").exists()
    checkout.facts("list")
    assert checkout.facts("--complete", "--", "test", "")["found"] == ["tiny_core"]


def test_a_changed_lock_file_makes_a_new_venv_with_all_that_was_there(checkout):
    checkout.use_uv()
    checkout.facts("demo")
    (checkout.root / ".venv/old-one").touch()
    checkout.lock("core", "2.0")
    assert checkout.facts("list")["found"] == ["tiny_core", "tiny_demo"]
    assert not (checkout.root / ".venv/old-one").exists()
    assert checkout.leftovers() == [".venv"]


def test_a_link_to_the_launcher_finds_the_checkout(checkout, tmp_path):
    checkout.use_uv()
    (tmp_path / "one").symlink_to(checkout.root / "biso")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "two").symlink_to("../one")
    facts = checkout.facts("list", program=tmp_path / "sub" / "two", cwd=tmp_path)
    assert facts["python"] == str(checkout.root / ".venv/bin/python")
    assert facts["cwd"] == str(tmp_path)


def test_a_module_in_the_working_directory_does_not_stand_in_for_ours(checkout, tmp_path):
    checkout.use_uv()
    (tmp_path / "json.py").write_text("raise SystemExit(9)\n")
    (tmp_path / "biso_tasks").mkdir()
    (tmp_path / "biso_tasks" / "__init__.py").write_text("raise SystemExit(9)\n")
    assert checkout.facts("list", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})["args"]


def test_bytecode_is_kept_whatever_the_caller_asks_for_his_own_programs(checkout):
    checkout.use_uv()
    assert checkout.facts("list", env={"PYTHONDONTWRITEBYTECODE": "1"})["bytecode"] is True


def test_somebody_elses_venv_is_moved_aside_and_said(checkout):
    checkout.use_uv()
    (checkout.root / ".venv/bin").mkdir(parents=True)
    (checkout.root / ".venv/bin/python").symlink_to("/nowhere/python")
    done = checkout.run("list")
    assert done.returncode == 0
    assert ".venv.old" in done.stderr
    assert checkout.leftovers() == [".venv", ".venv.old"]


def test_a_venv_whose_python_went_away_is_made_again(checkout):
    checkout.use_uv()
    checkout.facts("list")
    python = checkout.root / ".venv/bin/python"
    for name in (checkout.root / ".venv/bin").glob("python*"):
        name.unlink()
    python.symlink_to("/usr/bin/python3.0")
    assert checkout.facts("list")["found"] == ["tiny_core"]
    assert checkout.leftovers() == [".venv"]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interruption_leaves_nothing_half_made(checkout, number, code):
    checkout.use_uv()
    process = checkout.start("list", env={"FAKE_UV": "slow"})
    _wait_for(checkout.root / ".venv.new/bin/python")
    assert checkout.interrupt(process, number) == code
    assert checkout.leftovers() in ([], [".venv.log"])
    assert checkout.facts("list")["found"] == ["tiny_core"]


def test_after_a_kill_the_next_run_takes_the_stale_lock_and_starts_over(checkout):
    checkout.use_uv()
    process = checkout.start("list", env={"FAKE_UV": "slow"})
    _wait_for(checkout.root / ".venv.new/bin/python")
    checkout.interrupt(process, signal.SIGKILL)
    assert ".venv.lock" in checkout.leftovers()
    assert ".venv" not in checkout.leftovers()
    assert checkout.facts("list")["found"] == ["tiny_core"]
    assert checkout.leftovers() == [".venv"]


def test_of_several_at_once_one_makes_it_and_all_run(checkout):
    checkout.use_uv()
    running = [checkout.start("list") for _ in range(4)]
    said = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0] * 4, said
    assert checkout.calls.read_text().count("venv --quiet") == 1
    assert checkout.leftovers() == [".venv"]


def test_without_ensurepip_the_package_to_install_is_named(checkout):
    wrapper = checkout.tools / "python3"
    checkout.tool(
        "python3",
        '#!/bin/sh\ncase "$*" in\n'
        "*ensurepip*) exit 1 ;;\n"
        f"*_base_executable*) printf '3.11 1\\n%s\\n' '{wrapper}' ;;\n"
        "*) echo 3.11 ;;\nesac\n",
    )
    checkout.tool("apt-get", "#!/bin/sh\n")
    done = checkout.run("demo")
    assert done.returncode == 2
    assert "apt install python3-venv" in done.stderr
    assert done.stderr.count("\n") == 1
    assert ".venv" not in checkout.leftovers()


def test_a_python_that_is_too_old_is_named_with_its_version(checkout):
    checkout.tool("python3", "#!/bin/sh\nprintf '3.9 0\\n/usr/bin/python3.9\\n'\n")
    done = checkout.run("list")
    assert done.returncode == 2
    assert "no Python 3.11 or newer found" in done.stderr
    assert "python3 is 3.9" in done.stderr


def test_a_newer_python_beside_an_old_one_is_found(checkout):
    checkout.use_uv()
    (checkout.tools / "python3.13").symlink_to((checkout.tools / "python3").readlink())
    checkout.tool("python3", "#!/bin/sh\nprintf '3.9 0\\n/usr/bin/python3.9\\n'\n")
    assert checkout.facts("list")["found"] == ["tiny_core"]


def test_without_home_and_with_a_private_umask_it_works(checkout):
    checkout.use_uv()
    assert checkout.facts("list", env={"HOME": None}, umask=0o077)["found"] == ["tiny_core"]
    assert (checkout.root / ".venv").stat().st_mode & 0o077 == 0


@pytest.mark.needs("root")
def test_an_ordinary_user_uses_the_venv_of_root_and_is_told_when_it_cannot_be_updated(
    reachable,
):
    reachable.use_uv()
    reachable.facts("list")
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    assert reachable.facts("list", **nobody)["found"] == ["tiny_core"]
    done = reachable.run("demo", **nobody)
    assert done.returncode == 2
    assert "cannot write in" in done.stderr
    assert reachable.leftovers() == [".venv"]


def test_the_launcher_is_plain_posix_shell():
    dash = shutil.which("dash")
    if dash is None:
        pytest.skip("dash is not on this machine: apt install dash")
    subprocess.run([dash, "-n", Path(__file__).parents[2] / "biso"], check=True)


def _wait_for(path: Path, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not os.path.lexists(path):
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)
