"""What `run` and `start` promise, on this machine and over a real sshd alike."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biso_tasks.host import (
    Command,
    CommandFailed,
    Host,
    HostError,
    LocalHost,
    SshHost,
    command,
    connect,
    script,
)

pytestmark = pytest.mark.real

words = st.lists(
    st.binary(max_size=40).map(lambda raw: os.fsdecode(raw.replace(b"\0", b""))), max_size=6
)
SHOW = ("printf", "%s\\0")


@settings(max_examples=60, deadline=None)
@given(argv=words)
def test_any_argv_comes_through_a_shell_unchanged(argv: list[str]) -> None:
    line = Command((*SHOW, "-", *argv)).shell()
    done = subprocess.run(["sh", "-c", os.fsencode(line)], stdout=subprocess.PIPE, check=True)
    assert done.stdout.split(b"\0")[1:-1] == [os.fsencode(word) for word in argv]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(argv=words)
def test_any_argv_comes_through_ssh_unchanged(remote: SshHost, argv: list[str]) -> None:
    done = remote.run(Command((*SHOW, "-", *argv)))
    assert done.out.split(b"\0")[1:-1] == [os.fsencode(word) for word in argv]


def test_awkward_words_come_through_both_planes(remote: SshHost) -> None:
    awkward = ("a b", "$(id)", "`id`", "it's", '"', "\\", "ü", "\udcff", "\n", "-n", "", "*", "~")
    sent = b"\0".join(os.fsencode(word) for word in awkward) + b"\0"
    assert remote.run(Command((*SHOW, *awkward))).out == sent
    child = remote.start(
        Command((*SHOW, *awkward)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.communicate(timeout=30)[0] == sent


def test_output_is_exact_bytes_and_separate_from_stderr(host: Host) -> None:
    done = host.run(script(r"printf '\0\377\r\n\303'; printf 'no\n' >&2; exit 3"), ok=(3,))
    assert (done.code, done.out, done.err) == (3, b"\0\xff\r\n\xc3", b"no\n")


def test_stdin_arrives_whole_and_its_end_is_seen(host: Host) -> None:
    data = bytes(range(256)) * 20_000
    assert host.run(command("cat"), stdin=data).out == data
    assert host.run(command("cat")).out == b""


def test_a_command_that_ignores_its_stdin_is_no_error(host: Host) -> None:
    assert host.run(command("true"), stdin=b"x" * 5_000_000).code == 0


def test_stdout_and_stderr_together_do_not_block(host: Host) -> None:
    text = "head -c 3000000 /dev/zero >&2; head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2"
    done = host.run(script(text))
    assert (len(done.out), len(done.err)) == (3_000_000, 6_000_000)


def test_twenty_megabytes_take_twice_as_long_as_ten_not_four_times(host: Host) -> None:
    host.run(command("true"))

    def seconds(megabytes: int) -> float:
        begun = time.monotonic()
        out = host.run(command("head", "-c", str(megabytes * 1_000_000), "/dev/zero")).out
        assert len(out) == megabytes * 1_000_000
        return time.monotonic() - begun

    assert min(seconds(20) for _ in range(2)) < 3.2 * seconds(10) + 0.3


def test_more_output_than_the_limit_is_an_error(host: Host) -> None:
    with pytest.raises(HostError, match="more than 64 MiB"):
        host.run(command("cat", "/dev/zero"))


def test_an_unexpected_exit_code_names_host_command_and_reason(host: Host) -> None:
    with pytest.raises(CommandFailed, match=r"`.*` ended with code 4: out of luck") as failure:
        host.run(script("echo out of luck >&2; exit 4"))
    assert failure.value.result.code == 4
    assert failure.value.message.startswith(host.name + ": ")
    assert host.run(script("exit 4"), ok=None).code == 4
    assert host.run(script("exit 4"), ok=(0, 4)).code == 4


def test_a_missing_program_is_named_with_a_remedy(host: Host) -> None:
    for missing in (command("no-such-program"), script("no-such-program --now")):
        with pytest.raises(CommandFailed, match="`no-such-program` was not found") as failure:
            host.run(missing)
        assert "install it" in failure.value.hint
        assert failure.value.result.code == 127


def test_a_process_ended_by_a_signal_is_not_mistaken_for_a_lost_connection(host: Host) -> None:
    for number in ("TERM", "KILL"):
        done = host.run(command("sh", "-c", f"kill -{number} $$"), ok=None, timeout=None)
        assert done.code != 0
        with pytest.raises(CommandFailed):
            host.run(command("sh", "-c", f"kill -{number} $$"))


def test_a_timeout_ends_the_process_on_the_host_too(host: Host, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    begun = time.monotonic()
    with pytest.raises(CommandFailed, match="did not end within 1 s and was stopped"):
        host.run(script('echo $$ >"$1"; sleep 300 & wait', str(mark)), timeout=1)
    assert time.monotonic() - begun < 8
    pid = int(mark.read_text())
    assert gone(pid)


def test_without_a_remote_timeout_closing_the_channel_leaves_the_process(remote: SshHost) -> None:
    """The trap that `timeout` defends against."""
    import paramiko

    remote.run(command("true"))
    opened = remote._opened
    assert opened is not None
    channel: paramiko.Channel = opened.control._transport().open_session()
    channel.exec_command("echo $$; exec sleep 60")
    pid = int(channel.recv(100))
    channel.close()
    time.sleep(1)
    assert not gone(pid, patience=0)
    os.kill(pid, 15)


def test_exit_code_124_of_the_command_itself_is_no_timeout(host: Host) -> None:
    assert host.run(script("exit 124"), ok=None, timeout=30).code == 124


def test_a_daemon_that_keeps_the_pipes_open_does_not_block(host: Host, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    begun = time.monotonic()
    done = host.run(script('sleep 60 & echo $! >"$1"; echo started', str(mark)), timeout=None)
    assert done.out == b"started\n"
    assert time.monotonic() - begun < 10
    os.kill(int(mark.read_text()), 15)  # and it is still there: a started service goes on


def test_many_threads_share_one_connection(sshd, connect_to) -> None:  # type: ignore[no-untyped-def]
    host = connect_to(sshd)
    results: list[bytes] = []

    def work(number: int) -> None:
        out = host.run(script('sleep 0.1; echo "$1"; head -c 300000 /dev/zero', str(number))).out
        results.append(out[:3].split(b"\n")[0])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(map(int, results)) == list(range(24))


def test_fewer_sessions_than_asked_for_are_waited_for(start_sshd, connect_to) -> None:  # type: ignore[no-untyped-def]
    host = connect_to(start_sshd(extra="MaxSessions 2"))
    failures: list[BaseException] = []

    def work() -> None:
        try:
            host.run(command("sleep", "0.3"))
        except HostError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_start_gives_exact_bytes_and_the_exit_code(host: Host) -> None:
    child = host.start(
        script("cat; printf '\\377' >&2; exit 7"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    data = bytes(range(256)) * 4000
    out, err = child.communicate(data, timeout=30)
    assert (child.returncode, out, err) == (7, data, b"\xff")
    assert os.getpgid(os.getpid()) != child.pid


def test_an_ordinary_user_logs_in_and_sudo_says_which_line_is_missing(  # type: ignore[no-untyped-def]
    sshd, connect_to, ordinary_user: str
) -> None:
    host = connect_to(sshd, user=ordinary_user)
    assert host.login == ordinary_user
    assert host.run(command("id", "-un")).text == ordinary_user
    with pytest.raises(CommandFailed, match="sudo does not let") as failure:
        host.run(command("rsync", "--version").as_root())
    assert f"{ordinary_user} ALL=(root) NOPASSWD: /usr/bin/rsync" in failure.value.hint


def test_a_working_directory_and_another_user_apply(host: Host, tmp_path: Path) -> None:
    folder = tmp_path / "it's ü"
    folder.mkdir()
    assert host.run(command("pwd").within(str(folder))).text == str(folder)
    if os.geteuid() == 0:
        assert host.run(command("id", "-un").as_user("nobody")).text == "nobody"


def test_importing_the_package_imports_no_heavy_library() -> None:
    code = (
        "import sys, biso_tasks.host as h; h.connect('a', 'b'); "
        "sys.exit(any(m in sys.modules for m in ('paramiko', 'fabric', 'invoke', 'psycopg')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_environment_without_ssh_is_this_machine() -> None:
    here = connect("test", None)
    assert isinstance(here, LocalHost)
    assert (here.address, here.ssh_words(), here.reachable_from(here)) == ("", (), True)
    here.close()


def gone(pid: int, patience: float = 5) -> bool:
    until = time.monotonic() + patience
    while True:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.05)


def test_no_command_waits_for_the_acknowledgement_of_the_one_before(remote: SshHost) -> None:
    """It would take 40 ms, as long as what else a command needs together; the option is looked at
    and not the time, which a busy machine makes longer."""
    remote.run(command("true"))
    sock = remote._open().control._transport().sock
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
