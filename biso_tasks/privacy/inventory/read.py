"""Reads privacy.toml, and says everything that is wrong in it at once: file, line, key, remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, cast, final

from biso_tasks.config.findings import BadConfig, Finding, KeyPath, closest, dotted, one_of, shown
from biso_tasks.config.load import label_of, read_toml
from biso_tasks.config.model import Site
from biso_tasks.privacy.classify import Kind
from biso_tasks.privacy.inventory.model import KINDS, FileRule, Inventory, PlaceRule, Rule

__all__ = ["find_inventory", "parse_inventory"]

_SECTIONS: Final = ("columns", "large_objects", "files", "schema")
_LEAF_KINDS: Final = (
    *("given", "family", "name", "mail", "phone", "identifier", "street", "place", "birth"),
    *("text", "file", "harmless"),
)
# A part of SQL/JSON's own: members, all members, any depth, all elements, one of them.
_PATH: Final = re.compile(r'\$(?:\.(?:[^\W\d]\w*|"[^"\\]+"|\*\*?)|\[(?:\*|\d+)\])*')
# "function public.f()", "comment on table person": what kind of object, then which.
_OBJECT: Final = re.compile(r"[a-z]+(?: [a-z]+)* \S.*")


def find_inventory(site: Site, *, new: bool = False) -> Inventory | None:
    """The site's committed inventory; None where there is none. Raises BadConfig with every
    finding, and where the file is missing that biso.toml names, unless it is to be `new`."""
    file = Path(site.privacy.inventory)
    if not file.is_absolute():
        file = site.root / file
    label = label_of(file)
    try:
        return parse_inventory(file.read_bytes(), label)
    except FileNotFoundError:
        # Under another name than the default it was meant to be there: without it, no gate.
        if new or file == site.root / "privacy.toml":
            return None
        cause = "there is no such file"
        remedy = "`biso privacy-scan --write` writes one; [privacy] inventory in biso.toml names it"
    except OSError as error:
        cause, remedy = f"cannot be read: {error.strerror}", "make it a file that you may read"
    raise BadConfig([Finding(label, 0, "", cause, remedy)])


def parse_inventory(data: bytes, label: str) -> Inventory:
    """The inventory in `data`, called `label` in errors. Raises BadConfig with every finding."""
    findings: list[Finding] = []
    raw, places = read_toml(data, label, findings)
    reader = _Reader(label, places, findings)
    for key in raw:
        if key not in _SECTIONS:
            meant = closest(key, _SECTIONS)
            remedy = f'did you mean "{meant}"?' if meant else f"sections are {one_of(_SECTIONS)}"
            reader.wrong((key,), "unknown section", remedy)
    result = Inventory(
        label=label,
        decided="privacy.toml",
        columns=tuple(
            reader.column(name, value) for name, value in reader.table(raw, "columns").items()
        ),
        large_objects=reader.large_objects(raw),
        files=tuple(reader.file(name, value) for name, value in reader.table(raw, "files").items()),
        schema=tuple(
            reader.place(name, value) for name, value in reader.table(raw, "schema").items()
        ),
        complete=True,
        digest=sha256(data).hexdigest(),
    )
    if findings:
        raise BadConfig(findings)
    return result


@final
class _Reader:
    def __init__(
        self, label: str, places: Mapping[KeyPath, tuple[str, int]], findings: list[Finding]
    ) -> None:
        self._label, self._places, self._findings = label, places, findings

    def wrong(self, path: KeyPath, cause: str, remedy: str) -> None:
        self._findings.append(Finding(self._label, self._line(path), dotted(path), cause, remedy))

    def _line(self, path: KeyPath) -> int:
        while path and path not in self._places:
            path = path[:-1]
        return self._places[path][1] if path else 0

    def _at(self, path: KeyPath) -> str:
        return f"{self._label}:{self._line(path)}"

    def table(self, raw: Mapping[str, Any], section: str) -> dict[str, Any]:
        value = raw.get(section, {})
        if isinstance(value, dict):
            return value
        self.wrong((section,), f"expected a table, got {shown(value)}", f"write [{section}]")
        return {}

    def column(self, name: str, value: object) -> Rule:
        path: KeyPath = ("columns", name)
        if "." not in name and isinstance(value, dict) and not {"harmless", "mask"} & set(value):
            # Unquoted, the dot of table.column makes a table of it.
            whole = shown(f"{name}.{next(iter(value), 'column')}")
            self.wrong(path, "is a table", f"put the name in quotes: {whole} = …")
            return Rule(name, None)
        if "." not in name and not any(mark in name for mark in "*?["):
            self.wrong(path, "is no column", f"write table.column, such as {shown(name + '.name')}")
        return self._rule(name, value, path)

    def large_objects(self, raw: Mapping[str, Any]) -> Rule | None:
        table = self.table(raw, "large_objects")
        for key in table:
            if key != "verdict":
                self.wrong(("large_objects", key), "unknown key", 'write verdict = "personal"')
        if "verdict" not in table:
            return None
        path: KeyPath = ("large_objects", "verdict")
        value = table["verdict"]
        if value == "personal":
            return Rule("large objects", "large object", place=self._at(path))
        if isinstance(value, str):
            self.wrong(
                path,
                f"expected a verdict, got {shown(value)}",
                'write "personal", or { harmless = "why" }',
            )
        reason = self._harmless(value, path) if not isinstance(value, str) else ""
        return Rule("large objects", None, reason, place=self._at(path))

    def file(self, pattern: str, value: object) -> FileRule:
        path: KeyPath = ("files", pattern)
        if pattern.startswith(("/", "./", "~")) or pattern.endswith("/") or not pattern:
            self.wrong(
                path,
                "never matches, as paths are relative to the data dir and name files",
                f"write {shown(pattern.strip('~./') + '/**')}",
            )
        if value == "personal":
            return FileRule(pattern, True, place=self._at(path))
        if isinstance(value, str):
            self.wrong(
                path,
                f"expected a verdict, got {shown(value)}",
                'write "personal", or { harmless = "why" }; biso.toml says what travels',
            )
            return FileRule(pattern, True)
        return FileRule(pattern, False, self._harmless(value, path), self._at(path))

    def place(self, name: str, value: object) -> PlaceRule:
        path: KeyPath = ("schema", name)
        if not _OBJECT.fullmatch(name):
            self.wrong(
                path,
                "is no place of the schema",
                'write it as the proof names it, such as "function public.f()"; '
                "columns are under [columns]",
            )
        return PlaceRule(name, self._harmless(value, path), self._at(path))

    def _harmless(self, value: object, path: KeyPath) -> str:
        """The reason of `{ harmless = "why" }`, the only thing that can be said here."""
        if not isinstance(value, dict) or "harmless" not in value:
            self.wrong(path, f"expected why it is harmless, got {shown(value)}", _WHY)
            return ""
        self._known(value, ("harmless",), path)
        return self._reason(value["harmless"], (*path, "harmless"))

    def _reason(self, value: object, path: KeyPath) -> str:
        if isinstance(value, str) and value.strip():
            return value
        self.wrong(path, f"expected the reason, got {shown(value)}", _WHY)
        return ""

    def _known(self, value: Mapping[str, Any], known: tuple[str, ...], path: KeyPath) -> None:
        for key in value:
            if key not in known:
                meant = closest(key, known)
                remedy = f'did you mean "{meant}"?' if meant else f"keys here are {one_of(known)}"
                self.wrong((*path, key), "unknown key", remedy)

    def _rule(self, name: str, value: object, path: KeyPath) -> Rule:
        at = self._at(path)
        if isinstance(value, str):
            return Rule(name, self._kind(value, path), place=at)
        if not isinstance(value, dict) or not {"harmless", "mask"} & set(value):
            self.wrong(path, f"expected what it holds, got {shown(value)}", _HOLDS)
            return Rule(name, None)
        self._known(value, ("harmless", "mask", "type", "paths"), path)
        type = value.get("type", "")
        if not isinstance(type, str):
            self.wrong((*path, "type"), f"expected a type, got {shown(type)}", 'such as "varchar"')
            type = ""
        if "harmless" in value:
            for key in {"mask", "paths"} & set(value):
                self.wrong((*path, key), "it is harmless as well", "keep one of the two")
            reason = self._reason(value["harmless"], (*path, "harmless"))
            return Rule(name, None, reason, type, place=at)
        kind = self._kind(value["mask"], (*path, "mask"))
        paths = self._paths(value.get("paths", {}), (*path, "paths"))
        if paths and kind != "json":
            self.wrong((*path, "paths"), f"means nothing with {shown(kind)}", 'write mask = "json"')
        return Rule(name, kind, "", type, paths, at)

    def _kind(self, value: object, path: KeyPath) -> Kind:
        if value in KINDS and value != "large object":
            return cast(Kind, value)
        meant = closest(value, KINDS)
        kinds = [kind for kind in KINDS if kind != "large object"]
        remedy = f'did you mean "{meant}"?' if meant else f"write {one_of(kinds)}"
        if value == "harmless":
            remedy = _WHY
        self.wrong(path, f"expected what it holds, got {shown(value)}", remedy)
        return "text"

    def _paths(self, value: object, path: KeyPath) -> tuple[tuple[str, str], ...]:
        if not isinstance(value, dict):
            self.wrong(path, f"expected a table, got {shown(value)}", '{ "$.name" = "name" }')
            return ()
        for where, said in value.items():
            if not _PATH.fullmatch(where):
                self.wrong(
                    (*path, where), "is no JSON path", 'such as "$.kinder[*].name" or "$.**"'
                )
            if said not in _LEAF_KINDS:
                meant = closest(said, _LEAF_KINDS)
                remedy = f'did you mean "{meant}"?' if meant else f"write {one_of(_LEAF_KINDS)}"
                self.wrong((*path, where), f"expected what it holds, got {shown(said)}", remedy)
        return tuple((where, str(said)) for where, said in value.items())


_WHY: Final = 'write { harmless = "why" }'
_HOLDS: Final = 'write a kind such as "name" or "text", or { harmless = "why" }'
