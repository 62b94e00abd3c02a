"""Steps that make a set of what was captured: rows counted and dumped in the window's snapshot,
what a restore needs beside them written down, everything checked and sealed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.sets.backup import Backup, Part
from biso_tasks.backup.checksums import make_sums
from biso_tasks.backup.guide import GUIDE, guide
from biso_tasks.backup.manifest import (
    MANIFEST,
    DatabaseDump,
    Manifest,
    Options,
    Places,
    Tree,
    grants_file,
)
from biso_tasks.database import settings
from biso_tasks.database.admin import admin
from biso_tasks.database.dumped_rows import lost
from biso_tasks.database.dumps import Dumped, dump, suspicious
from biso_tasks.database.grantfile import grants_sql
from biso_tasks.database.grants import read as read_grants
from biso_tasks.database.identity import database_identity
from biso_tasks.database.limit import Limits, limited_by, watch
from biso_tasks.database.roles import globals_sql
from biso_tasks.database.snapshot import Snapshot
from biso_tasks.errors import BisoError, StepFailed
from biso_tasks.files.growing import growing
from biso_tasks.files.listing import Listing
from biso_tasks.files.space import human
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.host.command import Command
from biso_tasks.instance.instance import Instance
from biso_tasks.version import tool_version

__all__ = ["ACTIONS", "places_of", "tree_of"]


def _count(context: Context[Backup]) -> dict[str, Any]:
    """The rows of the very snapshot that is dumped."""
    work = context.work
    work.counts = tuple(one.counts() for one in work.snapshots)
    return {"rows": sum(counts.rows for counts in work.counts)}


def _dump(context: Context[Backup]) -> dict[str, Any]:
    work = context.work
    limits: list[Limits] = []

    def one(part: Part, snapshot: Snapshot) -> Dumped:
        with watch(part.server, None, part.facts.bytes) as seen:
            limits.append(seen)
            return dump(
                part.server,
                snapshot,
                f"{work.sets.partial_path(work.id)}/db",
                f"{part.stem}_{work.stamp}",
                format=context.site.backup.format,
                jobs=_JOBS,
                cancel=context.cancel,
            )

    before = [_former(work, part.key, context.site.backup.format) for part in work.facts.parts]
    expected = sum(one.bytes for one in before if one is not None) if all(before) else 0
    folder = f"{work.sets.partial_path(work.id)}/db"
    # Side by side: each is bound by a server process of its own.
    with (
        growing(work.facts.instance.host, folder, context.bytes_of(expected)),
        ThreadPoolExecutor(len(work.snapshots)) as pool,
    ):
        work.dumped = tuple(pool.map(one, work.facts.parts, work.snapshots))
    return {"bytes": sum(one.bytes for one in work.dumped)} | limited_by(limits)


# Of pg_dump's own directory format: more than the server's cores would hold up the site.
_JOBS = 2


def _describe_dump(context: Context[Backup]) -> Effects:
    parts = context.work.facts.parts
    names = ", ".join(f"{p.server.dsn.dbname} ({human(p.facts.bytes)})" for p in parts)
    return Effects(changes=(f"dumps {names} in that snapshot, after maintenance",))


def _describe(context: Context[Backup]) -> dict[str, Any]:
    """Roles, privileges, config.php: what the dumps do not hold."""
    work = context.work
    store = work.sets
    missing: list[str] = []
    whole: list[settings.Settings] = []
    identities: list[str | None] = []
    for number, (part, snapshot) in enumerate(zip(work.facts.parts, work.snapshots, strict=True)):
        connection = snapshot.connection
        with admin(part.server) as role:
            own = settings.read(role, part.server.dsn.dbname)
            if number == 0:
                text, lacks = globals_sql(connection, role)
                store.write_file(work.id, "db/globals.sql", text.encode())
                missing += lacks
        grants = grants_sql(read_grants(connection), own, role=part.server.dsn.user)
        store.write_file(work.id, grants_file(part.stem), grants.encode())
        whole.append(own)
        identities.append(database_identity(connection))
    work.settings, work.missing = tuple(whole), tuple(missing)
    work.identities = tuple(identities)
    environment = work.target.environment
    config = Command(("cat", "--", f"{environment.webroot}/{environment.config}"))
    text_of = work.target.host.run(config.as_user(environment.host_user)).out
    store.write_file(work.id, "config/config.php", text_of)
    for one in missing:
        context.note(f"not in the set: {one}")
    return {"missing": missing}


def _seal(context: Context[Backup]) -> dict[str, Any]:
    """The dumps against those of the set before, then documents, checksums, one rename."""
    work = context.work
    work.reading.close()
    manifest = _manifest(work, context)
    _require_plausible(context, manifest)
    store = work.sets
    store.write_file(work.id, MANIFEST, manifest.as_toml())
    store.write_file(work.id, GUIDE, guide(manifest, store.set_path(work.id)))
    summed = make_sums(store, work.id, work.facts.previous)
    try:
        work.sealed = store.seal(work.id, run=work.run_id)
    except BisoError:
        # A good set all the same where only what comes after its rename failed, as `latest` does.
        with suppress(BisoError):
            work.sealed = store.read(work.id)
        raise
    return {
        "set": work.id,
        "bytes": manifest.size,
        "files": summed.files,
        "hashed": summed.files - summed.reused,
    }


def _describe_seal(context: Context[Backup]) -> Effects:
    return Effects(changes=(f"checks and seals {context.work.id}; only then it is a good set",))


def _manifest(work: Backup, context: Context[Backup]) -> Manifest:
    instance, config = work.target, context.site.backup
    return Manifest(
        id=work.id,
        environment=instance.name,
        role=instance.environment.role,
        site=context.site.name,
        label=work.label,
        created=work.moment.isoformat(timespec="seconds"),
        tool=tool_version(),
        run=work.run_id,
        machine=instance.host.address or instance.layout.machine,
        areas=work.areas,
        personal=work.facts.personal,
        proven=work.facts.proven,
        options=Options(
            format=config.format,
            maintenance=work.maintenance,
            maintenance_seconds=round(work.maintenance_seconds, 3),
            exclude=config.exclude,
            drained=work.drained,
        ),
        places=places_of(instance),
        env=instance.facts.env,
        trees={area: tree_of(listing) for area, listing in work.listings.items()},
        databases=tuple(
            DatabaseDump(
                key=part.key,
                dbname=part.server.dsn.dbname,
                role=part.server.dsn.user,
                file=f"db/{made.file}",
                format=made.format,
                bytes=made.bytes,
                sha256=made.sha256,
                pg_dump=made.pg_dump,
                facts={
                    **part.facts.as_document(),
                    "host": part.server.dsn.host,
                    "port": part.server.dsn.port,
                    "settings": own.as_dict(),
                    "identity": identity,
                },
                counts=counts,
            )
            for part, made, own, identity, counts in zip(
                work.facts.parts,
                work.dumped,
                work.settings,
                work.identities,
                work.counts,
                strict=True,
            )
        ),
        vanished=tuple(sorted(work.vanished)),
        missing=work.missing,
    )


def places_of(instance: Instance) -> Places:
    """Where things are of what a set is made of."""
    layout = instance.layout
    return Places(
        webroot=layout.webroot,
        datadir=layout.datadir,
        config=f"{layout.webroot}/{instance.environment.config}",
        datadir_in_webroot=layout.datadir_in_webroot,
    )


def tree_of(listing: Listing) -> Tree:
    """What a manifest says of an area that is a tree."""
    return Tree(sum(one.kind == "file" for one in listing.entries), listing.size)


def _require_plausible(context: Context[Backup], manifest: Manifest) -> None:
    """A dump that is absurdly small next to the last one is read back: it is believed where each
    row that was counted is in it. Who deletes attachments from the database has as many rows and
    far fewer bytes. Raises StepFailed where rows are missing."""
    work = context.work
    for part, now in zip(work.facts.parts, manifest.databases, strict=True):
        last = _former(work, now.key, now.format)
        if last is None:
            continue
        why = suspicious(now.bytes, now.counts.rows, last.bytes, last.counts.rows)
        if why is None:
            continue
        path = f"{work.sets.partial_path(work.id)}/{now.file}"
        missing = lost(part.server, path, now.format, now.counts)
        if missing:
            raise StepFailed(
                f"{now.dbname}: {why}; it holds {'; '.join(missing[:3])}: the set is not sealed",
                hint="pg_dump ended well and did not write all: is there enough memory, and is it "
                "the real pg_dump? Run the backup again",
            )
        context.note(f"{now.dbname}: {why}; every row that was counted is in it")


def _former(work: Backup, key: str, format: str) -> DatabaseDump | None:
    """The last dump of the same database in the same format."""
    for one in work.facts.former:
        for then in one.manifest.databases if one.manifest else ():
            if (then.key, then.format) == (key, format):
                return then
    return None


ACTIONS = (
    Action("set-count", _count, "Count the rows of the snapshot"),
    Action("set-dump", _dump, "Dump the databases in the snapshot", _describe_dump),
    Action("set-describe", _describe, "Write down roles, privileges, config.php"),
    Action("set-seal", _seal, "Check everything and seal the set", _describe_seal),
)
