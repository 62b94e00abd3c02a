"""What is seen from outside: absences, a program's memory and seconds, bytes on a line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.line import Line
from benchmarks.run import run
from benchmarks.watch import Watch, together
from biso_tasks.errors import StepFailed

ENV = dict(os.environ)


def test_spans_that_overlap_count_once():
    assert together([(0, 2), (1, 3)], [(2.5, 4)], [(6, 7)]) == 5
    assert together([], []) == 0
    assert together([(0, 10), (2, 3)], [(9, 11)]) == 11


def test_a_flag_and_a_missing_data_dir_are_seen_and_each_instance_for_itself(tmp_path: Path):
    prod, test = tmp_path / "prod", tmp_path / "test"
    for folder in (prod, test):
        folder.mkdir()
    with Watch(prod, test, None) as watch:
        time.sleep(0.05)
        (prod / "maintenance.on").touch()
        time.sleep(0.2)
        (prod / "maintenance.on").unlink()
        test.rename(tmp_path / "aside")
        time.sleep(0.1)
        (tmp_path / "aside").rename(test)
        time.sleep(0.05)
    assert 0.18 < watch.production < 0.30
    assert 0.08 < watch.test < 0.20


def test_what_is_away_to_the_end_counts_to_the_end(tmp_path: Path):
    (tmp_path / "maintenance.on").touch()
    with Watch(tmp_path, tmp_path / "none", None) as watch:
        time.sleep(0.1)
    assert 0.09 < watch.production < 0.3
    assert 0.09 < watch.test < 0.3


def python(text: str, tmp_path: Path, **more: float):
    return run([sys.executable, "-c", text], env=ENV, cwd=tmp_path, log=tmp_path / "log", **more)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc: Linux")
def test_a_program_is_timed_and_its_largest_memory_seen(tmp_path: Path):
    done = python(
        "import time; x = bytearray(200_000_000); time.sleep(.1); del x; time.sleep(.2);"
        'print(\'{"steps": [{"name": "a", "seconds": 1.5}, {"name": "b", "seconds": 2}]}\')',
        tmp_path,
    )
    assert done.memory > 200_000_000
    assert 0.3 < done.seconds < 10
    assert (done.step("a"), done.step("c")) == (1.5, 0)


def test_one_that_fails_is_told_with_its_last_words(tmp_path: Path):
    with pytest.raises(StepFailed, match=r"ended with code 3: .*the disk is full"):
        python("import sys; print('the disk is full', file=sys.stderr); sys.exit(3)", tmp_path)


def test_one_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path):
    text = (
        "import subprocess, sys; p = subprocess.Popen(['sleep', '60']);"
        "open('pid', 'w').write(str(p.pid)); p.wait()"
    )
    with pytest.raises(StepFailed, match="did not end within"):
        python(text, tmp_path, limit=0.7)
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not running(child)


def running(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_was_started(tmp_path: Path, number: signal.Signals):
    """The program of a run has a session of its own: no terminal reaches it. In the background both
    have SIGINT ignored."""
    script = (
        "import os, sys, signal; from pathlib import Path; from benchmarks.run import run\n"
        "from biso_tasks.flow.interrupt import raising\n"
        f"signal.signal({int(signal.SIGINT)}, signal.default_int_handler if {int(number)} == 2"
        " else signal.SIG_IGN)\n"
        "with raising(lambda: False):\n"
        "    run(['sh', '-c', 'echo $$ > pid; exec sleep 60'], env=dict(os.environ),"
        " cwd=Path('.'), log=Path('log'))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stderr=subprocess.DEVNULL,
        env={**ENV, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(number)
    child.wait(20)
    assert not running(int((tmp_path / "pid").read_text()))


@pytest.fixture
def echo():
    """A port that sends back what it gets."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                line, _ = server.accept()
                with line:
                    while data := line.recv(65536):
                        line.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


def there_and_back(port: int, data: bytes) -> float:
    begin = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as line:
        sender = threading.Thread(target=line.sendall, args=(data,))
        sender.start()
        got = b""
        while len(got) < len(data):
            got += line.recv(65536)
        sender.join()
    assert got == data
    return time.monotonic() - begin


def test_a_line_counts_both_ways_and_is_late(echo: int):
    with Line(echo, delay=0.05) as line:
        assert there_and_back(line.port, b"x") >= 0.1
        assert line.bytes == 2
        there_and_back(line.port, b"abc")
        assert line.bytes == 8


def test_a_line_is_no_faster_than_its_rate_but_goes_both_ways_at_once(echo: int):
    data = os.urandom(1_000_000)
    with Line(echo, rate=2e6) as line:
        seconds = there_and_back(line.port, data)
    assert 0.48 < seconds < 2
