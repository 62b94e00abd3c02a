"""Everything that is looked at, and refused, before a refresh from a live instance is planned."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from biso_tasks.actions.live.readable import require_readable
from biso_tasks.actions.staged.absent import absent_note, exists, part_absent
from biso_tasks.actions.staged.apart import require_apart
from biso_tasks.actions.staged.place import require_stage_place
from biso_tasks.actions.staged.work import (
    StageSurvey,
    identity,
    not_compared,
    require_kept_tables,
    require_known,
    require_pair,
    url_note,
)
from biso_tasks.database.client import require_passable
from biso_tasks.database.facts import ServerFacts, probe
from biso_tasks.database.pair import pick_dump, pick_load
from biso_tasks.database.server import Server
from biso_tasks.errors import Refused
from biso_tasks.files.sync import method
from biso_tasks.host.route import choose_route, route_note
from biso_tasks.instance import services
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import require_live
from biso_tasks.instance.mounts import require_fresh_binds
from biso_tasks.session import Session
from biso_tasks.stage import guards
from biso_tasks.stage.exposure import require_unserved_by_config
from biso_tasks.stage.in_place_needs import require_in_place
from biso_tasks.stage.migrations import compare_migrations
from biso_tasks.stage.model import REFRESHED, Content, Stage, StagedDatabase, access, server, staged
from biso_tasks.stage.model import in_place as without_stage
from biso_tasks.stage.neutral import require_neutral, settings_of
from biso_tasks.stage.own_role import with_roles
from biso_tasks.stage.space import require_space, stage_size
from biso_tasks.stage.swap import require_no_intent
from biso_tasks.stage.view import InstanceView

__all__ = ["Survey", "contents", "survey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey(StageSurvey):
    """`sources` and their facts are by the number of the stage's database; the source of a stand-in
    is the target's live one."""

    source: Instance
    sources: tuple[Server, ...]
    source_facts: tuple[ServerFacts, ...]

    def fingerprint(self) -> dict[str, Any]:
        return {
            self.source.name: identity(self.source),
            **StageSurvey.fingerprint(self),
        }

    def clients(self, number: int) -> tuple[str, str]:
        """The directories of the client programs to dump and to load database `number` with."""
        source, target = self.source_facts[number], self.target_facts[number]
        dump = pick_dump(source, target)
        assert dump is not None
        load = pick_load(target, dump)
        assert load is not None
        return dump.bindir, load.bindir


def survey(
    session: Session,
    source_name: str,
    target_name: str,
    *,
    run: str,
    anonymize: bool,
    require_free: Callable[[Instance], None],
    in_place: bool = False,
    served: bool = True,
) -> Survey:
    """Look at both instances and refuse what must not, or cannot, be refreshed. A test instance may
    be its own source (`anonymize`). `in_place`: without a stage. Without `served` the stage is not
    swapped in: nothing of the target's own comes into it.

    Nothing is changed. Raises Refused (exit 3) naming the cause and the remedy.
    """
    target_environment = session.environment(target_name)
    guards.not_production(target_environment, "refresh-test")
    # What does not depend on each other is asked at the same time: each question is a round trip.
    with ThreadPoolExecutor(8) as pool:
        source, target = pool.map(session.instance, (source_name, target_name))
        require_live(source.layout, source.environment)
        require_live(target.layout, target.environment)
        require_free(target)
        guards.env_fits(source, anonymize=False)
        guards.env_fits(target, anonymize=anonymize)
        if not in_place:
            guards.config_goes_on(target)
        settings = settings_of(session.site, target.environment)
        require_neutral(target.facts, settings, target.name)
        require_no_intent(target)
        databases, absent = part_absent(target, staged(target, contents(session, source, target)))
        if in_place:
            databases = without_stage(databases)
        roles = pool.submit(with_roles, target.environment, () if in_place else databases)
        sources = tuple(_source_of(source, target, database) for database in databases)
        for one in (*sources, *(database.server for database in databases)):
            require_passable(one)
        _require_sources(source, databases, sources)
        if source_name != target_name:
            # All that either config.php names, copied or not: a stand-in is made beside the
            # target's log database, which must not be production's.
            theirs = [database.server for database in staged(source)]
            guards.distinct(source, target, theirs, [database.server for database in databases])
        apart = pool.submit(require_apart, session, target, databases, compared=source_name)
        unserved = pool.submit(require_unserved_by_config, target)
        place = pool.submit(require_stage_place, session, target, () if in_place else REFRESHED)
        migrations = pool.submit(
            compare_migrations, sources[0], databases[0].server, target.app, source.app
        )
        route = pool.submit(choose_route, source.host, target.host, session.site.refresh.route)
        way = pool.submit(method, access(source), access(target))
        readable = pool.submit(require_readable, session, source, anonymize=anonymize)
        if not in_place:
            size = pool.submit(stage_size, source, target)
        if session.site.refresh.strategy == "swap":
            require_fresh_binds(target.host, target.environment, target.layout)
        running = pool.submit(services.running, target.host, target.environment)
        in_maintenance = pool.submit(target.in_maintenance)
        record = pool.submit(target.state.read, "instance")
        url_notes = pool.submit(url_note, target) if served else None
        source_facts = tuple(pool.map(probe, sources))
        if served:
            require_kept_tables(target, databases[0].server, session.site.refresh)
        target_facts = tuple(pool.map(probe, [database.server for database in databases]))
        not_asked = apart.result()
        unserved.result()
        place.result()
        readable.result()
        own, unowned = roles.result()
        notes = (*unowned, *(absent_note(target, one) for one in absent))
        if in_place:
            notes += require_in_place(target, databases, source_facts, target_facts)
        else:
            require_pair(target, databases, source_facts, target_facts)
            require_space(target, size.result(), source_facts[0])
        compared = migrations.result()
        require_known(source.name, target, compared.unknown)
        if not compared.by and source_name != target_name:
            notes = (*notes, not_compared(source.name, target.name))
        return Survey(
            source=source,
            target=target,
            stage=Stage(target, run, own or databases, in_place, absent=absent, settings=settings),
            sources=sources,
            source_facts=source_facts,
            target_facts=target_facts,
            route=route.result(),
            method=way.result(),
            services=running.result(),
            in_maintenance=in_maintenance.result(),
            previous=(record.result() or {}).get("previous"),
            notes=(
                *notes,
                *route_note(source.host, target.host, session.site.refresh.route),
                *not_asked,
                *(url_notes.result() if url_notes else ()),
            ),
        )


def contents(session: Session, source: Instance, target: Instance) -> dict[str, Content]:
    """What each further database of the target is filled with, by its config.php key: as plugins
    and `refresh.log_database` say. One that the source does not have gets a stand-in."""
    said = session.site.refresh.log_database
    wanted: dict[str, str] = {target.environment.key("log.db"): said}
    view = InstanceView(target)
    for _, extras in session.hooks.collect("biso_databases", instance=view):
        for extra in extras:
            wanted[extra.key] = extra.refresh or said
    fill: dict[str, Content] = {"skip": "live-schema", "schema": "schema", "copy": "copy"}
    return {
        key: fill[how] if source.facts.dsn(key) is not None else "live-schema"
        for key, how in wanted.items()
    }


def _require_sources(
    source: Instance, databases: tuple[StagedDatabase, ...], sources: tuple[Server, ...]
) -> None:
    for database, one in list(zip(databases, sources, strict=True))[1:]:
        if database.swapped and not exists(one):
            raise Refused(
                f"{source.name}: config.php names {one.dsn.dbname!r} under {database.key!r}, and "
                "there is no such database to be copied",
                hint='correct it there, or leave it out: log_database = "skip" under [refresh]',
            )


def _source_of(source: Instance, target: Instance, database: StagedDatabase) -> Server:
    if database.key == target.environment.key("gaia.db"):
        return server(source, source.facts.database)
    dsn = source.facts.dsn(database.key)
    if database.swapped and dsn is not None:
        return server(source, dsn)
    return database.server
