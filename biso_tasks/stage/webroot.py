"""The webroot of a stage: a config.php that leads to the stage while it is prepared, and the plain
one when it takes the live webroot's place.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from biso_tasks.errors import Refused, StepFailed
from biso_tasks.host.command import Command, script
from biso_tasks.instance.layout import inside
from biso_tasks.instance.mounts import real_path
from biso_tasks.stage.exchange import require_vacant
from biso_tasks.stage.isolation import wrapper
from biso_tasks.stage.model import Stage, access
from biso_tasks.stage.neutral import with_settings

__all__ = ["BEHIND", "finish_webroot", "fit_webroot", "wrap_config"]

BEHIND = "config.biso-set.php"
"""What a live config.php requires that was made by a restore onto a bare host (`bare_config.py`):
it stands beside it, and belongs to the instance like it."""

_ORIGINAL = "config.biso-original.php"

_WRITE = 'umask 077; cat > "$1"'
# A wrapper of a wrapper would require itself.
_WRAPPED = 'grep -qF -- "$2" "$1"'
_SAME = '[ -e "$2" ] && [ "$(cat)" = "$(cat -- "$1")" ]'
# The first part of the way to the data dir that is a link: its path, below the webroot.
_LINK_TO_DATA = r"""
at=$1 rest=$2 part=
while [ -n "$rest" ]; do
  part=$part${part:+/}${rest%%/*}
  case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
  if [ -L "$at/$part" ]; then printf '%s' "$part"; exit 0; fi
done
"""
_FOLDER = '[ -d "$1" ] && [ ! -L "$1" ]'


def wrap_config(stage: Stage) -> None:
    """Put a config.php in front of the one in the stage's webroot that leads to the stage, or in
    the place of one that was put there before. It holds a password: 0600, and the user's who runs
    biso-cli."""
    instance = stage.instance
    host, user, files = instance.host, instance.environment.host_user, access(instance)
    config, original = _config(stage), _original(stage)
    new = _new(stage)
    text = wrapper(_ORIGINAL, _places(stage))
    if host.run(script(_SAME, config, original).as_user(user), stdin=text, ok=(0, 1)).code == 0:
        return
    host.run(script(_WRITE, new).as_user(user), stdin=text)
    wrapped = script(_WRAPPED, config, f"'{_ORIGINAL}';").as_user(user)
    if host.run(wrapped, ok=(0, 1)).code != 0:
        host.run(files.writer(Command(("mv", "-f", "--", config, original))))
    if instance.environment.services.kind == "compose":
        # PHP's user, in the container, is another than the one that writes here.
        host.run(files.writer(Command(("chmod", f"--reference={original}", "--", new))))
        if files.gives_away:
            host.run(files.writer(Command(("chown", f"--reference={original}", "--", new))))
    host.run(files.writer(Command(("mv", "-f", "--", new, config))))


def fit_webroot(stage: Stage) -> None:
    """Give a tree that came from elsewhere what belongs to this instance: its own config.php, where
    it has one, and the way to its data dir. Raises Refused where something stands in that way."""
    instance = stage.instance
    require_vacant(instance, stage.webroot)
    layout, config = instance.layout, instance.environment.config
    live = f"{layout.webroot}/{config}"
    if _there(stage, live):
        _bring(stage, config)
        # A link that leads to another file of the webroot: the set's would be production's.
        behind = inside(real_path(instance.host, live), layout.webroot)
        if behind not in ("", config):
            _bring(stage, behind)
        required = posixpath.join(posixpath.dirname(config), BEHIND)
        if _there(stage, f"{layout.webroot}/{required}"):
            _bring(stage, required)
    elif not _there(stage, _config(stage)):
        raise Refused(
            f"{instance.name}: neither {live} nor the webroot of the set holds a {config}",
            hint="restore a set that has the webroot, or put a config.php there first",
        )
    _require_link_fits(stage)


def finish_webroot(stage: Stage) -> None:
    """Put the plain config.php back in the wrapper's place, as it was: owner, mode, time. After
    this the stage's webroot leads to what is live, so nothing may be run in it any more until it is
    swapped in. Can be called again. Raises StepFailed where there is no config.php."""
    instance = stage.instance
    files = access(instance)
    config, original = _config(stage), _original(stage)
    if _there(stage, original):
        instance.host.run(files.writer(Command(("mv", "-f", "-T", "--", original, config))))
    elif not _there(stage, config):
        raise StepFailed(f"{instance.name}: there is no {config} to be served")
    link = _data_link(stage)
    if link:
        _require_link_fits(stage)
        _bring(stage, link)
    above = posixpath.dirname(instance.layout.datadir_in_webroot)
    if above and not _there(stage, f"{stage.webroot}/{above}"):
        # The data dir inside the webroot needs its folder: a set from elsewhere may lack it.
        instance.host.run(files.writer(Command(("mkdir", "-p", "--", f"{stage.webroot}/{above}"))))
        _like(stage, f"{instance.layout.webroot}/{above}", f"{stage.webroot}/{above}")


def _bring(stage: Stage, name: str) -> None:
    """The live webroot's file or link `name`, as it is, in the place of the stage's."""
    instance = stage.instance
    files, user = access(instance), instance.environment.host_user
    live, target, new = f"{instance.layout.webroot}/{name}", f"{stage.webroot}/{name}", _new(stage)
    instance.host.run(Command(("cp", "--archive", "-T", "--", live, new)).as_user(user))
    if files.gives_away:
        chown = Command(("chown", "-h", f"--reference={live}", "--", new))
        instance.host.run(files.writer(chown))
    folder = posixpath.dirname(target)
    if not _there(stage, folder):
        instance.host.run(files.writer(Command(("mkdir", "-p", "--", folder))))
        _like(stage, posixpath.dirname(live), folder)
    instance.host.run(files.writer(Command(("mv", "-f", "-T", "--", new, target))))


def _data_link(stage: Stage) -> str:
    """The link in the live webroot, below it, by which config.php gets to a data dir elsewhere, or
    "": it is this instance's own, not the set's."""
    instance = stage.instance
    below = inside(instance.facts.datadir, instance.app.inside)
    if not below or instance.layout.datadir_in_webroot:
        return ""
    look = script(_LINK_TO_DATA, instance.layout.webroot, below)
    return instance.host.run(look.as_user(instance.environment.host_user)).text


def _require_link_fits(stage: Stage) -> None:
    instance, link = stage.instance, _data_link(stage)
    folder = script(_FOLDER, f"{stage.webroot}/{link}").as_user(instance.environment.host_user)
    if link and instance.host.run(folder, ok=(0, 1)).code == 0:
        raise Refused(
            f"{instance.name}: {instance.layout.webroot}/{link} is a link to the data dir, but the "
            "webroot of the set holds a folder in its place",
            hint="let the set's webroot leave that folder out (backup.exclude)",
        )


def _like(stage: Stage, reference: str, path: str) -> None:
    files = access(stage.instance)
    host = stage.instance.host
    host.run(files.writer(Command(("chmod", f"--reference={reference}", "--", path))))
    if files.gives_away:
        host.run(files.writer(Command(("chown", f"--reference={reference}", "--", path))))


def _there(stage: Stage, path: str) -> bool:
    look = script('[ -e "$1" ] || [ -L "$1" ]', path).as_user(stage.instance.environment.host_user)
    return stage.instance.host.run(look, ok=(0, 1)).code == 0


def _config(stage: Stage) -> str:
    return f"{stage.webroot}/{stage.instance.environment.config}"


def _original(stage: Stage) -> str:
    return f"{posixpath.dirname(_config(stage))}/{_ORIGINAL}"


def _new(stage: Stage) -> str:
    return f"{stage.instance.layout.stage}/config.new"


def _places(stage: Stage) -> Mapping[str, Any]:
    """The config.php keys that a stage sets: data dir and databases, and what [neutralize] says."""
    instance = stage.instance
    values: dict[str, Any] = {instance.environment.key("datadir"): f"{stage.inside}/data"}
    named = (*stage.databases, *stage.absent)
    by_live = {database.live: database for database in named}
    keys = {database.key for database in named}
    for key in sorted(keys | {instance.environment.key("log.db")}):
        value = instance.facts.values.get(key)
        if isinstance(value, dict) and value.get("dbname"):
            database = by_live.get(str(value["dbname"]), stage.main)
            values[key] = {**value, "dbname": database.stage}
            if database.role is not None:
                word = database.role.password.reveal()
                values[key] |= {"user": database.role.name, "password": word}
    return {**with_settings(instance.facts.values, stage.settings), **values}
