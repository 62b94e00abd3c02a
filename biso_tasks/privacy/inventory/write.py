"""Writes privacy.toml: proposals with their reasons, one a line, for a person to look at. A file
that is there already keeps every line of it; what is new is put in beside what it belongs to."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from biso_tasks.config.findings import CONTROL
from biso_tasks.config.lines import lines_of
from biso_tasks.config.write import toml_key, toml_value
from biso_tasks.errors import ConfigError
from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.inventory.match import Index, Partitions, names
from biso_tasks.privacy.inventory.model import FileRule, Inventory, type_name

__all__ = ["Proposal", "propose", "render"]

_HEAD: Final = """\
# What the columns and files of this site hold, written by `biso privacy-scan --write`. Look at each
# line, correct it, commit the file: from then on a refresh stops at a column that is not in it.
# A column is a kind ("name", "mail", "text", …), or { harmless = "why" }. Names may be patterns
# ("archiv.*"); an exact one counts before a pattern. Running the scan again changes no line here.
"""
_SECTIONS: Final[Mapping[str, str]] = {
    "columns": "",
    "large_objects": "",
    "files": "# What files of the data dir hold; [refresh.files] of biso.toml says what travels.\n",
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """One line to be: `value` is what TOML gives for it, `comment` why."""

    section: str
    key: str
    value: Any
    comment: str = ""

    @property
    def group(self) -> str:
        return self.key.rpartition(".")[0] if self.section == "columns" else ""

    def __str__(self) -> str:
        comment = f"  # {CONTROL.sub('?', self.comment)}" if self.comment else ""
        return f"{toml_key(self.key)} = {_value(self.value)}{comment}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{toml_key(k)} = {_value(v)}' for k, v in value.items())} }}"
    return toml_value(value)


def propose(
    found: Sequence[Classified],
    files: Iterable[FileRule],
    inventory: Inventory | None,
    parts: Partitions,
) -> tuple[Proposal, ...]:
    """A line for each column and file pattern of which `inventory` says nothing yet. Partitions
    have one line in common; where one of them is personal, it says so."""
    index = Index(inventory) if inventory is not None else None
    columns: dict[str, Classified] = {}
    objects: tuple[Proposal, ...] = ()
    for one in found:
        if index is not None and index.rule(one.column, parts) is not None:
            continue
        if one.column.kind == "large objects":
            said = "personal" if one.personal else {"harmless": one.reason}
            objects = (Proposal("large_objects", "verdict", said, one.reason * one.personal),)
            continue
        name = names(one.column, parts)[0]
        if name not in columns or (one.personal and not columns[name].personal):
            columns[name] = one
    known = {rule.pattern for rule in inventory.files} if inventory is not None else set()
    return (
        *(_column(name, one) for name, one in columns.items()),
        *objects,
        *(_file(rule) for rule in files if rule.pattern not in known),
    )


def _column(name: str, one: Classified) -> Proposal:
    if one.personal:
        return Proposal("columns", name, one.kind, one.reason)
    said = {"harmless": one.reason, "type": type_name(one.column)}
    return Proposal("columns", name, said)


def _file(rule: FileRule) -> Proposal:
    if rule.personal:
        return Proposal("files", rule.pattern, "personal", rule.reason)
    return Proposal("files", rule.pattern, {"harmless": rule.reason})


def render(proposals: Sequence[Proposal], previous: str | None) -> str:
    """The file with the proposals in it. `previous` is what it holds so far, valid TOML, of which
    no line is changed; None: there is none. Raises ConfigError where nothing can be added to it."""
    if previous is None:
        return _new(proposals)
    wanted = _together(tomllib.loads(previous), proposals)
    for anchored in (True, False):
        text = _merged(previous, proposals, anchored=anchored)
        try:
            if tomllib.loads(text) == wanted:
                return text
        except tomllib.TOMLDecodeError:
            continue
    raise ConfigError(
        "privacy.toml is written in a way that nothing can be added to",
        hint="write its sections as [columns], [large_objects] and [files], with one name a line",
    )


def _new(proposals: Sequence[Proposal]) -> str:
    parts = [_HEAD]
    for section, about in _SECTIONS.items():
        lines = [one for one in proposals if one.section == section]
        if not lines:
            continue
        groups = ["\n".join(map(str, one)) for _, one in groupby(lines, key=lambda p: p.group)]
        parts.append(f"[{section}]\n{about}" + "\n\n".join(groups) + "\n")
    return "\n".join(parts)


def _together(old: dict[str, Any], proposals: Sequence[Proposal]) -> dict[str, Any]:
    new = {key: dict(value) if isinstance(value, dict) else value for key, value in old.items()}
    for one in proposals:
        new.setdefault(one.section, {})[one.key] = one.value
    return new


def _merged(previous: str, proposals: Sequence[Proposal], *, anchored: bool) -> str:
    """Each line after the last one of its table where it is `anchored` and there is one, else at
    the head of its section."""
    lines = previous.replace("\r\n", "\n").rstrip("\n").split("\n")
    places = lines_of(previous)
    after: dict[int, list[str]] = {}
    missing: list[Proposal] = []
    last: dict[tuple[str, str], int] = {}
    for path, line in places.items():
        if len(path) == 2 and path[0] == "columns":
            group = ("columns", str(path[1]).rpartition(".")[0])
            last[group] = max(line, last.get(group, 0))
    for one in proposals:
        header = places.get((one.section,))
        if header is None:
            missing.append(one)
            continue
        at = last.get((one.section, one.group), header) if anchored else header
        after.setdefault(at, []).append(str(one))
    merged = [
        part for number, line in enumerate(lines, 1) for part in (line, *after.get(number, ()))
    ]
    text = "\n".join(merged) + "\n"
    for section in _SECTIONS:
        rest = [str(one) for one in missing if one.section == section]
        if rest:
            text += f"\n[{section}]\n" + "\n".join(rest) + "\n"
    return text
