"""The role that creates, renames and drops databases: the application's own where it may, else
an administrator's, whose psql the machine's sudoers allow (`sudo -n -u postgres psql`).

That grant is for psql alone, never for a shell: so psql is started directly, with SQL on stdin, and
stays open meanwhile. It exits 0 after SQL errors unless ON_ERROR_STOP is set *with* -v, reads
~/.psqlrc unless -X is given, and would ask for a password unless -w is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, LiteralString, Protocol

from biso_tasks.database.connect import DatabaseFailed, NotConnected, connect, describe, reason_of
from biso_tasks.database.psql import Psql
from biso_tasks.database.server import Server
from biso_tasks.database.sqltext import Part, Raw, compose, query
from biso_tasks.host.answer import answered
from biso_tasks.host.command import Command

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = ["Admin", "admin", "flush"]

# On the strength of what is executed here files are renamed and intents forgotten. A server that is
# set to lose its last commits when it crashes may not lose these; one that waits for more than its
# own disk goes on to.
_DURABLE: Final = """SELECT set_config('synchronous_commit', CASE asked WHEN 'off' THEN 'local'
  ELSE asked END, false) AS biso_commits FROM current_setting('synchronous_commit') AS asked"""
_FAULT: Final = re.compile("(?:ERROR|FATAL|FEHLER):")
# A commit that has written nothing would wait for nothing.
_FLUSH: Final = "SELECT pg_logical_emit_message(true, 'biso-tasks', '')"


class Admin(Protocol):
    """Runs composed SQL (see sqltext.py) outside the databases it is about."""

    @property
    def user(self) -> str:
        """The role it connects as."""

    def execute(self, *statements: str, atomic: bool = False) -> None:
        """One after the other; with `atomic` in one transaction. All is on the server's disk when
        this returns. Raises DatabaseFailed."""

    def rows(self, template: LiteralString, *parts: Part) -> list[tuple[Any, ...]]:
        """The rows of a query whose columns have distinct names and JSON types (cast oid to
        bigint). Raises DatabaseFailed."""


@contextmanager
def admin(server: Server, dbname: str | None = None) -> Iterator[Admin]:
    """Connected to `dbname`, or to "postgres", else "template1": never to a database that is about
    to be renamed. Raises NotConnected, here or where a server that answered does not any more."""
    places = (dbname,) if dbname is not None else ("postgres", "template1")
    with ExitStack() as stack:
        if server.admin_user is not None:
            yield _first_psql(server, places, stack)
            return
        for place in places:
            try:
                connection = stack.enter_context(connect(server, place, autocommit=True))
            except NotConnected as error:
                if error.reason in ("database", "denied") and place != places[-1]:
                    continue
                raise
            yield _ByConnection(connection, server)
            return


def flush(role: Admin) -> None:
    """Wait until all that anybody has committed on that server is on its disk. Raises
    DatabaseFailed."""
    role.execute(_FLUSH)


def _first_psql(server: Server, places: Sequence[str], stack: ExitStack) -> _ByPsql:
    for place in places:
        found = _ByPsql(server, place)
        stack.callback(found.close)
        try:
            found.rows("SELECT 1 AS one")
        except NotConnected:
            if place == places[-1]:
                raise
            continue
        break
    return found


class _ByConnection:
    def __init__(self, connection: Connection, server: Server) -> None:
        self._connection = connection
        self._server = server
        self._durable = False

    @property
    def user(self) -> str:
        return self._server.dsn.user

    def execute(self, *statements: str, atomic: bool = False) -> None:
        import psycopg

        try:
            if not self._durable:
                self._connection.execute(query(_DURABLE))
                self._durable = True
            if atomic:
                # In one message, which is one transaction: a site waits for each round trip.
                statements = (";\n".join(statements),)
            for statement in statements:
                self._connection.execute(query(statement))
        except psycopg.Error as error:
            raise DatabaseFailed(
                f"{self._server.host.name}, as {self.user!r}: {describe(error)}"
            ) from error

    def rows(self, template: LiteralString, *parts: Part) -> list[tuple[Any, ...]]:
        import psycopg

        try:
            return self._connection.execute(query(compose(template, *parts))).fetchall()
        except psycopg.Error as error:
            raise DatabaseFailed(
                f"{self._server.host.name}, as {self.user!r}: {describe(error)}"
            ) from error


class _ByPsql:
    def __init__(self, server: Server, dbname: str) -> None:
        self._server = server
        words = server.admin_words(
            "psql",
            dbname,
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
        )
        self._psql = Psql(server.host, Command(words).as_user(server.admin_run_as))
        self.close = self._psql.close

    @property
    def user(self) -> str:
        return self._server.admin_user or "postgres"

    def execute(self, *statements: str, atomic: bool = False) -> None:
        lines = [f"{statement};\n" for statement in statements]
        self._run(
            "".join(
                [f"{_DURABLE} \\gset\n", *(["BEGIN;\n", *lines, "COMMIT;\n"] if atomic else lines)]
            )
        )

    def rows(self, template: LiteralString, *parts: Part) -> list[tuple[Any, ...]]:
        text = compose(
            "SELECT coalesce(json_agg(row_to_json(q)), '[]') FROM ({}) AS q",
            Raw(compose(template, *parts)),
        )
        said = self._run(text + ";\n")
        with answered(self._server.host.name, "a question to its PostgreSQL"):
            found: Sequence[dict[str, Any]] = json.loads(said)
        return [tuple(row.values()) for row in found]

    def _run(self, text: str) -> str:
        # client_min_messages: a NOTICE on stderr is not what went wrong
        sql = "SET client_encoding = 'UTF8';\nSET client_min_messages = warning;\n" + text
        result = self._psql.ask(sql)
        if result.code == 0:
            return result.text
        said = [line for line in result.error.splitlines() if line.strip()]
        fault = next((line for line in said if _FAULT.search(line)), "")
        where = f"psql as {self.user!r} on {self._server.host.name}"
        if result.code == 3:
            raise DatabaseFailed(f"{where}: {_FAULT.split(fault or said[0])[-1].strip()}")
        reason, hint = reason_of(result.error)
        if reason == "unreachable":
            # The server's last word says why it ended the session; psql's is that it did.
            raise NotConnected(f"{where}: {fault or said[-1]}", reason=reason, hint=hint)
        run_as = self._server.admin_run_as
        allow = (
            f"allow `sudo -n -u {run_as} psql`" if run_as else "psql must connect without asking"
        )
        raise NotConnected(
            f"{where}: {said[-1] if said else f'ended with {result.code}'}",
            reason="denied",
            hint=f"{allow} for {self._server.host.login}, or correct `admin` in the config",
        )
