"""Finds and reads biso.toml, with biso.local.toml beside it merged over it, and says everything
that is wrong in it at once.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from biso_tasks.config.findings import BadConfig, Finding, KeyPath, Places, PluginsPart, dotted
from biso_tasks.config.lines import lines_of
from biso_tasks.config.model import Document, Site
from biso_tasks.config.rules import check, settle
from biso_tasks.config.walk import Walk

__all__ = ["FILE", "find", "label_of", "load", "overlay_of", "parse", "read_toml"]

FILE: Final = "biso.toml"
_POSITION: Final = re.compile(
    r"(.*?) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL
)
# Here the order is the meaning, so what only this machine knows goes in front.
_ORDERED: Final = ("refresh", "files")

_Place = tuple[str, int]
_Parsed = tuple[dict[str, Any], dict[KeyPath, _Place]]


def find(start: Path, environ: Mapping[str, str]) -> Path | None:
    """BISO_CONFIG (a file, or a folder with a biso.toml; it need not exist), else biso.toml in
    `start` or the nearest folder above it, else None. Absolute."""
    if named := environ.get("BISO_CONFIG"):
        path = Path(os.path.abspath(start / os.path.expanduser(named)))  # noqa: PTH100, PTH111
        return path / FILE if os.path.isdir(path) else path  # noqa: PTH112
    folder = start.absolute()
    for place in (folder, *folder.parents):
        # os.path, as Path.is_file raises where a folder above may not be entered.
        if os.path.isfile(place / FILE):  # noqa: PTH113
            return place / FILE
    return None


def overlay_of(file: Path) -> Path:
    """biso.local.toml for biso.toml: what only this machine knows."""
    return file.with_name(f"{file.stem}.local.toml")


def load(file: Path) -> Site:
    """The site that `file` and the overlay beside it describe; nothing is contacted.

    Raises BadConfig (a ConfigError) with every finding: unreadable file, TOML that is none,
    unknown keys, wrong types, impossible combinations.
    """
    file = file.absolute()
    text = _read(file)
    local = overlay_of(file)
    overlay = _read(local) if os.path.lexists(local) else None
    return parse(text, file, overlay)


def parse(text: bytes, file: Path, overlay: bytes | None = None) -> Site:
    """As `load`, for contents that are in memory; `file` (absolute) names them and is not read."""
    findings: list[Finding] = []
    roles: list[Finding] = []
    raw, places = read_toml(text, label_of(file), findings)
    if overlay is not None:
        over = read_toml(overlay, label_of(overlay_of(file)), findings)
        if not findings:
            roles = _keep_roles(raw, over)
            raw = _merge(raw, places, *over, ())
    if findings:
        raise BadConfig(findings)
    walk = Walk(raw, places, file=label_of(file), root=file.parent)
    document = settle(walk.document(Document), walk)
    check(document, walk)
    if found := [*roles, *walk.findings]:
        main = label_of(file)
        general = document.site
        part = PluginsPart(file.parent, general.plugins, general.disable, dict(document.plugins))
        raise BadConfig(sorted(found, key=lambda each: (each.file != main, each.line)), part)
    return _site(document, file, places)


def _site(document: Document, file: Path, places: Places) -> Site:
    general = document.site
    return Site(
        name=general.name or file.parent.name or "biso",
        root=file.parent,
        file=file,
        state=Path(general.state),
        environments=document.environments,
        plugins=general.plugins,
        disable=general.disable,
        ssh=document.ssh,
        backup=document.backup,
        refresh=document.refresh,
        recipes=document.recipes,
        plugin_sections=document.plugins,
        neutralize=document.neutralize,
        privacy=document.privacy,
        schedule=document.schedule,
        release=document.release,
        places=places,
    )


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        cause, remedy = "there is no such file", "`biso init` writes one; BISO_CONFIG names another"
    except (OSError, ValueError) as error:
        cause = f"cannot be read: {error.strerror if isinstance(error, OSError) else error}"
        remedy = "make it a file that you may read"
    raise BadConfig([Finding(label_of(file), 0, "", cause, remedy)])


def label_of(file: Path) -> str:
    """The file as it is shortest to name from here."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return str(file)
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)


def read_toml(data: bytes, label: str, findings: list[Finding]) -> _Parsed:
    """Values and places; ({}, {}) after adding a finding for what is no TOML."""
    try:
        # Editors on Windows put a byte order mark in front, which tomllib would refuse.
        text = data.decode("utf-8-sig")
        raw = tomllib.loads(text)
        return raw, {path: (label, line) for path, line in lines_of(text).items()}
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        findings.append(Finding(label, line, "", "this line is not UTF-8", "save it as UTF-8"))
    except RecursionError:
        findings.append(
            Finding(label, 0, "", "is nested too deeply", "no key needs more than a few levels")
        )
    except tomllib.TOMLDecodeError as error:
        findings.append(_syntax(str(error), text, label))
    except ValueError:
        # int() refuses more than 4300 digits, and tomllib lets that through without a position.
        findings.append(
            Finding(label, 0, "", "holds a number of thousands of digits", "put it in quotes")
        )
    return {}, {}


def _syntax(message: str, text: str, label: str) -> Finding:
    match = _POSITION.fullmatch(message)
    cause, line, column = match.groups() if match else (message, None, None)
    lines = text.replace("\r\n", "\n").rstrip("\n").count("\n") + 1
    at = int(line) if line else lines
    # A line that ends too early is reported at the beginning of the next.
    where = f" in column {column}" if column else ", at the end of the file"
    remedy = next((hint for start, hint in _SYNTAX if cause.startswith(start)), _SYNTAX[-1][1])
    cause = re.sub(r"\('.*'\)|\('.*',\)", lambda found: _key_of(found[0]), cause)
    return Finding(label, at, "", f"this is no TOML{where}: {cause[:1].lower()}{cause[1:]}", remedy)


def _key_of(text: str) -> str:
    """tomllib names a key as a Python tuple."""
    return dotted(re.findall(r"'((?:[^'\\]|\\.)*)'", text))


_SYNTAX: Final = (
    ("Cannot overwrite", "this key is there twice: keep one of them"),
    ("Cannot declare", "this table is there twice: put its keys under one header"),
    ("Cannot mutate", "it is there already, in another form: keep one of them"),
    ("Illegal character", "close the quotes on the same line"),
    ("Unterminated string", "close the quotes"),
    ("Unescaped '\\'", "write \\\\ for a backslash, or use single quotes"),
    ("Expected '=' after", 'write key = "value"'),
    ("Expected newline", "one key a line; text goes in double quotes"),
    ("", "text goes in double quotes, true and false and numbers do not"),
)


def _keep_roles(raw: dict[str, Any], over: _Parsed) -> list[Finding]:
    """A file that only this machine has must not make a target of what all call production."""
    theirs, places = over
    findings = []
    for name, table in _dict(raw.get("environments")).items():
        path = ("environments", name, "role")
        role = _dict(_dict(theirs.get("environments")).get(name)).get("role")
        if _dict(table).get("role") == "production" and role not in (None, "production"):
            file, line = places[path]
            findings.append(
                Finding(
                    file, line, dotted(path), "is production in the shared file",
                    "change it there, where everybody sees it",
                )
            )  # fmt: skip
    return findings


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _merge(
    base: dict[str, Any],
    places: dict[KeyPath, _Place],
    over: dict[str, Any],
    over_places: Mapping[KeyPath, _Place],
    path: KeyPath,
) -> dict[str, Any]:
    """Tables are merged, anything else is replaced, and `places` follows."""
    merged = dict(base)
    for key, value in over.items():
        below = (*path, key)
        old = base.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merge(old, places, value, over_places, below)
            continue
        merged[key] = value
        depth = len(below)
        for place in [place for place in places if place[:depth] == below]:
            del places[place]
        places.update((place, at) for place, at in over_places.items() if place[:depth] == below)
    if path == _ORDERED:
        return {key: merged[key] for key in (*over, *base)}
    return merged
