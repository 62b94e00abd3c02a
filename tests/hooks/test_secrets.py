from __future__ import annotations

import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.errors import ConfigError
from biso_tasks.hooks.manager import PluginError, PluginManager
from biso_tasks.hooks.secrets import on_this_machine
from biso_tasks.session import Session
from biso_tasks.values import Secret

Load = Callable[..., PluginManager]

VAULT = "@hookimpl\ndef biso_secret(name):\n    "
ASKS = "@hookimpl\ndef biso_scrub(stage, secret):\n    return [Change(secret('smtp').reveal())]\n"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder with secrets, in a home of the test's own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    folder = tmp_path / "home/.config/biso-tasks/secrets"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that systemd would have made, and named in the environment."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def keep(file: Path, content: str | bytes, mode: int = 0o600) -> Path:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    file.chmod(mode)
    return file


def test_plugins_are_asked_first_then_systemd_then_the_users_own_files(
    write: Any, load: Load, own: Path, given: Path
) -> None:
    write("a", VAULT + "return None\n")
    write("b", VAULT + "return Secret('plugin') if name == 'one' else None\n")
    write("c", VAULT + "return Secret('later') if name == 'one' else None\n")
    for name in ("one", "two", "three"):
        keep(own / name, "own")
    for name in ("one", "two"):
        keep(given / name, "systemd", 0o440)  # systemd's files are group-readable by an ACL
    manager = load()
    assert [manager.secret(name).reveal() for name in ("one", "two", "three")] == [
        "plugin",
        "systemd",
        "own",
    ]


def test_a_hook_takes_the_finder_by_name(write: Any, load: Load, own: Path) -> None:
    keep(own / "smtp", "pa$$ wört")
    write("asks", ASKS)
    ((_, (change,)),) = load().collect("biso_scrub", stage=None)
    assert change.what == "pa$$ wört"


@pytest.mark.parametrize("hook", ["biso_secret", "biso_config"])
def test_what_finds_secrets_cannot_ask_for_one(write: Any, load: Load, hook: str) -> None:
    write("loop", f"@hookimpl\ndef {hook}(secret):\n    return None\n")
    with pytest.raises(ConfigError, match=f'{hook} has no argument "secret"'):
        load()


def test_an_environment_variable_is_no_place_for_a_secret(
    load: Load, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("smtp", "SMTP", "BISO_SECRET_SMTP"):
        monkeypatch.setenv(name, "hunter2")
    with pytest.raises(ConfigError, match="is not there"):
        load().secret("smtp")
    # The trap: whoever may list processes reads what a variable holds.
    with subprocess.Popen(["sleep", "30"], env={**os.environ, "SECRET": "hunter2"}) as child:
        try:
            until = time.monotonic() + 10
            while b"SECRET=hunter2" not in Path(f"/proc/{child.pid}/environ").read_bytes():
                # A process that has just been made has no environment yet.
                assert time.monotonic() < until
        finally:
            child.kill()


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        ("x", "x"),
        ("x\n", "x"),
        ("x\r\n", "x"),
        ("x\n\n", "x\n"),
        ("x \t\n", "x \t"),
        ("x\r", "x\r"),
        ("-----BEGIN\nkey\n", "-----BEGIN\nkey"),
    ],
)
def test_one_trailing_newline_is_no_part_of_it(own: Path, content: str, secret: str) -> None:
    keep(own / "one", content)
    assert on_this_machine("one") == Secret(secret)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_that_only_its_owner_may_read_is_taken(own: Path, mode: int) -> None:
    keep(own / "one", "x", mode)
    assert on_this_machine("one") == Secret("x")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o700, 0o644])
def test_a_file_that_others_may_read_is_refused_with_the_chmod(own: Path, mode: int) -> None:
    file = keep(own / "one", "hunter2", mode)
    with pytest.raises(ConfigError, match=f"has mode {mode:04o}") as raised:
        on_this_machine("one")
    assert raised.value.hint == f"chmod 600 {file}"
    assert "hunter2" not in str(raised.value)
    subprocess.run(["bash", "-c", raised.value.hint], check=True)
    assert on_this_machine("one") == Secret("hunter2")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused_with_chown_and_chmod(own: Path) -> None:
    file = keep(own / "one", "hunter2")
    os.chown(file, 65534, -1)
    with pytest.raises(ConfigError, match=r"belongs to another user \(uid 65534\)") as raised:
        on_this_machine("one")
    assert "chmod 600" in raised.value.hint
    subprocess.run(["bash", "-c", raised.value.hint], check=True)
    assert on_this_machine("one") == Secret("hunter2")


def test_a_link_counts_as_what_it_leads_to(own: Path, tmp_path: Path) -> None:
    (own / "one").symlink_to(keep(tmp_path / "real", "x", 0o644))
    with pytest.raises(ConfigError, match="has mode 0644"):
        on_this_machine("one")


def test_what_is_no_readable_text_is_said_without_its_content(own: Path) -> None:
    keep(own / "bytes", b"hunter2\xff")
    keep(own / "empty", "\n")
    (own / "folder").mkdir()
    os.mkfifo(own / "fifo", 0o600)
    said = {"bytes": "no UTF-8", "empty": "is empty", "folder": "is no file", "fifo": "is no file"}
    for name, words in said.items():
        with pytest.raises(ConfigError, match=words) as raised:
            on_this_machine(name)
        assert raised.value.hint
        shown = "".join(traceback.format_exception(raised.value))
        assert "hunter2" not in shown
        assert "UnicodeDecodeError" not in shown  # it carries the bytes


def test_one_that_is_nowhere_is_an_error_with_the_places_and_what_to_do(
    write: Any, load: Load, own: Path
) -> None:
    with pytest.raises(ConfigError) as raised:
        load().secret("smtp")
    text = str(raised.value)
    assert "plugins (none has biso_secret), $CREDENTIALS_DIRECTORY (not set)" in text
    assert f"write it to {own}/smtp and chmod 600" in text
    write("vault", VAULT + "return None\n")
    with pytest.raises(ConfigError, match="the plugins vault, "):
        load().secret("smtp")


def test_a_user_without_a_home_is_told_so_by_the_place(
    own: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nobody(path: Path) -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "expanduser", nobody)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "~/.config/biso-tasks/secrets"
    folder.mkdir(parents=True)
    keep(folder / "one", "not ours")
    with pytest.raises(ConfigError, match=r", ~/\.config/biso-tasks/secrets/one\n"):
        on_this_machine("one")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../x", "/etc/shadow", "a b", "ä", "a\n", "hunter2!", "a\0b"]
)
def test_what_is_no_name_is_refused_and_not_repeated(
    write: Any, load: Load, own: Path, name: str
) -> None:
    write("vault", VAULT + "return Secret('any')\n")
    with pytest.raises(ConfigError, match="no name of a secret") as raised:
        load().secret(name)
    assert "hunter2" not in str(raised.value)


def test_a_plugin_that_raises_aborts_what_asked_and_is_named(
    write: Any, load: Load, own: Path
) -> None:
    keep(own / "smtp", "must not stand in for it")
    write("asks", ASKS)
    path = write("vault", VAULT + "raise KeyError('hunter2')\n")
    with pytest.raises(PluginError) as raised:
        load().collect("biso_scrub", stage=None)
    text = raised.value.message
    assert 'plugin "asks": plugin "vault" (' in text
    assert f"({path}:8): biso_secret: KeyError, whose text is not shown" in text
    assert raised.value.__cause__ is None
    assert "hunter2" not in str(raised.value)
    write("vault", VAULT + "raise Refused('the store is locked', hint='unlock it')\n")
    with pytest.raises(BaseException, match="the store is locked") as kept:
        load().secret("smtp")
    assert (kept.value.exit_code, kept.value.hint) == (3, "unlock it")


def test_the_net_of_the_journal_knows_what_was_found(write: Any, load: Load, own: Path) -> None:
    keep(own / "long", "hunter2-long")
    keep(own / "short", "an")
    manager = load()
    session = Session(SimpleNamespace(), manager, say=print)  # type: ignore[arg-type]
    assert session.redact("with hunter2-long") == "with hunter2-long"
    for name in ("long", "short"):
        manager.secret(name)
    assert session.redact("with hunter2-long and another") == "with … and another"


def test_finding_one_imports_nothing_heavy() -> None:
    program = "import sys, biso_tasks.hooks.secrets; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0
    assert not {"psycopg", "paramiko", "rich"} & set(done.stdout.split())
