"""What a site must have for the strategy "in-place", asked before anything is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from biso_tasks.database.connect import connect
from biso_tasks.database.empty import obstacles, staying
from biso_tasks.database.facts import ServerFacts, probe
from biso_tasks.database.pair import check_in_place, pick_dump, pick_load
from biso_tasks.database.server import Server
from biso_tasks.errors import Refused, StepFailed
from biso_tasks.instance.instance import Instance
from biso_tasks.stage.model import StagedDatabase
from biso_tasks.stage.space import require_space_in_place

__all__ = ["own_clients", "require_in_place"]


def require_in_place(
    target: Instance,
    databases: Sequence[StagedDatabase],
    sources: Sequence[ServerFacts],
    targets: Sequence[ServerFacts],
) -> tuple[str, ...]:
    """Raises Refused where these databases could not be emptied, filled or put back, or a dump of
    them has no room. Gives notes on what stays otherwise than in the source."""
    problems: list[str] = []
    for number, database in enumerate(databases):
        with connect(database.server) as connection:
            connection.execute("SET TRANSACTION READ ONLY")
            kept = {one.name: one.schema for one in staying(connection)}
            cannot = obstacles(connection)
        problems += check_in_place(sources[number], targets[number], staying=kept, obstacles=cannot)
    if problems:
        raise Refused(
            f"{target.name} cannot be refreshed in place: " + "; ".join(dict.fromkeys(problems)),
            hint="nothing was touched; mend what is named, or give the application's role CREATEDB "
            'and use strategy = "swap"',
        )
    require_space_in_place(target, targets)
    return tuple(
        f"{there.dbname} keeps its own locale {there.collate}; {one.dbname} has {one.collate}, so "
        "that texts may be sorted otherwise"
        for one, there, _ in zip(sources, targets, databases, strict=False)
        if (one.provider, one.collate, one.ctype, one.icu_locale)
        != (there.provider, there.collate, there.ctype, there.icu_locale)
    )


def own_clients(server: Server) -> tuple[Server, Server]:
    """The server with the programs that dump its own databases, and with those that load such a
    dump. Raises StepFailed where there are none."""
    facts = probe(server)
    dumping = pick_dump(facts, facts)
    loading = None if dumping is None else pick_load(facts, dumping)
    if dumping is None or loading is None:
        raise StepFailed(
            f"{server.host.name} has no usable pg_dump, pg_restore and psql",
            hint=f"install postgresql-client-{facts.major} there",
        )
    return replace(server, bindir=dumping.bindir), replace(server, bindir=loading.bindir)
