"""What is refused before anything is changed. None of these can be switched off: no flag and no
key of biso.toml reaches them.

Environments are compared by what they are (a lock taken in one database and looked for in the
other, a running machine's boot id with device and inode), not by what the config calls them: an
alias, a tunnel or a copied config.php must not lead a refresh to production.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

from biso_tasks.config.model import Environment
from biso_tasks.database.connect import NotConnected, connect
from biso_tasks.database.identity import same_cluster
from biso_tasks.database.server import Server
from biso_tasks.errors import Refused
from biso_tasks.instance.instance import Instance

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = ["config_goes_on", "distinct", "env_fits", "not_production", "overlaps"]


def not_production(environment: Environment, task: str) -> None:
    """Raises Refused where the target's role is production. First of all: nothing is contacted."""
    if environment.role == "production":
        raise Refused(
            f"{environment.name} is a production environment: {task} never writes to one, whatever "
            "the config or a flag says",
            hint="swap `from` and `to`; to put a backup into production, use `restore --to "
            f"{environment.name}`",
        )


def env_fits(instance: Instance, *, anonymize: bool) -> None:
    """Raises Refused where env in config.php does not fit the role that biso.toml gives."""
    env, environment = instance.facts.env, instance.environment
    where = f"{instance.name}: {environment.webroot}/{environment.config} sets env to {env!r}"
    if environment.role == "production" and not instance.facts.is_production:
        raise Refused(
            f"{where}, but biso.toml gives it the role production",
            hint="are two environments swapped in biso.toml? correct the one that is wrong",
        )
    if environment.role == "test" and instance.facts.is_production:
        raise Refused(
            f"{where}: this is a production instance, whatever biso.toml calls it",
            hint="are two environments swapped in biso.toml? a test instance sets env to 'dev'",
        )
    if anonymize and environment.role == "test" and env != "dev":
        raise Refused(
            f"{where}, and BISO's anonymizer works only where it is 'dev'",
            hint="set env to 'dev' in the test instance's config.php",
        )


def config_goes_on(instance: Instance) -> None:
    """Raises Refused where config.php ends the program: in a stage it is required by a file that
    sets the stage's places after it."""
    if instance.facts.exits:
        environment = instance.environment
        raise Refused(
            f"{instance.name}: {environment.webroot}/{environment.config} ends with `exit` or "
            "`die`, so that a stage's own places could not be set after it",
            hint="take it out of the file (`return;` may stay)",
        )


def overlaps(source: Instance, target: Instance) -> str:
    """Why the two are not two, by their places; "" where they are."""
    one, other = source.layout, target.layout
    if one.machine != other.machine:
        return ""
    pairs = {
        "webroot": (one.webroot_id, other.webroot_id),
        "data dir": (one.datadir_id, other.datadir_id),
    }
    for what, (left, right) in pairs.items():
        if left and left == right:
            path = other.webroot if what == "webroot" else other.datadir
            return f"both have the same {what}, {path}"
    # By identity, not by name: two containers of one machine may use the same paths.
    for upper, lower in ((source, target), (target, source)):
        if upper.layout.webroot_id in lower.layout.above:
            return f"{lower.name} lies inside the webroot of {upper.name}"
        if upper.layout.datadir_id in lower.layout.above:
            return f"{lower.name} lies inside the data dir of {upper.name}"
    return ""


def distinct(
    source: Instance,
    target: Instance,
    source_servers: list[Server],
    target_servers: list[Server],
) -> None:
    """Raises Refused where source and target share a database, a webroot or a data dir. The main
    databases come first; of the others, one that cannot be reached is not compared.

    One cluster with two databases is legitimate; one database is not.
    """
    why = overlaps(source, target)
    if why:
        raise Refused(
            f"{source.name} and {target.name} are not two instances: {why}",
            hint="correct their `ssh`, `webroot` or config.php; nothing was touched",
        )
    with ExitStack() as at_source, ExitStack() as at_target, ThreadPoolExecutor(1) as pool:
        # Beside each other: a first connection opens a tunnel on the way.
        connecting = pool.submit(lambda: list(_connected(at_target, target_servers)))
        theirs, ours = list(_connected(at_source, source_servers)), connecting.result()
        for left, left_connection in theirs:
            for right, right_connection in ours:
                if left.dsn.dbname == right.dsn.dbname and same_cluster(
                    left_connection, right_connection
                ):
                    raise Refused(
                        f"{target.name}'s config.php leads to {source.name}'s database "
                        f"{left.dsn.dbname!r} (a lock taken in one was seen in the other)",
                        hint=f"correct the database in {target.environment.webroot}/"
                        f"{target.environment.config}; an alias or a tunnel counts as what it "
                        "leads to",
                    )


def _connected(stack: ExitStack, servers: list[Server]) -> Iterator[tuple[Server, Connection]]:
    for number, server in enumerate(servers):
        try:
            yield server, stack.enter_context(connect(server))
        except NotConnected:
            if number == 0:
                raise
