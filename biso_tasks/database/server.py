"""A PostgreSQL server as one instance uses it, and the words that start its client programs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from biso_tasks.errors import Refused
from biso_tasks.host.alive import SILENCE
from biso_tasks.host.protocol import Host
from biso_tasks.values import Dsn

__all__ = ["Server", "conninfo"]

APPLICATION = "biso-tasks"


@dataclass(frozen=True, slots=True)
class Server:
    """`dsn` is the application's role and live database as seen from `host`.

    `prefix` is put before client programs, for clients inside a container:
    ("docker", "compose", "-f", "…", "exec", "-T", "db"). `admin_user` creates and renames databases
    where the application's role may not; with `admin_run_as`, psql runs as that login through
    `sudo -n`. `bindir` holds the client programs; "" takes those on the PATH. `admin_socket` is
    where the admin's psql connects: "" is the client's default socket, or `dsn.host` where that is
    a socket directory.
    """

    host: Host
    dsn: Dsn
    prefix: tuple[str, ...] = ()
    admin_user: str | None = None
    admin_run_as: str | None = None
    bindir: str = ""
    admin_socket: str = ""

    def at(self, dbname: str) -> Server:
        """The same server and role, another database."""
        return replace(self, dsn=replace(self.dsn, dbname=dbname))

    def program(self, name: str) -> str:
        return f"{self.bindir}/{name}" if self.bindir else name

    def client_words(self, program: str, *options: str) -> tuple[str, ...]:
        """The client program as the application's role at `dsn.dbname`; it never asks for a
        password (-w), which it finds in PGPASSFILE (see client.py)."""
        return self._words(program, self.dsn.host, self.dsn.user, self.dsn.dbname, options)

    def admin_words(self, program: str, dbname: str, *options: str) -> tuple[str, ...]:
        """The client program as the admin role, over the socket where there is one."""
        socket = self.admin_socket or (self.dsn.host if self.dsn.host.startswith("/") else "")
        words = self._words(program, socket, self.admin_user or "postgres", dbname, options)
        return (*self.prefix, *words)

    def _words(
        self, program: str, host: str, user: str, dbname: str, options: tuple[str, ...]
    ) -> tuple[str, ...]:
        # --x=y throughout: a value that starts with a dash stays a value
        where = (f"--host={host}",) if host else ()
        return (
            self.program(program),
            *where,
            f"--port={self.dsn.port}",
            f"--username={user}",
            "--no-password",
            f"--dbname={conninfo(dbname)}",
            *options,
        )

    def __str__(self) -> str:
        return f"database {self.dsn.dbname!r} on {self.host.name}"


def conninfo(dbname: str) -> str:
    """A connection string that names just this database. A bare name would not do: libpq reads one
    with "=" in it, or with a URI's beginning, as a connection string of its own."""
    if "\0" in dbname:
        raise Refused(
            f"{dbname!r} cannot be the name of a database",
            hint="correct the dbname in config.php or biso.toml",
        )
    quoted = dbname.replace("\\", "\\\\").replace("'", "\\'")
    return (
        f"dbname='{quoted}' application_name={APPLICATION} connect_timeout={SILENCE} "
        "keepalives_idle=30 keepalives_interval=10 keepalives_count=6"
    )
