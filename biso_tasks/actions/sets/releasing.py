"""`release`: production's data as it was proven in a stage, sealed as a set that may be handed out.

Of production there is in it what the proof searched, and nothing else: no config.php, no roles, no
privileges, no settings of the database, no names of hosts.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.sets.left import note_swept
from biso_tasks.actions.sets.release import Release
from biso_tasks.actions.sets.retiring import retire_releases
from biso_tasks.actions.sets.sealing import places_of, tree_of
from biso_tasks.backup.checksums import SIGNATURE, SUMS, make_sums
from biso_tasks.backup.guide import GUIDE
from biso_tasks.backup.guide_release import release_guide
from biso_tasks.backup.ids import SetId
from biso_tasks.backup.manifest import (
    MANIFEST,
    DatabaseDump,
    Manifest,
    Options,
    grants_file,
)
from biso_tasks.backup.metadata import METADATA, encode
from biso_tasks.backup.proof import ProofRecord
from biso_tasks.backup.signature import sign
from biso_tasks.backup.store import Store
from biso_tasks.database.dumps import dump
from biso_tasks.database.facts import ServerFacts, probe
from biso_tasks.database.settings import Settings
from biso_tasks.database.snapshot import export
from biso_tasks.errors import BisoError, ProofFailed, StepFailed
from biso_tasks.files.access import Access
from biso_tasks.files.capture import capture, check, finish
from biso_tasks.files.listing import DATA_EXCLUDES, Listing, list_tree
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.host.command import Command
from biso_tasks.session import lock_owner
from biso_tasks.stage.in_place_needs import own_clients
from biso_tasks.stage.model import StagedDatabase, access
from biso_tasks.stage.view import InstanceView
from biso_tasks.version import tool_version

__all__ = ["ACTIONS"]

_ROLE = "biso"
"""What the application's role is called in a release: nobody's."""
_GRANTS = b"-- A release hands out no privileges: the database belongs to whoever loads it.\n"


def _seal(context: Context[Release]) -> dict[str, Any]:
    """The stage as it was proven, dumped and copied, then documents, checksums, a signature where
    one is wanted, one rename."""
    work = context.work
    work.require_proven()
    work.require_ours()
    store = work.sets
    store.prepare()
    with store.lock(lock_owner(work.run_id)):
        _sweep(context, store)
        store.begin(work.id, ())
        work.building = True
        listing = _data(context)
        dumps = tuple(_dump(context, database) for database in _released(work))
        manifest = _manifest(work, listing, dumps)
        for one in dumps:
            store.write_file(work.id, grants_file(one.stem), _GRANTS)
        store.write_file(work.id, METADATA, encode({"data": listing}))
        store.write_file(work.id, MANIFEST, manifest.as_toml())
        store.write_file(work.id, GUIDE, release_guide(manifest))
        summed = make_sums(store, work.id, {})
        key = context.site.release.sign
        if key:
            sums = Command(("cat", "--", f"{store.partial_path(work.id)}/{SUMS}"))
            store.write_file(work.id, SIGNATURE, sign(Path(key), store.host.run(sums).out))
        work.sealed = store.seal(work.id, run=work.run_id)
        work.building = False
    return {
        "set": work.id,
        "bytes": manifest.size,
        "files": summed.files,
        "signed": key is not None,
    }


def _describe_seal(context: Context[Release]) -> Effects:
    work = context.work
    names = ", ".join(one.stage for one in _released(work))
    signed = ", signed" if context.site.release.sign else ""
    return Effects(
        changes=(
            f"dumps {names} and copies {work.stage.datadir}, as they were proven, into "
            f"{work.sets.set_path(work.id)}{signed}; {work.target.name} is not touched",
        )
    )


def _undo_seal(context: Context[Release]) -> None:
    """Nobody goes on with a release that was not sealed: its stage is gone."""
    work = context.work
    if work.building:
        work.building = False
        try:
            work.sets.remove_partial(work.id)
        except BisoError as error:
            context.note(f"{work.id} stays unsealed until the next release: {error.message}")


def _sweep(context: Context[Release], store: Store) -> None:
    """What a killed run left."""
    for one in store.list():
        if one.state == "partial":
            store.remove_partial(one.id)
            context.note(f"removed {one.id}, which an interrupted run had left")
    note_swept(context, store)


def _released(work: Release) -> tuple[StagedDatabase, ...]:
    """The databases whose rows are handed out: those that were copied, and so proven."""
    return tuple(one for one in work.stage.databases if one.content == "copy")


def _data(context: Context[Release]) -> Listing:
    work = context.work
    files, keeper = access(work.target), Access(work.target.host)
    root = work.stage.datadir
    place = f"{work.sets.partial_path(work.id)}/data"
    captured = capture(
        files,
        root,
        keeper,
        place,
        list_tree(files, root, exclude=DATA_EXCLUDES, empty_ok=True),
        before=None,
        cancel=context.cancel,
        progress=context.bytes_of(0),
    )
    finish(keeper, place, captured.listing)
    problems = check(keeper, place, captured.listing)
    if captured.vanished or problems:
        changed = len(captured.vanished) + len(problems)
        raise ProofFailed(
            f"{changed} file(s) of the stage changed while they were sealed: what is in the set is "
            "not what was proven",
            hint="what else writes into the stage directory? The set is removed; run it again",
        )
    return captured.listing


def _dump(context: Context[Release], database: StagedDatabase) -> DatabaseDump:
    work = context.work
    server, _ = own_clients(database.staged_server)
    stem = _stems(work)[database.key]
    with export(server) as snapshot:
        counts = snapshot.counts()
        made = dump(
            server,
            snapshot,
            f"{work.sets.partial_path(work.id)}/db",
            f"{stem}_{SetId.at(work.moment)}",
            format="plain",
            cancel=context.cancel,
        )
    return DatabaseDump(
        key=database.key,
        dbname=database.live,
        role=_ROLE,
        file=f"db/{made.file}",
        format=made.format,
        bytes=made.bytes,
        sha256=made.sha256,
        pg_dump=made.pg_dump,
        facts={
            **_facts(probe(database.staged_server), database.live),
            "host": "",
            "port": 5432,
            "settings": Settings().as_dict(),
        },
        counts=counts,
    )


def _facts(facts: ServerFacts, dbname: str) -> dict[str, Any]:
    """What a load needs, without the names of server and roles."""
    return replace(facts, server="the stage", dbname=dbname, owner=_ROLE, role=_ROLE).as_document()


def _stems(work: Release) -> dict[str, str]:
    """What dumps are called, by the key of their database, as in a backup set."""
    stems = {work.target.environment.key("log.db"): "biso_log"}
    view = InstanceView(work.target)
    for _, extras in work.session.hooks.collect("biso_databases", instance=view):
        stems |= {extra.key: f"biso_{extra.label}" for extra in extras}
    return {**stems, work.stage.main.key: "biso"}


def _manifest(work: Release, listing: Listing, dumps: tuple[DatabaseDump, ...]) -> Manifest:
    target = work.target
    return Manifest(
        id=work.id,
        environment=target.name,
        role=target.environment.role,
        site=work.session.site.name,
        created=work.moment.isoformat(timespec="seconds"),
        tool=tool_version(),
        run=work.run_id,
        machine=target.host.address or target.layout.machine,
        areas=("data", "database"),
        personal=False,
        options=Options("plain", "none"),
        places=places_of(target),
        env=target.facts.env,
        proof=_record(work).as_dict(),
        trees={"data": tree_of(listing)},
        databases=dumps,
    )


def _record(work: Release) -> ProofRecord:
    proof = work.proof
    if proof is None or not work.inventories:
        raise StepFailed("there is no proof to be written down", hint="`prove` comes before")
    judged = hashlib.sha256()
    for inventory in work.inventories:
        for one in inventory:
            verdict = "personal" if one.personal else "harmless"
            judged.update(f"{one.column.label}\0{verdict}\0{one.kind}\n".encode())
    return ProofRecord(
        source=work.source.name,
        run=work.run_id,
        snapshot=work.moment.isoformat(timespec="seconds"),
        tool=tool_version(),
        columns=proof.columns,
        values=proof.values,
        files=proof.files,
        leaks=len(proof.leaks),
        sampled=proof.sampled,
        inventory=next((one.digest for one in work.said if one.complete), ""),
        judged=judged.hexdigest(),
    )


def _retire(context: Context[Release]) -> dict[str, Any]:
    work = context.work
    store = work.sets
    with store.lock(lock_owner(work.run_id)):
        done = retire_releases(store, context.site.release.keep, work.moment)
    for note in done.in_use.values():
        context.note(note)
    return {"removed": list(done.removed)}


def _describe_retire(context: Context[Release]) -> Effects:
    keep = context.site.release.keep
    return Effects(changes=(f"keeps the newest {keep} good releases, and those that are pinned",))


ACTIONS = (
    Action("seal-release", _seal, "Seal the proven stage as a set", _describe_seal, _undo_seal),
    Action("release-retire", _retire, "Remove releases that are not kept", _describe_retire),
)
