"""What a host is told of what a restore makes on it first, where something of the instance is
missing, so that `recover` can take that away where the run was killed, from any machine.

The document is the application's user's, who could write another: what it names counts only as far
as it fits the environment, and only what is empty is removed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from biso_tasks.database.bare import Made, unmake
from biso_tasks.errors import Refused
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import inside
from biso_tasks.stage.bare import Laid, lift
from biso_tasks.stage.model import StagedDatabase
from biso_tasks.stage.webroot import BEHIND

__all__ = ["forget_shell", "note_shell", "recover_shell", "require_no_shell", "shell_outlook"]

_NAME = "furnished"


def note_shell(
    instance: Instance,
    run: str,
    *,
    config: bool,
    flag: bool,
    folders: Sequence[str],
    databases: Collection[str],
    roles: Collection[str],
    others: Collection[str] = (),
) -> None:
    """Write down what is about to be made: whether a `config` is, and whether the `flag` of the
    maintenance; the application's `roles`, and `others`."""
    document = {
        "run": run,
        "config": config,
        "flag": flag,
        "folders": list(folders),
        "databases": sorted(databases),
        "roles": sorted(roles),
        "others": sorted(set(others) - set(roles)),
    }
    instance.state.write(_NAME, document)


def forget_shell(instance: Instance) -> None:
    instance.state.remove(_NAME)


def require_no_shell(instance: Instance, run: str) -> None:
    """Raises Refused where another run than `run` has left a shell here."""
    document = instance.state.read(_NAME)
    if document is not None and document.get("run") != run:
        raise Refused(
            f"{instance.name}: a restore that had to make what was missing (run "
            f"{document.get('run')}) was interrupted, and left it there, empty",
            hint=f"run `biso recover --env {instance.name}` first, which takes it away",
        )


def recover_shell(
    instance: Instance, databases: Sequence[StagedDatabase]
) -> tuple[list[str], tuple[str, ...]]:
    """Take away the shell of an interrupted restore, or end its maintenance where the set was
    already in place: what was done, and the folders that may be removed when the lock is gone. The
    caller holds the lock, and no intent is open."""
    document = instance.state.read(_NAME)
    if document is None:
        return [], ()
    record = instance.state.read("instance") or {}
    if (record.get("current") or {}).get("run") == document.get("run"):
        if document.get("flag"):
            instance.app.maintenance(False)
        forget_shell(instance)
        ended = ": its maintenance was ended" if document.get("flag") else ""
        return [f"the restored set was in place already{ended}"], ()
    named, people = set(document.get("databases", ())), set(document.get("roles", ()))
    made = Made()
    for one in databases:
        if one.live in named:
            made.databases.append(one.server)
        role = (one.server, one.server.dsn.user)
        if role[1] in people and role not in made.roles:
            made.roles.append(role)
    # Databases and roles first: config.php says where they are.
    unmake(made)
    layout, config = instance.layout, instance.environment.config
    folders = [str(path) for path in document.get("folders", ()) if _ours(instance, str(path))]
    own = [path for path in folders if path in (layout.webroot, layout.datadir)]
    behind = f"{config.rpartition('/')[0]}/{BEHIND}".lstrip("/")
    files = [f"{layout.webroot}/{name}" for name in (config, behind) if document.get("config")]
    files += [f"{layout.datadir}/maintenance.on"] if document.get("flag") else []
    lift(instance, Laid(own, files))
    forget_shell(instance)
    done = ["what an interrupted restore had made, empty, was removed"]
    if others := document.get("others"):
        # Whoever can write the document must not have any role dropped.
        done.append(f"left: roles of the set, {', '.join(map(str, others))}; drop them by hand")
    return done, tuple(folders)


def shell_outlook(instance: Instance) -> str:
    """What `recover_shell` would do, "" for nothing. Nothing is changed."""
    document = instance.state.read(_NAME)
    if document is None:
        return ""
    record = instance.state.read("instance") or {}
    if (record.get("current") or {}).get("run") == document.get("run"):
        return "ends the maintenance of a restored set that is in place already"
    return f"removes the empty shell of the interrupted restore of run {document.get('run')}"


def _ours(instance: Instance, path: str) -> bool:
    layout = instance.layout
    places = (layout.webroot, layout.datadir, layout.stage_dir)
    return any(path == one or inside(one, path) for one in places)
