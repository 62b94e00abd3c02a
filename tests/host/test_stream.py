"""Pipes between hosts: every byte, every exit status, the right one to blame, secrets unseen."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.errors import Interrupted, Refused
from biso_tasks.host import (
    Command,
    CommandFailed,
    Host,
    HostError,
    Leg,
    command,
    pipe,
    remote_words,
    script,
)

pytestmark = pytest.mark.real

ROUTES = ["local-local", "ssh-local", "local-ssh", "ssh-ssh"]


@pytest.fixture(params=ROUTES)
def legs(request: pytest.FixtureRequest, sshd: Any, sshd_two: Any, connect_to: Any) -> Any:
    """Two hosts, each this machine or one behind SSH."""
    from biso_tasks.host import LocalHost

    first, second = request.param.split("-")
    source = connect_to(sshd, name="prod") if first == "ssh" else LocalHost("prod")
    target = connect_to(sshd_two, name="test") if second == "ssh" else LocalHost("test")
    yield source, target
    source.close()
    target.close()


def join(source: Leg, target: Leg, **options: Any) -> Any:
    return pipe(source, target, cancel=options.pop("cancel", threading.Event()), **options)


def test_every_byte_arrives_and_both_codes_are_known(legs: Any, tmp_path: Path) -> None:
    size = 30_000_000
    text = 'head -c "$1" /dev/zero | openssl enc -aes-128-ctr -pass pass:x -nosalt 2>/dev/null'
    out = tmp_path / "out"
    result = join(
        Leg(legs[0], script(text + '; echo "said so" >&2', str(size))),
        Leg(legs[1], script('cat >"$1"', str(out))),
    )
    line = subprocess.run(
        ["bash", "-c", text, "x", str(size)], stdout=subprocess.PIPE, check=True
    ).stdout
    assert hashlib.sha256(out.read_bytes()).digest() == hashlib.sha256(line).digest()
    assert (result.source_code, result.target_code) == (0, 0)
    assert b"said so" in result.source_err


def test_a_source_that_fails_is_blamed_and_the_target_sees_no_end_of_file(
    legs: Any, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    with pytest.raises(CommandFailed, match=r"prod: .*code 3: no such table") as failure:
        join(
            Leg(legs[0], script("echo half; echo no such table >&2; exit 3")),
            Leg(legs[1], script('cat >/dev/null; echo complete >"$1"', str(done))),
        )
    assert failure.value.result.code == 3
    if not legs[1].address:
        assert not done.exists()


def test_a_plain_shell_pipe_hands_a_broken_stream_on_as_complete() -> None:
    """The trap: the target of a shell's pipe sees an end of file, whatever became of the source."""
    line = "(echo half; kill -9 $BASHPID) | (cat; echo complete)"
    out = subprocess.run(["bash", "-c", line], stdout=subprocess.PIPE, check=True).stdout
    assert out == b"half\ncomplete\n"


def test_a_target_that_fails_is_blamed_not_the_source_with_the_broken_pipe(legs: Any) -> None:
    with pytest.raises(CommandFailed, match=r"test: .*code 4: disk full") as failure:
        join(
            Leg(legs[0], command("cat", "/dev/zero")),
            Leg(legs[1], script("head -c 100000 >/dev/null; echo disk full >&2; exit 4")),
        )
    assert failure.value.result.code == 4


def test_a_target_that_fails_at_once_is_blamed_although_the_source_ends_well(legs: Any) -> None:
    with pytest.raises(CommandFailed, match=r"test: .*code 5"):
        join(Leg(legs[0], command("echo", "x")), Leg(legs[1], script("exit 5")))


def test_a_target_that_stops_reading_early_is_an_error(legs: Any) -> None:
    with pytest.raises(HostError, match="before it had read everything"):
        join(Leg(legs[0], command("cat", "/dev/zero")), Leg(legs[1], command("head", "-c", "10")))


def test_a_source_killed_half_way_is_blamed(legs: Any) -> None:
    with pytest.raises(HostError, match=r"^prod: "):
        join(
            Leg(legs[0], script("echo half; kill -9 $$")),
            Leg(legs[1], script("cat >/dev/null")),
        )


def test_a_missing_program_is_named_on_its_side(legs: Any) -> None:
    with pytest.raises(CommandFailed, match=r"test: the program `no-such` was not found"):
        join(Leg(legs[0], command("cat", "/dev/zero")), Leg(legs[1], command("no-such")))
    with pytest.raises(CommandFailed, match=r"prod: the program `no-such` was not found"):
        join(Leg(legs[0], command("no-such")), Leg(legs[1], command("cat")))


def test_cancel_and_timeout_end_both_sides(legs: Any, tmp_path: Path) -> None:
    marks = [tmp_path / "source", tmp_path / "target"]
    source = Leg(legs[0], script('echo $$ >"$1"; cat /dev/zero', str(marks[0])))
    target = Leg(legs[1], script('echo $$ >"$1"; cat >/dev/null', str(marks[1])))
    cancel = threading.Event()

    def cancel_when_both_run() -> None:
        while not all(mark.exists() and mark.read_text() for mark in marks):
            time.sleep(0.05)
        cancel.set()

    threading.Thread(target=cancel_when_both_run, daemon=True).start()
    with pytest.raises(Interrupted, match="cancelled"):
        join(source, target, cancel=cancel)
    assert all(gone(int(mark.read_text())) for mark in marks)
    with pytest.raises(CommandFailed, match="did not end within 1 s"):
        join(source, target, timeout=1)
    assert all(gone(int(mark.read_text())) for mark in marks)


def test_codes_that_a_leg_allows_are_no_failure(legs: Any) -> None:
    result = join(Leg(legs[0], script("echo x; exit 24"), ok=(0, 24)), Leg(legs[1], command("cat")))
    assert result.source_code == 24


def test_a_flood_on_stderr_blocks_nobody_and_is_bounded(legs: Any) -> None:
    flood = script("head -c 5000000 /dev/zero | tr '\\0' e >&2; cat; echo end >&2")
    result = join(Leg(legs[0], flood), Leg(legs[1], flood))
    assert result.source_err.endswith(b"eend\n")
    assert len(result.target_err) <= 64 * 1024


def test_prefixes_arrive_before_the_data_and_are_nowhere_to_be_seen(
    legs: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    secret = "pss-wörd-" + "4711"
    source_text = (
        "IFS= read -r -d '' pw; sleep 1; printf '%s' \"$pw\" | sha256sum | cut -c1-64; "
        "if IFS= read -r -n1 -d '' _; then exit 9; fi"
    )
    target_text = "IFS= read -r -d '' a; IFS= read -r -d '' b; { printf '%s' \"$a$b\" | sha256sum"
    target_text += ' | cut -c1-64; cat; } >"$1"'
    found: list[str] = []
    stop = threading.Event()
    looker = threading.Thread(target=look_for, args=(secret.encode(), found, stop))
    looker.start()
    join(
        Leg(legs[0], script(source_text), prefix=secret.encode() + b"\0"),
        Leg(legs[1], script(target_text, str(out)), prefix=secret.encode() + b"\0tail\0"),
    )
    stop.set()
    looker.join()
    assert found == []
    expected = [hashlib.sha256(text.encode()).hexdigest() for text in (secret + "tail", secret)]
    assert out.read_text().split() == expected


def test_a_prefix_that_would_block_is_refused(local: Host) -> None:
    with pytest.raises(ValueError, match="4096"):
        join(Leg(local, command("cat")), Leg(local, command("cat"), prefix=b"x" * 5000))


def test_descriptors_are_given_back(local: Host) -> None:
    join(Leg(local, command("true")), Leg(local, command("cat")))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        join(Leg(local, command("true")), Leg(local, command("cat")))
        with pytest.raises(CommandFailed):
            join(Leg(local, command("false")), Leg(local, command("cat")))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2


def test_an_unknown_host_key_is_a_refusal_here_too(sshd: Any, connect_to: Any, local: Host) -> None:
    with pytest.raises(Refused):
        join(Leg(connect_to(sshd, known=""), command("true")), Leg(local, command("cat")))


def test_a_cut_link_is_told_from_a_failing_command(
    start_sshd: Any, connect_to: Any, local: Host
) -> None:
    server = start_sshd()
    threading.Timer(1.0, server.cut).start()
    with pytest.raises(HostError, match=r"prod: .*(lost|ended)") as failure:
        join(Leg(connect_to(server), script("sleep 20")), Leg(local, command("cat")))
    assert not isinstance(failure.value, CommandFailed)


def test_the_target_pulls_with_strict_words(sshd: Any, connect_to: Any, local: Host) -> None:
    source = connect_to(sshd)
    words = remote_words(source)
    assert words[0] == "ssh"
    assert "-oStrictHostKeyChecking=yes" in words
    assert words[-4:] == ("-p", str(sshd.port), f"{source.login}@127.0.0.1", "--")
    with pytest.raises(HostError, match="direct route"):
        remote_words(local)


def test_the_direct_route_works_once_the_target_knows_the_source(
    sshd: Any, sshd_two: Any, connect_to: Any, account: Any, tmp_path: Path
) -> None:
    source = connect_to(sshd)
    target = connect_to(sshd_two, name="test", user=account.name)
    assert not source.reachable_from(target)
    folder = account.home / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "known_hosts").write_text(sshd.line)
    (folder / "id_ed25519").write_bytes(sshd.client_key.read_bytes())
    (folder / "id_ed25519").chmod(0o600)
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, account.name)
    assert source.reachable_from(target)
    awkward = ("a b", "$(id)", "it's", "\udcff", "\n")
    line = command("printf", "%s\\0", *awkward).shell(source.login)
    out = target.run(Command((*remote_words(source), line))).out
    assert out == b"".join(os.fsencode(word) + b"\0" for word in awkward)
    (folder / "known_hosts").write_text("")
    assert not source.reachable_from(target)


def look_for(needle: bytes, found: list[str], stop: threading.Event) -> None:
    while not stop.wait(0.05):
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                for name in ("cmdline", "environ"):
                    try:
                        if needle in (entry / name).read_bytes():
                            found.append(str(entry / name))
                    except OSError:
                        continue


def gone(pid: int, patience: float = 6) -> bool:
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False
