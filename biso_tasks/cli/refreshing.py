"""The commands that change what a test instance serves: refresh-test, anonymize, rollback."""

from __future__ import annotations

from typing import Any

from biso_tasks.actions.refresh import Refresh
from biso_tasks.actions.swapping import Rollback
from biso_tasks.cli.call import Call
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
    session = call.session()
    config = session.site.refresh
    wanted = source or config.source
    if _kind(wanted) not in config.sources_allowed:
        raise Refused(
            f"this site does not allow a refresh from {wanted!r}",
            hint="refresh.sources_allowed: " + ", ".join(config.sources_allowed),
        )
    if wanted != "live":
        raise UsageError(
            f"a refresh from the backup set {wanted!r} is not built yet", hint="use --source live"
        )
    if no_anonymize and config.anonymize == "required":
        raise Refused(
            '--no-anonymize: the site says anonymize = "required", which no flag beats',
            hint="refresh without the flag",
        )
    anonymize = bool(config.anonymize) and not no_anonymize
    work = Refresh(
        session,
        "refresh-test",
        call.run_id,
        places={"source": from_ or config.from_, "target": to or config.to},
        anonymize=anonymize,
        keep_stage=keep_stage,
        in_place=config.strategy == "in-place",
    )
    if work.in_place:
        _require_changes_apply(session.site)
    _refresh(call, session, work)


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
    target = work.places["target"]
    facts = work.facts
    header = (
        ("from", f"{facts.source.name}: {facts.source.host.address or 'this machine'}, database "
                 f"{facts.source.facts.database.dbname}"),
        ("to", f"{facts.target.name}: {facts.target.host.address or 'this machine'}, database "
               f"{facts.target.facts.database.dbname}, {facts.target.layout.webroot}"),
        ("personal data", "anonymised and proven before anybody sees it" if work.anonymize
         else "NOT anonymised: everybody on test will see it"),
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
    call.run_recipe(session, work, recipe=recipe, confirm_name=target, header=header, facts=said)
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
    work = Rollback(session, "rollback", call.run_id, places={"target": name})
    work.look_again()
    call.document["source"] = "previous"

    def said() -> dict[str, Any]:
        swapped = work.swapped
        return {
            "downtime_seconds": None if swapped is None else round(swapped.downtime, 3),
            "previous": None if swapped is None else work.facts.databases[0].previous,
        }

    call.run_recipe(session, work, confirm_name=name, facts=said)
    if work.swapped is not None:
        call.output.text(
            f"{name} serves its previous instance again; it was away for "
            f"{work.swapped.downtime:.1f} s. Once more `biso rollback` goes back."
        )


def _kind(source: str) -> str:
    return source if source in ("live", "latest", "released") else "set"
