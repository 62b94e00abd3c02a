"""Opening a stage, and making its webroot with a config.php of its own."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from biso_tasks.errors import Refused
from biso_tasks.files.clone import clone
from biso_tasks.host.command import Command, script
from biso_tasks.instance.config_php import Facts, read_facts
from biso_tasks.instance.mounts import inside_paths
from biso_tasks.stage.discard import discard_stage
from biso_tasks.stage.exposure import require_unserved
from biso_tasks.stage.isolation import check, wrapper
from biso_tasks.stage.model import Stage, access

__all__ = ["build_webroot", "evaluated", "open_stage"]

_ORIGINAL = "config.biso-original.php"

_WRITE = 'umask 077; cat > "$1"'


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
    layout, environment = instance.layout, instance.environment
    exclude = [f"/{layout.datadir_in_webroot}"] if layout.datadir_in_webroot else []
    exclude += [f"/{posixpath.basename(layout.stage_dir)}"]
    files = access(instance)
    clone(files, layout.webroot, stage.webroot, exclude=exclude)
    config = f"{stage.webroot}/{environment.config}"
    original = f"{posixpath.dirname(config)}/{_ORIGINAL}"
    new = f"{layout.stage}/config.new"
    text = wrapper(_ORIGINAL, _places(stage))
    host = instance.host
    host.run(script(_WRITE, new).as_user(environment.host_user), stdin=text)
    host.run(files.writer(Command(("mv", "-f", "--", config, original))))
    # PHP's user, in a container another than the one that writes here, must read this one as well.
    host.run(files.writer(Command(("chmod", f"--reference={original}", "--", new))))
    if files.gives_away:
        host.run(files.writer(Command(("chown", f"--reference={original}", "--", new))))
    host.run(files.writer(Command(("mv", "-f", "--", new, config))))
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
    wanted = (stage.main.stage, f"{stage.inside}/data")
    if (facts.database.dbname, facts.datadir) != wanted:
        raise Refused(
            f"{instance.name}: the stage's config.php does not lead to the stage: it says database "
            f"{facts.database.dbname!r} and data dir {facts.datadir!r}",
            hint="does config.php lock its values, or read them from elsewhere afterwards?",
        )
    if facts.env != instance.facts.env:
        raise Refused(
            f"{instance.name}: env is {instance.facts.env!r} in the live config.php, but "
            f"{facts.env!r} in the stage's",
            hint="let config.php not derive env from its own path",
        )
    return facts


def _places(stage: Stage) -> Mapping[str, Any]:
    """The config.php keys that a stage sets: data dir and databases, nothing else."""
    instance = stage.instance
    values: dict[str, Any] = {instance.environment.key("datadir"): f"{stage.inside}/data"}
    by_live = {database.live: database.stage for database in stage.databases}
    keys = {database.key for database in stage.databases}
    for key in sorted(keys | {instance.environment.key("log.db")}):
        value = instance.facts.values.get(key)
        if isinstance(value, dict) and value.get("dbname"):
            live = str(value["dbname"])
            values[key] = {**value, "dbname": by_live.get(live, stage.main.stage)}
    return values
