"""Opening a stage, and making its webroot with a config.php of its own: from the live webroot, or
from the tree of a backup set, which takes the live one's place after that (`webroot.py`).
"""

from __future__ import annotations

import posixpath

from biso_tasks.errors import Refused
from biso_tasks.files.clone import clone
from biso_tasks.host.command import Command
from biso_tasks.instance.config_php import Facts, read_facts
from biso_tasks.instance.mounts import inside_paths
from biso_tasks.stage.discard import discard_stage
from biso_tasks.stage.exposure import require_unserved
from biso_tasks.stage.isolation import check
from biso_tasks.stage.model import Stage, access
from biso_tasks.stage.neutral import require_neutral
from biso_tasks.stage.webroot import fit_webroot, wrap_config

__all__ = ["build_webroot", "build_webroot_from", "evaluated", "open_stage"]


def open_stage(stage: Stage) -> None:
    """Make the stage directory and an empty stage in it, both 0700, owned by the application's
    user. What an earlier run left there is discarded first (the caller holds the lock)."""
    instance = stage.instance
    instance.state.prepare()
    require_unserved(instance)
    discard_stage(instance, stage.databases)
    # The data dir as well: Docker would make it, as root, where a mount's source is missing.
    make = Command(("mkdir", "-m", "0700", "--", instance.layout.stage, stage.datadir))
    instance.host.run(make.as_user(instance.environment.host_user))


def build_webroot(stage: Stage, live_databases: tuple[str, ...]) -> Facts:
    """Copy the live webroot (without a data dir inside it) and wrap its config.php.

    Returns what the stage's config.php evaluates to; raises Refused, naming the key, where a value
    still holds a live path or names a live database.
    """
    instance = stage.instance
    layout = instance.layout
    exclude = [f"/{layout.datadir_in_webroot}"] if layout.datadir_in_webroot else []
    exclude += [f"/{posixpath.basename(layout.stage_dir)}"]
    files = access(instance)
    clone(files, layout.webroot, stage.webroot, exclude=exclude)
    wrap_config(stage)
    return evaluated(stage, live_databases)


def build_webroot_from(stage: Stage, live_databases: tuple[str, ...]) -> Facts:
    """Make the tree of a set, which already stands at the stage's webroot, the stage's: with the
    target's own config.php where it has one (else the set's stays), wrapped.

    Returns what the stage's config.php evaluates to; raises Refused as `build_webroot` does, and
    where the tree holds something in the place of the target's data dir.
    """
    fit_webroot(stage)
    wrap_config(stage)
    return evaluated(stage, live_databases)


def evaluated(stage: Stage, live_databases: tuple[str, ...]) -> Facts:
    """What the stage's config.php evaluates to now. Raises Refused where it is not the stage's."""
    instance = stage.instance
    facts = read_facts(stage.app, instance.environment, overrides=False)
    layout = instance.layout
    live = {layout.webroot, layout.datadir, instance.app.inside, instance.facts.datadir}
    live |= {instance.environment.webroot}
    for path in (layout.webroot, layout.datadir):
        live |= inside_paths(path, instance.mounts)
    check(
        facts,
        environment=instance.name,
        stage_paths=(layout.stage, stage.inside),
        live_paths=sorted(path for path in live if path not in ("", "/")),
        live_databases=live_databases,
    )
    main = stage.main.staged_server.dsn
    wanted = (main.dbname, main.user, f"{stage.inside}/data")
    if (facts.database.dbname, facts.database.user, facts.datadir) != wanted:
        raise Refused(
            f"{instance.name}: the stage's config.php does not lead to the stage: it says database "
            f"{facts.database.dbname!r}, role {facts.database.user!r}, data dir {facts.datadir!r}",
            hint="does config.php lock its values, or read them from elsewhere afterwards?",
        )
    if facts.env != instance.facts.env:
        raise Refused(
            f"{instance.name}: env is {instance.facts.env!r} in the live config.php, but "
            f"{facts.env!r} in the stage's",
            hint="let config.php not derive env from its own path",
        )
    require_neutral(facts, stage.settings, f"{instance.name}: the stage")
    return facts
