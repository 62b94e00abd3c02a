"""The config.php of a bare target: the set's own, and where biso.toml says otherwise of database or
data dir, a wrapper in front of it, so that BISO itself goes where biso.toml says.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from biso_tasks.config.model import Environment
from biso_tasks.errors import Refused
from biso_tasks.host.protocol import Host
from biso_tasks.instance.config_php import Facts, Value, read_planned
from biso_tasks.stage.isolation import wrapper
from biso_tasks.stage.neutral import Settings, differing, require_neutral, with_settings
from biso_tasks.stage.webroot import BEHIND
from biso_tasks.values import Dsn

__all__ = ["BareConfig", "plan_config"]

_ABOUT = "The config.php of a restored set, then what biso.toml says of this environment."


@dataclass(frozen=True, slots=True)
class BareConfig:
    """`texts` are the files to be put into the webroot, by their paths below it; `facts` what they
    evaluate to there; `changed` the keys for which the set's config.php says something else."""

    texts: Mapping[str, bytes]
    facts: Facts
    changed: tuple[str, ...]


def plan_config(
    host: Host,
    environment: Environment,
    webroot: str,
    content: bytes,
    *,
    beside: str,
    keys: Sequence[str],
    settings: Settings = (),
) -> BareConfig:
    """What becomes of the set's config.php `content` in `webroot` (a real path), by running it
    there. `beside` is where its data dir would be if it lay as in the set; `keys` name further
    databases, `settings` what else must be so. Nothing is changed. Raises Refused where it cannot
    be run, or cannot be led there."""
    name = environment.config
    facts = read_planned(host, environment, webroot, {name: content}, beside=beside)
    values = with_settings(facts.values, differing(facts, settings))
    values |= _overrides(environment, facts, keys)
    if not values:
        return BareConfig({name: content}, facts, ())
    behind = posixpath.join(posixpath.dirname(name), BEHIND)
    texts = {name: wrapper(BEHIND, values, about=_ABOUT), behind: content}
    led = read_planned(host, environment, webroot, texts, beside=beside)
    wanted = (environment.datadir or facts.datadir, _place(_wanted(environment, facts.database)))
    if (led.datadir, _place(led.database)) != wanted:
        raise Refused(
            f"{environment.name}: the set's {name} cannot be led to where biso.toml says: it keeps "
            f"database {led.database.dbname!r} at {led.database.host}:{led.database.port} and data "
            f"dir {led.datadir}",
            hint="does it lock its values? Leave these keys out of biso.toml, or put a config.php "
            "of this environment's own into the webroot and make its database",
        )
    require_neutral(led, settings, f"{environment.name}, as it would be")
    return BareConfig(texts, led, tuple(values))


def _overrides(environment: Environment, facts: Facts, keys: Sequence[str]) -> dict[str, Any]:
    """What biso.toml says otherwise, by key of config.php."""
    found: dict[str, Any] = {}
    if environment.datadir and environment.datadir != facts.datadir:
        found[environment.key("datadir")] = environment.datadir
    main = environment.key("gaia.db")
    wanted = _wanted(environment, facts.database)
    if _place(wanted) != _place(facts.database):
        found[main] = _changed(facts.values[main], facts.database, wanted)
    for key in dict.fromkeys((environment.key("log.db"), *keys)):
        dsn = facts.dsn(key)
        if key == main or dsn is None:
            continue
        # Another database of the same server moves along with it.
        moved = dsn
        if (dsn.host, dsn.port) == (facts.database.host, facts.database.port):
            moved = replace(dsn, host=wanted.host, port=wanted.port)
            if dsn.user == facts.database.user:
                moved = replace(moved, user=wanted.user)
        if _place(moved) != _place(dsn):
            found[key] = _changed(facts.values[key], dsn, moved)
    return found


def _wanted(environment: Environment, dsn: Dsn) -> Dsn:
    said = environment.database
    return replace(
        dsn,
        host=dsn.host if said.host is None else said.host,
        port=dsn.port if said.port is None else said.port,
        dbname=dsn.dbname if said.dbname is None else said.dbname,
        user=dsn.user if said.user is None else said.user,
    )


def _changed(value: Value, before: Dsn, after: Dsn) -> dict[str, Any]:
    assert isinstance(value, dict)
    parts = ("host", "port", "dbname", "user")
    said = {part: getattr(after, part) for part in parts}
    return value | {p: said[p] for p in parts if said[p] != getattr(before, p)}


def _place(dsn: Dsn) -> tuple[str, int, str, str]:
    return (dsn.host, dsn.port, dsn.dbname, dsn.user)
