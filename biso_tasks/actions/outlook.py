"""What `recover` would do: read, and nothing changed. `recover --plan` shows it."""

from __future__ import annotations

from dataclasses import dataclass

from biso_tasks.actions.recover import has_stage
from biso_tasks.actions.sets.left import left_in_stores
from biso_tasks.errors import BisoError, Locked
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.lock import require_free
from biso_tasks.instance.mending import mend_outlook
from biso_tasks.session import Session
from biso_tasks.stage import guards
from biso_tasks.stage.discard import left_of_stage
from biso_tasks.stage.in_place import in_place_outlook
from biso_tasks.stage.intent import read_intent
from biso_tasks.stage.lost import lost_webroot
from biso_tasks.stage.model import staged
from biso_tasks.stage.piece import piece_outlook
from biso_tasks.stage.shell import shell_outlook
from biso_tasks.stage.swap import PIECE, goes_forward

__all__ = ["Outlook", "foresee"]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What would be done in one environment, and what removed; `error` where nothing would be."""

    environment: str
    changes: tuple[str, ...] = ()
    destroys: tuple[str, ...] = ()
    error: BisoError | None = None


def foresee(session: Session, name: str) -> Outlook:
    """Look at one environment as `recover` would. Errors are part of the answer."""
    try:
        return _foresee(session, name)
    except Locked as error:
        return Outlook(name, ("nothing: a live run is left alone",), error=error)
    except BisoError as error:
        return Outlook(name, error=error)


def _foresee(session: Session, name: str) -> Outlook:
    host, environment = session.host(name), session.environment(name)
    lost = lost_webroot(host, environment)
    if lost is not None:
        require_free(host, environment, lost)
        back = "puts the webroot back, which a swap has left away, and looks at the rest then"
        return Outlook(name, (back,))
    instance = session.instance(name)
    guards.env_fits(instance, anonymize=False)
    stores = left_in_stores(session, name)
    if not instance.state.exists() and not has_stage(instance):
        return Outlook(name, destroys=stores)
    require_free(host, environment, instance.layout)
    mended = mend_outlook(instance)
    began = _begun(instance)
    # What an open intent leaves of the stage is seen only once it is finished.
    left = () if began else left_of_stage(instance, staged(instance))
    began = f"{began}, and then what is left of the stage is removed" if began else ""
    shell = shell_outlook(instance)
    return Outlook(name, tuple(one for one in (mended, began, shell) if one), (*left, *stores))


def _begun(instance: Instance) -> str:
    """What becomes of the swap, the refresh in place or the restore of a path that was cut off."""
    document = instance.state.read("intent")
    if document is None:
        return ""
    if document.get("kind") == "in-place":
        return in_place_outlook(instance, document)
    if document.get("kind") == PIECE:
        return piece_outlook(instance, document)
    intent = read_intent(instance, document, staged(instance))
    back = document.get("direction") == "back"
    if goes_forward(instance, intent, "back" if back else "forward"):
        return f"finishes the swap of run {intent.run}: the new instance is served"
    return f"takes back the swap of run {intent.run}: the old instance is served"
