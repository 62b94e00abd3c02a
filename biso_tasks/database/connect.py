"""SQL connections of the application's role, through the host's tunnel; errors a person can act on.

A dead network must not hang a run (keepalives, connect_timeout). Messages never hold the password.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from biso_tasks.database.server import APPLICATION, Server
from biso_tasks.database.sqltext import compose, name
from biso_tasks.database.stdio import socket_dir, stdio_tunnel
from biso_tasks.errors import StepFailed
from biso_tasks.host.alive import SILENCE
from biso_tasks.host.endable import endable
from biso_tasks.host.protocol import Endpoint

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

__all__ = [
    "DatabaseFailed",
    "NotConnected",
    "connect",
    "describe",
    "lost_told",
    "reason_of",
    "told",
    "tunnel",
    "unquoted",
]


class DatabaseFailed(StepFailed):
    """A statement failed; the message carries what the server said."""

    usual = "PostgreSQL's log on that host says more; `biso doctor` checks roles and rights"


class NotConnected(StepFailed):
    """No connection. `reason` is "password", "database", "role", "unreachable", "full", "denied"
    or "other"."""

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


def tunnel(server: Server) -> AbstractContextManager[Endpoint]:
    """Where psycopg finds the server from this machine."""
    if server.prefix:
        return stdio_tunnel(server)
    return server.host.tunnel(_place(server), server.dsn.port)


def _place(server: Server) -> str:
    return server.dsn.host or socket_dir(server)


@contextmanager
def connect(
    server: Server,
    dbname: str | None = None,
    *,
    autocommit: bool = False,
    application_name: str = APPLICATION,
) -> Iterator[Connection]:
    """A psycopg connection as the application's role, UTF-8; committed on leaving unless the block
    raised, then closed. Raises NotConnected, HostError where the SSH server lets nothing through,
    or DatabaseFailed for a statement of the block that failed."""
    import psycopg

    wanted = server if dbname is None else server.at(dbname)
    dsn = wanted.dsn
    with tunnel(wanted) as endpoint:
        try:
            connection = psycopg.connect(
                host=endpoint.host,
                port=endpoint.port,
                dbname=dsn.dbname,
                user=dsn.user,
                # psycopg would look for PGPASSWORD and ~/.pgpass where it is given none
                password=dsn.password.reveal() or None,
                passfile="/dev/null",
                autocommit=autocommit,
                application_name=application_name,
                client_encoding="UTF8",
                connect_timeout=SILENCE,  # a link that stands still for a moment ends no run
                keepalives=1,
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=6,
            )
        except psycopg.Error as error:
            failed = _explain(wanted, str(error))
            if failed.reason in ("unreachable", "other") and not wanted.prefix:
                wanted.host.require_forwarding(_place(wanted), dsn.port)
            raise failed from None
        with told(str(wanted)), endable(lambda: connection.cancel_safe(timeout=5)), connection:
            yield connection


@contextmanager
def told(where: str) -> Iterator[None]:
    """What psycopg raises inside comes out as DatabaseFailed."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise DatabaseFailed(f"{where}: {describe(error)}") from error


@contextmanager
def lost_told(where: str) -> Iterator[None]:
    """A server that went away is nobody's mistake, whoever was asking it: comes out as
    DatabaseFailed. Whatever else psycopg raises stays what it is."""
    try:
        yield
    except Exception as error:
        psycopg = sys.modules.get("psycopg")  # not there: nobody has asked any server
        if psycopg is None or not isinstance(error, psycopg.OperationalError):
            raise
        raise DatabaseFailed(f"{where}: PostgreSQL was lost: {describe(error)}") from error


def describe(error: psycopg.Error) -> str:
    """What the server said, in one line, without the rows that it quotes: whoever reads a message
    or a journal is not who may read a client's file."""
    diagnosis = error.diag
    text = diagnosis.message_primary or str(error).strip().partition("\n")[0]
    kind = (error.sqlstate or "")[:2]
    if kind == "22":  # a value that does not fit: the message is about that value
        return unquoted(text)
    if kind == "23":  # a constraint: the message names it, the detail is the row
        return text
    return f"{text} ({diagnosis.message_detail})" if diagnosis.message_detail else text


def unquoted(text: str) -> str:
    """`text` without the value that stands in quotes at its end, as in `invalid input syntax for
    type integer: "…"`, whatever the language."""
    return _VALUE.sub(r"\1…", text)


# Behind the severity stands a name: `ERROR:  "x" is a view`.
_VALUE = re.compile(
    r"""(?<!ERROR)(?<!FATAL)(?<!FEHLER)(?<!error)(?<!fatal)(:\s*)["»„'].*""", re.DOTALL
)


# libpq gives no SQLSTATE for a refused connection, and servers speak their own language. In a hint
# {user} and {dbname} are names as SQL quotes them.
_REASONS = (
    (
        "password",
        r"password authentication failed|Passwort-Authentifizierung|no password supplied",
        "write the password that the server knows into config.php, or give the role the one that "
        "stands there: `\\password {user}` in psql, as an administrator of that server",
    ),
    (
        "full",
        r"too many connections for role|zu viele Verbindungen für Rolle",
        "`ALTER ROLE {user} CONNECTION LIMIT -1` there, or end its idle sessions",
    ),
    (
        "full",
        r"too many connections for database|zu viele Verbindungen für Datenbank",
        "`ALTER DATABASE {dbname} CONNECTION LIMIT -1` there, or end idle sessions",
    ),
    (
        "full",
        r"too many (clients|connections)|remaining connection slots|zu viele Verbindungen",
        "end idle sessions, or raise max_connections",
    ),
    (
        "denied",
        r"permission denied for database|keine Berechtigung für Datenbank",
        "`GRANT CONNECT ON DATABASE {dbname} TO {user}` there",
    ),
    (
        "denied",
        r"no pg_hba\.conf entry|pg_hba\.conf rejects|kein pg_hba\.conf-Eintrag"
        r"|pg_hba\.conf lehnt|Peer authentication failed|Peer-Authentifizierung",
        "put `{rule}` above what refuses it in pg_hba.conf there, then `SELECT pg_reload_conf()`",
    ),
    (
        "role",
        r"role \".*\" is not permitted to log in|Rolle ».*« hat keine Berechtigung zum Einloggen",
        "`ALTER ROLE {user} LOGIN` there, or correct the user in config.php",
    ),
    (
        "role",
        r"role \".*\" does not exist|Rolle ».*« existiert nicht",
        "correct the user in config.php, or `CREATE ROLE {user} LOGIN` there with the password "
        "that stands in it",
    ),
    (
        "database",
        r"database \".*\" does not exist|Datenbank ».*« existiert nicht|not currently accepting"
        r"|akzeptiert gegenwärtig keine",
        "correct dbname; `recover` allows connections again after an interrupted swap, `restore` "
        "brings back a database that is gone",
    ),
    (
        "unreachable",
        r"Connection refused|could not connect|No such file or directory|timed? ?out|No route"
        r"|could not translate|server closed the connection|reset by peer"
        r"|starting up|shutting down"
        r"|in recovery mode|not yet accepting|fährt herunter|startet gerade"
        r"|im Wiederherstellungsmodus|Verbindungsaufbau abgelehnt",
        "is PostgreSQL running there, and are host and port right?",
    ),
)


def reason_of(text: str) -> tuple[str, str]:
    """Why there is no connection, as `NotConnected.reason` has it, and what helps, of what libpq
    said; the hint's {user}, {dbname} and {rule} are not filled in."""
    for reason, pattern, hint in _REASONS:
        if re.search(pattern, text):
            return reason, hint
    return "other", ""


def _explain(server: Server, text: str) -> NotConnected:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if "FATAL" in line]
    line = (fatal or lines or ["no reason given"])[-1 if fatal else 0]
    said = line.split("FATAL:")[-1].strip()
    said = re.sub(r"^connection failed: ", "", said)
    dsn = server.dsn
    where = f"{dsn.host or 'its local socket'}:{dsn.port} of {server.host.name}"
    reason, hint = reason_of(text)
    return NotConnected(
        f"cannot connect to database {dsn.dbname!r} as {dsn.user!r} at {where}: {said}",
        reason=reason,
        hint=hint.format(
            user=compose("{}", name(dsn.user)),
            dbname=compose("{}", name(dsn.dbname)),
            rule=_rule(server, text),
        ),
    )


def _rule(server: Server, said: str) -> str:
    """The line of pg_hba.conf that lets the application in, to the stages that it makes as well:
    `said` names the address that the server sees it come from."""
    names = compose("all {}", name(server.dsn.user))
    address = re.search(r"(?:host|Host|für Host) [\"»]([0-9A-Fa-f:.]+)[\"«]", said)
    if address is None:
        return f"local {names} scram-sha-256"
    width = 128 if ":" in address[1] else 32
    return f"host {names} {address[1]}/{width} scram-sha-256"
