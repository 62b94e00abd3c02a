"""Which installations a pattern means: of one biso.toml, or of a folder of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from biso_tasks.cli.fleet.holding import held
from biso_tasks.cli.fleet.kinds import Kind
from biso_tasks.cli.site import find_site, sites_here, state_here
from biso_tasks.config.findings import closest
from biso_tasks.config.load import load
from biso_tasks.config.model import Environment, Site
from biso_tasks.errors import ConfigError, UsageError

__all__ = ["Member", "Members", "choose", "is_many"]

_One = TypeVar("_One")


@dataclass(frozen=True, slots=True)
class Member:
    """One installation: what it is called here, its biso.toml, and its environment there; "" is
    the one that the task means by itself. `holds` is what no other may hold meanwhile."""

    name: str
    file: Path
    environment: str
    holds: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Members:
    """Those that are meant. `state` is where the run is journaled, `place` where they were found;
    `left_out` are environments that a pattern fits, and that the task does not mean by one.
    """

    chosen: tuple[Member, ...]
    state: Path
    place: Path
    left_out: tuple[str, ...] = ()


def is_many(value: str) -> bool:
    """Whether the option's value may mean several; in a folder of sites every value does."""
    return any(letter in value for letter in "*?[,") or bool(sites_here())


def choose(task: str, kind: Kind, value: str, arguments: Mapping[str, object]) -> Members:
    """Whom `value` means. Raises UsageError where any part of it means nobody, ConfigError where
    the one biso.toml is wrong; one of a folder that is wrong is a member that will say so."""
    sites = sites_here()
    if sites:
        return _of_folder(task, kind, value, sites, arguments)
    site = find_site()
    fits = _fitting(kind, value, {one.name: one for one in site.environments}, site.file)
    chosen = _meant(kind, fits, _parts(kind, value))
    left_out = tuple(one.name for one in fits if one not in chosen)
    if not chosen:
        raise UsageError(
            f"--{kind.option} {value!r} fits production alone ({', '.join(left_out)}), which "
            f"{task} takes by its own name, if at all",
            hint=f"name test environments: {_names(_tests(site))}",
        )
    found = [
        Member(one.name, site.file, one.name, held(site, task, one.name, arguments))
        for one in chosen
    ]
    return Members(tuple(found), site.state, site.file, left_out)


def _of_folder(
    task: str, kind: Kind, value: str, sites: tuple[Path, ...], arguments: Mapping[str, object]
) -> Members:
    folder = sites[0].parent.parent
    known = {one.parent.name: one for one in sites}
    if not value:
        raise UsageError(
            f"{folder} holds {len(known)} sites: {_names(known)}",
            hint=f"--{kind.option} '*' means all of them, --{kind.option} NAME one; NAME/ENV an "
            "environment of it",
        )
    found: dict[str, Member] = {}
    for part in _parts(kind, value):
        name, slash, environment = part.partition("/")
        for file in _matching(kind, name, known, folder):
            called = file.parent.name
            if not slash:
                found.setdefault(called, Member(called, file, ""))
                continue
            for one in _environments(file, environment, kind):
                found.setdefault(f"{called}/{one}", Member(f"{called}/{one}", file, one))
    if not found:
        raise UsageError(
            f"--{kind.option} {value!r}: no site in {folder} has such an environment",
            hint="NAME alone means what the task means there by itself",
        )
    chosen = [replace(one, holds=_held(task, kind, one, arguments)) for one in found.values()]
    return Members(tuple(chosen), state_here(), folder)


def _held(task: str, kind: Kind, member: Member, arguments: Mapping[str, object]) -> frozenset[str]:
    """As `held`; of a biso.toml that is wrong nothing, as nothing will be done there."""
    try:
        site = load(member.file)
        meant = site.refresh.to if kind.test_only else site.backup.environment
        return held(site, task, member.environment or meant, arguments)
    except ConfigError:
        return frozenset()


def _environments(file: Path, pattern: str, kind: Kind) -> list[str]:
    """Those of one site of a folder; where its biso.toml is wrong the pattern itself, since whoever
    runs the task there says what is wrong."""
    try:
        site = load(file)
    except ConfigError:
        return [pattern]
    fits = [one for one in site.environments if fnmatchcase(one.name, pattern)]
    return [one.name for one in _meant(kind, fits, [pattern])]


def _meant(kind: Kind, fits: Sequence[Environment], named: Sequence[str]) -> list[Environment]:
    """Of those that fit, the ones that the task means; `named` are names and patterns."""
    if kind.test_only:
        return [one for one in fits if one.role == "test"]
    if kind.production and any(one.role == "production" for one in fits):
        return [one for one in fits if one.role == "production" or one.name in named]
    return list(fits)


def _fitting(
    kind: Kind, value: str, known: Mapping[str, Environment], file: Path
) -> list[Environment]:
    found: dict[str, Environment] = {}
    for part in _parts(kind, value):
        for one in _matching(kind, part, known, file):
            found.setdefault(one.name, one)
    return list(found.values())


def _matching(kind: Kind, pattern: str, known: Mapping[str, _One], place: Path) -> list[_One]:
    """In the order in which they stand there."""
    found = [one for name, one in known.items() if fnmatchcase(name, pattern)]
    if not found:
        meant = closest(pattern, list(known))
        raise UsageError(
            f"--{kind.option}: {pattern!r} fits nothing in {place}",
            hint=f'did you mean "{meant}"?' if meant else f"there is {_names(known)}",
        )
    return found


def _parts(kind: Kind, value: str) -> list[str]:
    found = [part.strip() for part in value.split(",") if part.strip()]
    if not found:
        raise UsageError(
            f"--{kind.option} {value!r} names nothing", hint="leave it out, or name one"
        )
    return found


def _names(known: Iterable[str]) -> str:
    shown = list(known)
    more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
    return ", ".join(shown[:12]) + more


def _tests(site: Site) -> list[str]:
    return [one.name for one in site.environments if one.role == "test"]
