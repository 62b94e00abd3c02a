from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from biso_tasks.database.client import (
    LOAD,
    PREAMBLE,
    client_command,
    password_line,
    require_passable,
)
from biso_tasks.database.server import Server
from biso_tasks.errors import Refused
from biso_tasks.host import LocalHost
from biso_tasks.values import Dsn, Secret

RUN = PREAMBLE + 'exec "$@"\n'


def ask(server: Any, text: str = "SELECT current_user || ' ' || current_database()") -> str:
    words = server.client_words("psql", "-XAtq")
    result = server.host.run(
        client_command(server, RUN, *words), stdin=password_line(server.dsn) + text.encode()
    )
    return str(result.text)


@pytest.mark.real
def test_a_client_gets_its_password_by_stdin_and_the_rest_of_stdin_as_data(one: Any) -> None:
    assert ask(one.server()) == "biso_app postgres"


@pytest.mark.real
def test_the_debian_wrapper_around_the_clients_lets_the_descriptor_through(one: Any) -> None:
    if not Path("/usr/bin/pg_dump").exists():
        pytest.skip("no pg_wrapper here: apt install postgresql-client-common")
    assert ask(replace(one.server(), bindir="/usr/bin")) == "biso_app postgres"


@pytest.mark.real
@pytest.mark.parametrize("prefix", [(), ("env",)])
def test_the_script_needs_no_bash(one: Any, prefix: tuple[str, ...]) -> None:
    assert Path("/bin/sh").resolve().name in ("dash", "bash", "busybox")
    assert ask(replace(one.server(), prefix=prefix)) == "biso_app postgres"


@pytest.mark.real
@pytest.mark.parametrize(
    "dbname",
    [
        "a=b",
        "postgresql://x/y",
        "-x",
        "a b",
        "o'brien",
        'q"q',
        "$(touch /tmp/x)",
        "Über\\",
        "x" * 63,
    ],
)
def test_any_database_name_stays_a_name(one: Any, fresh: Callable[..., str], dbname: str) -> None:
    fresh(one, dbname)
    assert ask(one.server(dbname)) == f"biso_app {dbname}"


@pytest.mark.real
def test_neither_argv_nor_environment_nor_a_file_has_the_password_and_a_kill_leaves_nothing(
    one: Any, tmp_path: Path
) -> None:
    server = one.server()
    command = client_command(server, RUN, *server.client_words("psql", "-XAtq"))
    before = {*Path("/dev/shm").glob(".biso.*"), *tmp_path.iterdir()}
    child = subprocess.Popen(
        command.words(server.host.login),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(password_line(server.dsn) + b"SELECT 1;\n")
    child.stdin.flush()
    assert child.stdout.readline() == b"1\n"  # connected, so the password was read
    secret = b"(id)ord"
    for part in ("cmdline", "environ"):
        assert secret not in Path(f"/proc/{child.pid}/{part}").read_bytes()
    assert {*Path("/dev/shm").glob(".biso.*"), *tmp_path.iterdir()} == before
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdin.close()
    child.stdout.close()
    assert {*Path("/dev/shm").glob(".biso.*"), *tmp_path.iterdir()} == before


@pytest.mark.real
def test_a_loader_without_a_password_fails_instead_of_asking(one: Any) -> None:
    server = one.server()
    words = server.client_words("psql")
    started = time.monotonic()
    result = server.host.run(client_command(server, LOAD, "", *words), stdin=b"\n", ok=None)
    assert result.code == 2
    assert "password" in result.error
    assert time.monotonic() - started < 5


@pytest.mark.real
def test_a_password_holds_any_other_character(one: Any) -> None:
    everything = "".join(map(chr, range(1, 128))).replace("\n", "") + "äß€ "
    change = sql.SQL("ALTER ROLE biso_other PASSWORD {}")
    given = one.server(user="biso_other")
    try:
        for secret in (everything, "\r\rx", " ", "*:*", "\\", "'", "#", "a\tb"):
            one.sql(change.format(sql.Literal(secret)))
            server = replace(given, dsn=replace(given.dsn, password=Secret(secret)))
            require_passable(server)
            assert ask(server) == "biso_other postgres", repr(secret)
    finally:
        one.sql(change.format(sql.Literal(given.dsn.password.reveal())))


@pytest.mark.parametrize("secret", ["a\nb", "a\r", "a\0b"])
def test_a_password_that_pgpass_cannot_carry_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(Refused) as caught:
        password_line(Dsn("h", 1, "d", "u", Secret(secret)))
    assert secret not in str(caught.value)
    host = LocalHost("test")
    with pytest.raises(Refused, match="test: the password of the database role 'u'"):
        require_passable(Server(host, Dsn("h", 1, "d", "u", Secret(secret))))
    host.close()
