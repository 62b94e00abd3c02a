"""Databases that config.php names and that are not there: a log database that nobody made."""

from __future__ import annotations

from collections.abc import Sequence

from biso_tasks.database.connect import NotConnected, connect
from biso_tasks.database.server import Server
from biso_tasks.errors import Refused
from biso_tasks.instance.instance import Instance
from biso_tasks.stage.model import StagedDatabase

__all__ = ["absent_note", "exists", "part_absent"]

Databases = tuple[StagedDatabase, ...]


def part_absent(
    target: Instance, databases: Sequence[StagedDatabase]
) -> tuple[Databases, Databases]:
    """Those that are there, and those that are not and need not be, since nothing takes their
    place. Raises Refused where something should, and NotConnected where a server does not answer.
    """
    there: list[StagedDatabase] = []
    absent: list[StagedDatabase] = []
    for number, database in enumerate(databases):
        if not number or exists(database.server):
            there.append(database)
        elif not database.swapped:
            absent.append(database)
        else:
            dsn = database.server.dsn
            raise Refused(
                f"{target.name}: config.php names {dsn.dbname!r} under {database.key!r}, and there "
                "is no such database that another one could take the place of",
                hint=f"make it, as an administrator of that server: createdb --port={dsn.port} "
                f'--owner={dsn.user} {dsn.dbname}; or leave it out: log_database = "skip" under '
                "[refresh]",
            )
    return tuple(there), tuple(absent)


def exists(server: Server) -> bool:
    """Whether the database is there. Raises NotConnected where that cannot be told."""
    try:
        with connect(server):
            return True
    except NotConnected as error:
        if error.reason == "database":
            return False
        raise


def absent_note(target: Instance, database: StagedDatabase) -> str:
    """What a plan says of one that is not there."""
    return (
        f"{target.name} has no database {database.live!r}, which its config.php names under "
        f"{database.key!r}; the stage gets none either"
    )
