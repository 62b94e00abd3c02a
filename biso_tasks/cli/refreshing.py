"""The commands that change what a test instance serves: refresh-test, anonymize, rollback."""

from __future__ import annotations

from typing import Any

from biso_tasks.actions.live.refresh import Refresh
from biso_tasks.actions.sets.restore import FromSet, describe_target, require_undamaged
from biso_tasks.actions.sets.stores import find_store
from biso_tasks.actions.sets.trust import require_released, require_trusted
from biso_tasks.actions.staged.swapping import Rollback
from biso_tasks.cli.baselines import keep_baseline
from biso_tasks.cli.call import Call
from biso_tasks.cli.restoring import said as said_of_set
from biso_tasks.config.model import Site
from biso_tasks.errors import ConfigError, Refused, UsageError
from biso_tasks.instance.instance import Instance
from biso_tasks.session import Session
from biso_tasks.stage import guards

__all__ = ["anonymize", "refresh_test", "rollback"]


def refresh_test(
    call: Call,
    from_: str = "",
    to: str = "",
    source: str = "",
    no_anonymize: bool = False,
    keep_stage: bool = False,
) -> None:
    session = call.session(on=to)
    config = session.site.refresh
    wanted = source or config.source
    if _kind(wanted) not in config.sources_allowed:
        raise Refused(
            f"this site does not allow a refresh from {wanted!r}",
            hint="refresh.sources_allowed: " + ", ".join(config.sources_allowed),
        )
    if no_anonymize and config.anonymize == "required":
        raise Refused(
            '--no-anonymize: the site says anonymize = "required", which no flag beats',
            hint="refresh without the flag",
        )
    anonymize = bool(config.anonymize) and not no_anonymize
    target = to or config.to
    guards.not_production(session.environment(target), "refresh-test")
    if wanted != "live":
        own = session.site.backup.environment
        if wanted == "released" and from_:
            raise UsageError(
                f"--from {from_} and --source released: a release says itself whose data it is",
                hint="leave --from out; `biso release --env` chooses whose data is released",
            )
        if from_ not in ("", own):
            raise UsageError(
                f"--from {from_} and --source {wanted}: backup sets are those of {own}",
                hint="leave --from out, or set backup.environment in biso.toml",
            )
        _from_set(call, session, wanted, target, anonymize, keep_stage)
        return
    source_name = session.environment(from_ or config.from_).name
    if source_name == target:
        raise Refused(
            f"{target} would be refreshed from itself: source and target are the same environment",
            hint="--from names production; `biso anonymize` anonymises a test instance by itself",
        )
    work = Refresh(
        session,
        "refresh-test",
        call.run_id,
        places={"source": source_name, "target": target},
        anonymize=anonymize,
        keep_stage=keep_stage,
        in_place=config.strategy == "in-place",
    )
    if work.in_place:
        _require_changes_apply(session.site)
    _refresh(call, session, work)


def _from_set(
    call: Call, session: Session, word: str, target: str, anonymize: bool, keep_stage: bool
) -> None:
    if session.site.refresh.strategy == "in-place":
        raise Refused(
            'strategy = "in-place" refreshes from the live instance only',
            hint='use --source live, or strategy = "swap"',
        )
    call.recipe("refresh-from-set")
    store, id = find_store(session, word, "", target=target)
    backup = store.read(id)
    require_undamaged(backup)
    if word == "released":
        call.document["release"] = require_released(session.site, store, backup).as_dict()
    elif anonymize and not backup.manifest.personal:
        require_trusted(session.site, store, backup)
    work = FromSet(
        session,
        "refresh-test",
        call.run_id,
        places={"target": target},
        # What was anonymised already is not searched for the values of anonymised people.
        anonymize=anonymize and backup.manifest.personal,
        keep_stage=keep_stage,
        store=store,
        id=id,
        whole=False,
        decided_on=backup,
    )
    work.look_again()
    work.bind_values()
    told = _PERSONAL[work.anonymize] if work.raw or work.anonymize else _PROVEN
    header = (*describe_target(work), ("personal data", told))
    call.document["source"] = id
    call.run_recipe(
        session,
        work,
        recipe="refresh-from-set",
        header=header,
        facts=lambda: said_of_set(work),
    )
    if work.swapped is not None:
        call.output.text(
            f"{target} serves the {'' if work.raw else 'anonymised '}copy of {id}; it was away "
            f"for {work.swapped.downtime:.1f} s. `biso rollback --env {target}` brings the old one "
            "back."
        )
        if work.config.baseline:
            keep_baseline(call, session, target)


_PROVEN = "anonymised and proven before the set was sealed"
_PERSONAL = {
    True: "anonymised and proven before anybody sees it",
    False: "NOT anonymised: everybody on test will see it",
}


def _require_changes_apply(site: Site) -> None:
    """A step that a site puts into the one recipe must not be lost with the other, unnoticed."""
    if any(change.name == "refresh-test" for change in site.recipes):
        raise ConfigError(
            f'{site.file.name}: recipes.refresh-test is changed, but strategy = "in-place" runs '
            "the recipe refresh-in-place",
            hint="put the changes under recipes.refresh-in-place; `biso refresh-test --plan` shows "
            "its steps",
        )


def anonymize(call: Call, env: str) -> None:
    session = call.session()
    name = env or session.site.refresh.to
    work = Refresh(session, "anonymize", call.run_id, places={"source": name, "target": name})
    _refresh(call, session, work)


def _refresh(call: Call, session: Session, work: Refresh) -> None:
    guards.not_production(session.environment(work.places["target"]), work.task)
    work.look_again()
    work.bind_values()
    if work.in_place:
        work.notes.insert(0, _in_place_note(work.facts.target))
    if work.task == "refresh-test" and work.source.environment.role == "test":
        work.notes.insert(0, f"{work.source.name} is a test environment: what it holds is copied, "
                             "not production's")  # fmt: skip
    target = work.places["target"]
    facts = work.facts
    header = (
        ("from", f"{facts.source.name}: {facts.source.host.address or 'this machine'}, database "
                 f"{facts.source.facts.database.dbname}"),
        ("to", f"{facts.target.name}: {facts.target.host.address or 'this machine'}, database "
               f"{facts.target.facts.database.dbname}, {facts.target.layout.webroot}"),
        ("personal data", _PERSONAL[work.anonymize]),
    )  # fmt: skip
    call.document["source"] = "live" if work.task == "refresh-test" else target

    def said() -> dict[str, Any]:
        done: dict[str, Any] = {
            "downtime_seconds": None,
            "previous": None,
            "proof": None if work.proof is None else work.proof.as_json(),
        }
        if work.away is not None:
            done["downtime_seconds"] = round(work.away, 3)
        if work.swapped is not None:
            done["downtime_seconds"] = round(work.swapped.downtime, 3)
            done["previous"] = facts.stage.main.previous
        return done

    recipe = "refresh-in-place" if work.in_place else ""
    call.run_recipe(session, work, recipe=recipe, header=header, facts=said)
    if work.away is not None:
        call.output.text(
            f"{target} serves the {'anonymised ' if work.anonymize else ''}copy of "
            f"{facts.source.name}, made in place; it was away for {work.away:.1f} s. There is no "
            "old instance to go back to."
        )
    if work.swapped is not None:
        call.output.text(
            f"{target} serves the {'anonymised ' if work.anonymize else ''}copy of "
            f"{facts.source.name}; it was away for {work.swapped.downtime:.1f} s. "
            f"`biso rollback --env {target}` brings the old one back."
        )
        if work.task == "refresh-test" and work.config.baseline:
            keep_baseline(call, session, target)


def _in_place_note(target: Instance) -> str:
    name = target.name
    return (
        f'strategy = "in-place": {name} is not staged but overwritten where it stands. It is in '
        "maintenance with its services stopped from `offline` to `online`, and until `anonymize` "
        "production's data is in its live database. If a step from `begin` on fails, it stays in "
        "maintenance (exit 6) until `biso recover` puts back the dump that was taken first. "
        "Afterwards there is no rollback"
    )


def rollback(call: Call, env: str) -> None:
    session = call.session()
    name = env or session.site.refresh.to
    call.require_named(session.environment(name))
    work = Rollback(session, "rollback", call.run_id, places={"target": name})
    work.look_again()
    work.bind_values()
    work.notes = list(work.facts.notes)
    call.document["source"] = "previous"

    def said() -> dict[str, Any]:
        swapped, facts = work.swapped, work.facts
        # A restore of files alone left no previous database.
        main = facts.databases[0] if facts.databases else None
        kept = main.previous if main else facts.target.layout.previous
        return {
            "downtime_seconds": None if swapped is None else round(swapped.downtime, 3),
            "previous": None if swapped is None else kept,
        }

    call.run_recipe(session, work, facts=said)
    if work.swapped is not None:
        call.output.text(
            f"{name} serves its previous instance again; it was away for "
            f"{work.swapped.downtime:.1f} s. Once more `biso rollback` goes back."
        )


def _kind(source: str) -> str:
    return source if source in ("live", "latest", "released") else "set"
