"""Steps that make the stage fit to be served: migrated, anonymised, neutralised, proven."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.staged.inventory import extend_inventories, judge_source
from biso_tasks.actions.staged.work import StageWork
from biso_tasks.database.connect import connect
from biso_tasks.database.keep import keep_tables
from biso_tasks.database.keep_rows import keep_rows
from biso_tasks.database.snapshot import quiet
from biso_tasks.errors import ProofFailed, StepFailed
from biso_tasks.files.patterns import Matcher
from biso_tasks.files.reading import read_tree
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.privacy.inventory.match import vouched_files
from biso_tasks.privacy.mask import Masked, mask, refresh_views
from biso_tasks.privacy.neutralise import mark, neutralise
from biso_tasks.privacy.originals import collect
from biso_tasks.privacy.prove import Proof, prove
from biso_tasks.stage.model import access

__all__ = ["ACTIONS"]


def _originals(context: Context[StageWork]) -> dict[str, Any]:
    """Hashes of production's personal values, under a key held in memory only, from the snapshot
    that is dumped: what the proof looks for afterwards."""
    work = context.work
    found = []
    inventories = []
    for number in work.copied:
        with work.original(number) as connection:
            inventory = judge_source(work, connection, number)
            keep = _kept(work) if number == 0 else ()
            said = context.site.privacy
            found.append(collect(connection, inventory, bound=said.bound, keep=keep, own=said.own))
            inventories.append(inventory)
    work.inventories, work.originals = tuple(inventories), tuple(found)
    if any(one.sampled for one in found):
        work.accept_sample()
    return {
        "columns": sum(one.personal for inventory in inventories for one in inventory),
        "values": sum(one.values for one in found),
        "sampled": any(one.sampled for one in found),
        "harmless": sum(not one.personal for inventory in inventories for one in inventory),
        "kinds": dict(
            Counter(one.kind for inventory in inventories for one in inventory if one.personal)
        ),
        "inventory": next((one.digest for one in work.said if one.complete), None),
    }


def _describe_originals(context: Context[StageWork]) -> Effects:
    said = [f"{one.label} ({len(one.columns)} rules)" for one in context.work.said]
    first = f", after {', '.join(said)}" if said else ""
    return Effects(changes=(f"nothing: judges every column by name, type and content{first}",))


def _migrate(context: Context[StageWork]) -> dict[str, Any]:
    """Not in a stand-in for a database that stays: it is empty, and remembers no migration. What
    they add must be known to privacy.toml, where there is one."""
    if not context.work.stage.main.swapped:
        return {"migrations": 0}
    applied = context.work.stage.app.migrate()
    extend_inventories(context.work)
    return {"migrations": applied}


def _describe_migrate(context: Context[StageWork]) -> Effects:
    if not context.work.stage.main.swapped:
        return Effects(changes=("nothing: the database stays as it is",))
    return Effects(changes=(f"applies pending migrations in {context.work.stage.called}",))


def _anonymize(context: Context[StageWork]) -> dict[str, Any]:
    """BISO's own anonymizer first; then whatever it leaves of what is personal."""
    work = context.work
    stage = work.stage
    facts = work.target.facts
    if facts.env != "dev":
        raise StepFailed(f"{work.target.name}: env is {facts.env!r}; the anonymizer needs 'dev'")
    extend_inventories(work)
    pending = stage.app.pending_migrations()
    stage.app.anonymize()
    done: list[Masked] = []
    for number, database in enumerate(stage.databases[: len(work.inventories)]):
        keep = _kept(work) if number == 0 else ()
        with connect(database.staged_server, autocommit=True) as connection:
            quiet(connection)
            masked = mask(
                connection,
                work.originals[number],
                work.inventories[number],
                keep=keep,
                views=False,  # refreshed when nothing is written any more: see _prove
                rewrite=context.site.privacy.rewrite,
            )
        for left in masked.left:
            context.note(f"{left.place} could not be masked: {left.reason}; {left.remedy}")
        done.append(masked)
    again = [one for one in stage.app.pending_migrations() if one not in pending]
    if again:
        raise ProofFailed(
            f"{len(again)} migration(s) are pending again in {stage.called} since it was "
            f"anonymised: {again[0]}",
            hint="nothing was swapped; name the table that remembers them as `migrations` under "
            "the environment's `database` in biso.toml, or its column harmless in privacy.toml",
        )
    cells = Counter[str]()
    for masked in done:
        cells.update({place: count for place, count in masked.cells if count})
    return {
        "masked": sum(masked.values for masked in done),
        "columns": dict(cells),
        "comments": sum(masked.comments for masked in done),
        "labels": sum(masked.labels for masked in done),
        "rewrite": context.site.privacy.rewrite,
    }


def _describe_anonymize(context: Context[StageWork]) -> Effects:
    return Effects(
        changes=(
            f"runs BISO's anonymizer in {context.work.stage.called}, then masks what it leaves",
        ),
        destroys=(f"personal data in {context.work.stage.called}",),
    )


def _scrub(context: Context[StageWork]) -> dict[str, Any]:
    return _by_plugins(context, "biso_scrub")


def _neutralize(context: Context[StageWork]) -> dict[str, Any]:
    work = context.work
    config = context.site.neutralize
    what = "anonymised" if work.anonymize else "NOT anonymised"
    for database in work.stage.databases:
        with connect(database.staged_server) as connection:
            if database is work.stage.main:
                neutralise(
                    connection,
                    config.sql,
                    dict(config.params),
                    table=config.table,
                    name=config.name,
                    value=config.value,
                )
            mark(connection, f"{what} copy of {work.origin}, run {work.run_id}")
    done = _by_plugins(context, "biso_neutralize")
    work.neutralized = True
    return {"statements": len(config.sql), "params": len(config.params), **done}


def _describe_neutralize(context: Context[StageWork]) -> Effects:
    config = context.site.neutralize
    hooks = context.work.session.hooks
    who = ["[neutralize]"] if config.sql or config.params else []
    who += hooks.implementers("biso_neutralize")
    where = context.work.stage.called
    said = f"runs {', '.join(who)} in {where}" if who else "no rules: only marks the copy"
    return Effects(changes=(said,))


def _describe_scrub(context: Context[StageWork]) -> Effects:
    who = context.work.session.hooks.implementers("biso_scrub")
    where = context.work.stage.called
    return Effects(changes=(f"runs {', '.join(who)} in {where}" if who else "no plugin scrubs",))


def _by_plugins(context: Context[StageWork], hook: str) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for plugin, changes in context.work.session.hooks.collect(hook, stage=context.stage):
        for change in changes:
            context.note(f"{plugin}: {change.what} ({change.count})")
            counts[plugin] = counts.get(plugin, 0) + change.count
    return {"plugins": counts}


def _keep(context: Context[StageWork]) -> dict[str, Any]:
    work = context.work
    server, stage = work.target_server(0), work.filled_server(0)
    tables = keep_tables(server, stage, work.config.keep_tables, cancel=context.cancel)
    single = keep_rows(server, stage, dict(work.config.keep_rows))
    for table, done in single.items():
        if done.renumbered:
            context.note(f"{table}: {done.renumbered} kept row(s) have another number than before")
    return {"rows": sum(tables.values()) + sum(one.rows for one in single.values())}


def _describe_keep(context: Context[StageWork]) -> Effects:
    config = context.work.config
    wanted = [*config.keep_tables, *(f"{table} ({which})" for table, which in config.keep_rows)]
    said = f"puts {context.work.target.name}'s own rows of {', '.join(wanted)} into the stage"
    return Effects(changes=(said if wanted else "no rows to keep",))


def _prove(context: Context[StageWork]) -> dict[str, Any]:
    """The stage as it will be served, searched for survivors. Materialized views are refreshed
    first, as the last of the writes: what anonymizer, mask, plugins and kept rows took out of the
    tables would stay in a view that was refreshed before."""
    work = context.work
    proofs: list[Proof] = []
    for number, original in enumerate(work.originals):
        database = work.stage.databases[number]
        with connect(database.staged_server, autocommit=True) as connection:
            quiet(connection)
            refresh_views(connection)
            proofs.append(
                prove(
                    connection,
                    original,
                    work.inventories[number],
                    keep=_kept(work) if number == 0 else (),
                    keep_rows=_kept_rows(work) if number == 0 else {},
                    files=_files(work) if number == 0 else (),
                    settings=[
                        (f"database setting {name}", value)
                        for _, name, value in work.source_settings(number).values
                    ],
                    harmless=tuple(one.name for said in work.said for one in said.schema),
                    vouched=vouched_files(work.said),
                )
            )
    leaks = tuple(leak for proof in proofs for leak in proof.leaks)
    work.proof = Proof(
        columns=sum(proof.columns for proof in proofs),
        values=sum(proof.values for proof in proofs),
        files=sum(proof.files for proof in proofs),
        leaks=leaks,
        sampled=any(proof.sampled for proof in proofs),
        unread=tuple(place for proof in proofs for place in proof.unread),
    )
    if leaks:
        places = "; ".join(f"{leak.place} ({leak.kind})" for leak in leaks[:10])
        more = f" and {len(leaks) - 10} more" if len(leaks) > 10 else ""
        raise ProofFailed(
            f"personal data of production survived in {work.stage.called}: {places}{more}",
            hint=("" if work.stage.in_place else "nothing was swapped and the stage is discarded; ")
            + "let a plugin scrub these places (biso_scrub), skip the file ([refresh.files]; of "
            "one that is unreadable privacy.toml may say by its whole name why it is harmless), or "
            "take the value out in production, as what stands in a function, a view or another "
            "definition must be",
        )
    canaries = sum(original.canaries.count for original in work.originals)
    return {
        **work.proof.as_json(),
        "canaries": canaries,
        "sampled": work.proof.sampled,
        "unread": list(work.proof.unread),
    }


def _describe_prove(context: Context[StageWork]) -> Effects:
    return Effects(
        changes=(
            "refreshes materialized views; otherwise nothing: one survivor of production's data "
            "ends the run (exit 4)",
        )
    )


def _files(work: StageWork) -> Iterator[tuple[str, Callable[[], bytes]]]:
    stage, layout = work.stage, work.target.layout
    aside = f"{layout.in_place if stage.in_place else layout.stage}/unreadable"
    excluded = Matcher(stage.excludes)
    for name, read in read_tree(access(work.target), stage.datadir, aside):
        if not excluded(name):
            yield name, read


def _kept(work: StageWork) -> tuple[str, ...]:
    """Tables whose rows are the test instance's own, as the inventory names them."""
    return tuple(one.removeprefix("public.") for one in work.config.keep_tables)


def _kept_rows(work: StageWork) -> dict[str, str]:
    """The conditions of the test instance's own rows, by table as the inventory names it."""
    return {table.removeprefix("public."): which for table, which in work.config.keep_rows}


def _verify(context: Context[StageWork]) -> dict[str, Any]:
    """What plugins find in the stage; one finding that is not ok ends the run."""
    findings = [
        finding
        for _, given in context.work.session.hooks.collect("biso_verify", stage=context.stage)
        for finding in given
    ]
    bad = [one for one in findings if not one.ok]
    if bad:
        raise ProofFailed(
            f"{context.work.stage.called} did not pass: "
            + "; ".join(f"{one.name}: {one.detail}" for one in bad),
            hint="; ".join(one.remedy for one in bad if one.remedy) or "nothing was swapped",
        )
    return {"findings": len(findings)}


def _describe_verify(context: Context[StageWork]) -> Effects:
    who = context.work.session.hooks.implementers("biso_verify")
    return Effects(changes=(f"nothing: asks {', '.join(who)}" if who else "nothing to ask",))


ACTIONS = (
    Action(
        "originals",
        _originals,
        "Hash production's personal values, in memory only",
        _describe_originals,
    ),
    Action("migrate", _migrate, "Apply pending migrations in the stage", _describe_migrate),
    Action("anonymize", _anonymize, "Anonymise the stage", _describe_anonymize),
    Action("scrub", _scrub, "Let plugins remove what is left", _describe_scrub),
    Action("keep", _keep, "Keep the test instance's own rows", _describe_keep),
    Action("neutralize", _neutralize, "Cut the stage off from the outside", _describe_neutralize),
    Action("verify", _verify, "Ask plugins what they find in the stage", _describe_verify),
    Action("prove", _prove, "Search the stage for survivors", _describe_prove),
)
