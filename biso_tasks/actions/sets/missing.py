"""What is missing of a target, and whether a restore may make it."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from biso_tasks.actions.sets.restore import FromSet
from biso_tasks.backup.manifest import Manifest
from biso_tasks.backup.sealed import Sealed
from biso_tasks.backup.store import BackupSet, Store
from biso_tasks.database import bare as grounds
from biso_tasks.database.bare import Ground
from biso_tasks.errors import Refused
from biso_tasks.instance.instance import Instance
from biso_tasks.session import Session
from biso_tasks.stage import bare as shell
from biso_tasks.stage.bare_config import BareConfig
from biso_tasks.stage.model import AREAS, Area, Content, StagedDatabase, staged

__all__ = [
    "data_is_there",
    "missing_notes",
    "needed",
    "require_covered",
    "require_makeable_here",
    "something_missing",
]


def something_missing(
    session: Session, name: str, manifest: Manifest, areas: frozenset[Area]
) -> bool:
    """Whether a restore of these areas has to make something of the environment first."""
    if shell.is_bare(session.host(name), session.environment(name)):
        return True
    target = session.instance(name)
    if not target.layout.datadir_id or ("webroot" in areas and shell.lacks_code(target)):
        return True
    copies: dict[str, Content] = dict.fromkeys([one.key for one in manifest.databases], "copy")
    main, *others = staged(target, copies, areas=areas)
    needed = [main, *(one for one in others if one.swapped)]
    with ThreadPoolExecutor(4) as pool:
        return any(pool.map(grounds.lacks, [one.server for one in needed]))


def needed(
    wanted: tuple[StagedDatabase, ...], config: BareConfig | None
) -> tuple[tuple[StagedDatabase, ...], tuple[StagedDatabase, ...]]:
    """Those that are or will be there, and those that the target's own config.php names, that are
    not there, and that nothing would take the place of: nobody made a log database."""
    if config is not None:
        return wanted, ()
    main, *others = wanted
    absent = [one for one in others if not one.swapped and grounds.lacks(one.server)]
    return (main, *(one for one in others if one not in absent)), tuple(absent)


def data_is_there(
    target: Instance, config: BareConfig | None, store: Store, backup: BackupSet
) -> bool:
    """Whether there is a data dir; with nothing but the set's `config` to lead there, whether it
    holds something that is the target's own. Raises Refused where that is somebody else's."""
    if config is None:
        return bool(target.layout.datadir_id)
    vouched = backup.manifest.environment == target.name or bool(target.environment.datadir)
    if not vouched:
        return shell.holds_data(target, ())
    if "data" not in backup.manifest.areas:
        return shell.holds_data(target, None)
    tree = Sealed(store, backup).tree("data")
    tops = {entry.path.partition("/")[0] for entry in tree}
    return shell.holds_data(target, tops - {"", "tmp"})


def require_makeable_here(work: FromSet, area: Area, path: str) -> None:
    """Before anything is asked of a host: raises Refused where this restore could not make it."""
    environment = work.session.environment(work.places["target"])
    if area not in work.areas:
        require_covered(work, {area})
    if environment.services.kind == "compose":
        raise Refused(
            f"{environment.name}: there is no {path}, and in containers not everything can be made "
            "from here",
            hint="put webroot, config.php and data dir there by hand, start the database's "
            "container, make role and database (RESTORE.md of the set says how); then restore",
        )


def require_covered(work: FromSet, missing: Collection[Area]) -> None:
    """Raises Refused where something is missing that is not among what is restored."""
    if set(missing) - work.areas:
        named = [area for area in AREAS if area in missing]
        brought = [area for area in AREAS if area in work.areas]
        raise Refused(
            f"{work.places['target']} has no {' and no '.join(named)}, and needs all of "
            f"{', '.join(named)}; this would bring {', '.join(brought)}",
            hint="restore a complete set, without --only, or with what is missing among it",
        )


def missing_notes(
    target: Instance,
    config: BareConfig | None,
    missing: set[Area],
    databases: tuple[StagedDatabase, ...],
    there: tuple[Ground, ...],
) -> list[str]:
    """What a plan says of what has to be made."""
    environment, layout = target.environment, target.layout
    notes = []
    if config is not None:
        notes.append(f"{environment.webroot} is bare: it is made, with the config.php of the set")
        if config.changed:
            notes.append(
                f"biso.toml says otherwise of {', '.join(config.changed)} than the set's "
                "config.php: a config.php that says so requires the set's"
            )
    elif shell.lacks_code(target):
        notes.append(f"there is no biso-cli in {environment.webroot}: nothing there is asked")
    if "data" in missing:
        notes.append(f"{layout.datadir} is not there, or empty: is its filesystem mounted?")
    gone = [one.live for one, at in zip(databases, there, strict=True) if at.database == "missing"]
    if gone:
        notes.append(f"there is no database {', '.join(gone)}: it is made, and filled from the set")
    if config is not None and environment.url:
        notes.append(
            f"{environment.url} has to show BISO's maintenance page before anything is served: set "
            "up the web server for it first, or leave `url` out"
        )
    return notes
