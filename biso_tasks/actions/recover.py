"""`recover`: every environment put back into a clean state after an interruption, from any machine.
A live run is never touched: it holds the lock.
"""

from __future__ import annotations

from dataclasses import dataclass

from biso_tasks.actions.sets.left import sweep_stores
from biso_tasks.database.admin import admin
from biso_tasks.database.create import exists
from biso_tasks.database.stage_role import left_role
from biso_tasks.errors import BisoError, Locked
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.lock import lock
from biso_tasks.instance.maintenance import mend
from biso_tasks.session import Session, lock_owner
from biso_tasks.stage import guards
from biso_tasks.stage.bare import remove_folders
from biso_tasks.stage.discard import discard_stage
from biso_tasks.stage.in_place import recover_in_place
from biso_tasks.stage.intent import read_intent
from biso_tasks.stage.lost import put_webroot_back
from biso_tasks.stage.model import staged
from biso_tasks.stage.piece import recover_piece
from biso_tasks.stage.shell import recover_shell
from biso_tasks.stage.swap import PIECE, finish

__all__ = ["Recovered", "has_stage", "recover"]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found and done in one environment; `error` where a person is needed."""

    environment: str
    done: tuple[str, ...]
    error: BisoError | None = None


def recover(session: Session, name: str, run_id: str) -> Recovered:
    """Put one environment right. Errors are part of the answer: the other environments still get
    their turn."""
    try:
        owner = lock_owner(run_id)
        # Without a webroot there is no config.php, and nothing else could be found.
        back = put_webroot_back(session.host(name), session.environment(name), owner)
        done = ["the webroot, which was away, was put back"] if back else []
        instance = session.instance(name)
        guards.env_fits(instance, anonymize=False)
        if instance.state.exists() or has_stage(instance):
            instance.state.prepare()
            with lock(instance.host, instance.environment, instance.layout, owner):
                mended, folders = _recover(instance)
            instance.state.tidy()
            remove_folders(instance, folders)
            done += mended
        done += [f"removed {one}" for one in sweep_stores(session, name, run_id)]
        return Recovered(name, tuple(done))
    except Locked as error:
        return Recovered(name, ("a live run is left alone",), error)
    except BisoError as error:
        return Recovered(name, (), error)


def has_stage(instance: Instance) -> bool:
    """Whether a stage's database or role is there although its directory is gone."""
    for database in staged(instance):
        with admin(database.server) as role:
            if exists(role, database.stage) or left_role(role, database.server):
                return True
    return False


def _recover(instance: Instance) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What was done, and folders that may go when the lock has gone."""
    done = list(mend(instance))
    databases = staged(instance)
    document = instance.state.read("intent")
    if document is not None and document.get("kind") == "in-place":
        done += recover_in_place(instance, document)
    elif document is not None and document.get("kind") == PIECE:
        done += recover_piece(instance, document)
    elif document is not None:
        intent = read_intent(instance, document, databases)
        going_back = document.get("direction") == "back"
        went, notes = finish(instance, intent, "back" if going_back else "forward")
        what = "the new instance is served" if went == "forward" else "the old instance is served"
        done += [f"the swap of run {intent.run} was finished: {what}", *notes]
    gone = discard_stage(instance, databases)
    done += [f"removed {what}" for what in gone]
    shell, folders = recover_shell(instance, databases)
    return (*done, *shell), folders
