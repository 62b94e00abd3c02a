"""The commands that look at backup sets, and at one of them; pins."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from biso_tasks.actions.doctor.environment import dotted
from biso_tasks.actions.doctor.sets import ages
from biso_tasks.actions.schedule.since import timers_since
from biso_tasks.actions.sets.set_age import stale
from biso_tasks.actions.sets.stores import (
    find_store,
    offered_releases,
    own_store,
    visited_store,
)
from biso_tasks.backup.manifest import Manifest
from biso_tasks.backup.proof import ProofRecord
from biso_tasks.backup.store import Store, StoredSet
from biso_tasks.cli.call import Call
from biso_tasks.config.duration import duration
from biso_tasks.database.facts import ServerFacts
from biso_tasks.errors import UsageError
from biso_tasks.files.space import human
from biso_tasks.session import Session, lock_owner
from biso_tasks.ui.table import Cell, table

__all__ = ["list_sets", "pin", "show", "unpin"]


def list_sets(call: Call, env: str, from_: str) -> None:
    session = call.session(observed=False)
    stores = [visited_store(session, from_)[0]] if from_ else _stores(session, env)
    store = stores[0]
    found = [one for each in stores for one in each.list() if env in ("", one.environment)]
    found.sort(key=lambda one: (one.id, one.state))
    call.document["sets"] = [_as_json(one) for one in found]
    now = datetime.now(UTC)
    rows: list[tuple[Cell, ...]] = [
        (
            one.id,
            (one.state, _STYLES.get(one.state, "")),
            _age(now - one.moment),
            human(one.size) if one.manifest else "",
            ", ".join(one.areas),
            _remarks(one, now),
        )
        for one in found
    ]
    if rows:
        call.text(table(rows, head=("set", "state", "age", "size", "areas", "")))
    else:
        call.text(f"{store} holds no set yet: `biso backup` makes one")
    if not from_:
        call.document["stale"] = list(_stale(session, found, env, now))
        for line in call.document["stale"]:
            call.text(f"! {line}")


def _stores(session: Session, env: str) -> list[Store]:
    """Of a site that takes releases alone: these; else the environment's own, with the releases
    that are made there."""
    site = session.site
    alone = not env and site.refresh.sources_allowed == ("released",)
    stores = [] if alone else [own_store(session, env or site.backup.environment)]
    if alone or env == site.release.environment:
        stores.append(offered_releases(session, site.refresh.to))
    return stores


def _stale(
    session: Session, found: Sequence[StoredSet], env: str, now: datetime
) -> tuple[str, ...]:
    site = session.site
    name = env or site.backup.environment
    if name not in [one.name for one in site.environments]:
        return ()  # a site that takes releases alone: its sets are made elsewhere
    since = timers_since(site) if name == site.backup.environment else None
    return stale(ages(found, name), site.schedule.max_age, now, since=since)


def show(call: Call, set_: str, from_: str) -> None:
    session = call.session(observed=False)
    store, id = find_store(session, set_, from_)
    found = store.read(id)
    manifest, status = found.manifest, found.status
    call.document |= {
        "set": id,
        "path": found.path,
        **_as_json(
            StoredSet(
                id, status.state, status, manifest, status.damaged.text if status.damaged else ""
            )
        ),
        "counts": {one.key: dict(one.counts.tables) for one in manifest.databases},
        "versions": _versions(manifest),
        "manifest": manifest.as_dict(),
    }
    lines: list[tuple[str, str]] = [
        ("set", id),
        ("path", found.path),
        ("state", f"{status.state} (good since {status.good.when}, run {status.good.run})"),
        ("of", f"{manifest.environment} ({manifest.role}), site {manifest.site}"),
        ("made", f"{manifest.created} by run {manifest.run} on {manifest.machine}"),
        ("areas", ", ".join(manifest.areas)),
        ("size", human(manifest.size)),
        ("personal data", "yes" if manifest.personal else "no: anonymised"),
        (
            "maintenance",
            f"{manifest.options.maintenance}, {manifest.options.maintenance_seconds:.2f} s",
        ),
        *_proof(manifest),
        *(
            (area, f"{tree.files} files, {human(tree.bytes)}")
            for area, tree in manifest.trees.items()
        ),
        *(
            (one.key, f"{one.dbname}: {len(one.counts.tables)} tables, {one.counts.rows} rows, "
             f"{human(one.bytes)} in {one.file}")
            for one in manifest.databases
        ),
        ("versions", _told(_versions(manifest))),
        *(("left out", one) for one in manifest.missing),
        *(("vanished", one) for one in manifest.vanished[:10]),
    ]  # fmt: skip
    if status.verified is not None:
        lines.append(("verified", f"{status.verified.when}, run {status.verified.run}"))
    if status.drilled is not None:
        lines.append(("drilled", f"{status.drilled.when}, run {status.drilled.run}"))
    if status.damaged is not None:
        lines.append(("damaged", f"{status.damaged.when}: {status.damaged.text}"))
    if status.pin is not None:
        until = status.pin.until or "for good"
        lines.append(("pinned", f"{status.pin.reason or 'no reason given'} ({until})"))
    if call.options.verbose:
        for one in manifest.databases:
            tables = sorted(one.counts.tables.items())
            lines += [(one.key, f"{table}: {rows} rows") for table, rows in tables]
    call.text(table(lines))


def _proof(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    if manifest.proof is None:
        return ()
    proof = ProofRecord.from_dict(manifest.proof)
    searched = f"{proof.values} values of {proof.columns} columns, in {proof.files} files as well"
    sampled = ", a sample: it is not taken" if proof.sampled else ""
    return (
        ("data of", f"{proof.source} at {proof.snapshot}"),
        ("proof", f"{searched}{sampled}: {proof.leaks} found, run {proof.run}"),
    )


def _versions(manifest: Manifest) -> dict[str, Any]:
    """Of what made the set, and of each database's server and the pg_dump that read it."""
    return {
        "biso-tasks": manifest.tool,
        "postgresql": {
            one.key: dotted(ServerFacts.from_document(one.facts).version)
            for one in manifest.databases
        },
        "pg_dump": {one.key: one.pg_dump for one in manifest.databases},
    }


def _told(versions: dict[str, Any]) -> str:
    parts = [f"biso-tasks {versions['biso-tasks']}"]
    for name, word in (("postgresql", "PostgreSQL"), ("pg_dump", "pg_dump")):
        parts += [f"{word} {found}" for found in sorted(set(versions[name].values()))]
    return ", ".join(parts)


def pin(call: Call, set_: str, reason: str, until: str) -> None:
    session = call.session(observed=False)
    store, id = find_store(session, set_, "")
    now = datetime.now(UTC)
    moment = _until(until, now)
    kept = "for good" if moment is None else f"until {moment:%Y-%m-%d %H:%M} UTC"
    if call.options.plan:
        call.outlook("pin", changes=[f"{id} is kept {kept}, whatever the retention says"])
        return
    with store.lock(lock_owner(call.run_id)):
        store.pin(id, reason, moment, now)
    said = None if moment is None else moment.isoformat(timespec="seconds")
    call.document |= {"set": id, "pinned": True, "reason": reason, "until": said}
    call.text(f"{id} is kept {kept}, whatever the retention says. `biso unpin {id}` ends that.")


def unpin(call: Call, set_: str) -> None:
    session = call.session(observed=False)
    store, id = find_store(session, set_, "")
    if call.options.plan:
        call.outlook("unpin", changes=[f"{id} is no longer pinned: the retention decides"])
        return
    with store.lock(lock_owner(call.run_id)):
        store.unpin(id)
    call.document |= {"set": id, "pinned": False}
    call.text(f"{id} is no longer pinned: the retention decides.")


def _until(text: str, now: datetime) -> datetime | None:
    """In UTC. A day counts to its end; a moment without a zone is UTC's."""
    if not text:
        return None
    try:
        moment = _moment(text, now)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--until: {text!r} is neither a date nor a duration", hint="write 2027-01-31, or 30d"
        ) from error
    if moment <= now:
        raise UsageError(f"--until: {text} is over", hint="give a date to come, or 30d")
    return moment


def _moment(text: str, now: datetime) -> datetime:
    with suppress(ValueError):
        return datetime.combine(date.fromisoformat(text), time(23, 59, 59), UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return now + timedelta(seconds=duration(text))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


_STYLES: dict[str, Any] = {"damaged": "bad", "partial": "bad", "drilled": "good"}


def _remarks(one: StoredSet, now: datetime) -> str:
    said = []
    if one.pin is not None and one.pin.holds(now):
        said.append(f"pinned: {one.pin.reason}" if one.pin.reason else "pinned")
    if one.released:
        said.append("released: anonymised and proven")
    if one.why:
        said.append(one.why)
    return "; ".join(said)


def _as_json(one: StoredSet) -> dict[str, Any]:
    status = one.status
    pinned = status.pin if status else None
    return {
        "id": one.id,
        "state": one.state,
        "created": one.manifest.created if one.manifest else one.moment.isoformat(),
        "bytes": one.size,
        "areas": list(one.areas),
        "released": one.released,
        "verified": status.verified.when if status and status.verified else None,
        "drilled": status.drilled.when if status and status.drilled else None,
        "pinned": pinned is not None and pinned.holds(datetime.now(UTC)),
        "pin": None if pinned is None else {"reason": pinned.reason, "until": pinned.until},
        "why": one.why,
    }


def _age(age: timedelta) -> str:
    seconds = int(age.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{max(0, seconds)} s"
