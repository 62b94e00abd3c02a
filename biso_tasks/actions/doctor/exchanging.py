"""What `doctor` says of a swap: what an earlier run left, services, url, a place for the stage."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from biso_tasks.actions.doctor.checklist import Sheet
from biso_tasks.actions.staged.place import require_stage_place
from biso_tasks.config.model import Environment
from biso_tasks.instance import services
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.serving import ask
from biso_tasks.session import Session
from biso_tasks.stage.kept import kept_stage
from biso_tasks.stage.model import REFRESHED, Area
from biso_tasks.stage.record import previous_of
from biso_tasks.stage.swap import require_no_intent

__all__ = ["check_swap"]


def check_swap(
    sheet: Sheet, session: Session, instance: Instance, task: str, *, answers: bool
) -> None:
    """The lines about what a swap needs, and what an earlier run left. `answers`: its database
    does, so that the page should as well."""
    environment = instance.environment
    sheet.guard("swap", partial(require_no_intent, instance), "none was interrupted")
    _kept_stage(sheet, instance)
    if task == "rollback":
        sheet.attempt(
            "previous instance",
            partial(previous_of, instance),
            lambda one: f"served until {one.get('until')}",
        )
    sheet.attempt(
        "services",
        partial(services.running, instance.host, environment),
        partial(_services, environment),
    )
    if answers:
        _url(sheet, instance)
    if instance.layout.datadir_id:
        # In place nothing is exchanged: only a dump and copies stand there.
        in_place = task == "refresh-test" and session.site.refresh.strategy == "in-place"
        areas: frozenset[Area] = frozenset() if in_place else REFRESHED
        sheet.attempt(
            "stage directory",
            lambda: require_stage_place(session, instance, areas),
            lambda there: (
                instance.layout.stage_dir
                + (", on the filesystem of the data dir" if areas else "")
                + ("" if there else "; it is made when needed")
            ),
        )


def _kept_stage(sheet: Sheet, instance: Instance) -> None:
    kept = kept_stage(instance)
    if kept is None:
        return
    if kept.expired(datetime.now(UTC)):
        remedy = "`biso prune` removes it, `biso recover` as well"
        sheet.bad("kept stage", f"{kept.said}, and it is still there", remedy)
    else:
        sheet.good("kept stage", kept.said)


def _url(sheet: Sheet, instance: Instance) -> None:
    url = instance.environment.url
    if url is None:
        sheet.good("url", "none is set: nobody asks the site after a swap")
        return
    answer = ask(url, instance.app)
    if answer.good(maintenance=instance.in_maintenance()):
        sheet.good("url", f"{url} answers: {answer.detail}")
    else:
        remedy = "mend the site, or correct `url`: a swap would be taken back"
        sheet.bad("url", f"{url} answers badly: {answer.detail}", remedy)


def _services(environment: Environment, up: Sequence[str]) -> str:
    if environment.services.kind == "none":
        return 'kind = "none": nothing is stopped for a swap'
    down = [name for name in environment.services.stop if name not in up]
    said = f"running: {', '.join(up)}" if up else "none runs"
    return said + (f"; stopped, and left so: {', '.join(down)}" if down else "")
