"""Originals within a text that is otherwise nobody's: where they stand, and the text without them.
A look-up table, a log or a setting keeps its wording."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.masking.functions import RULES
from biso_tasks.privacy.masking.session import copy_in
from biso_tasks.privacy.originals import Originals
from biso_tasks.privacy.pseudonyms import KEY
from biso_tasks.privacy.sqltext import execute, query

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "Replaced", "find_spans", "pseudonyms_of", "replaced", "replaced_text", "spans_in", "spans_of",
]  # fmt: skip

Span = tuple[int, int, str]  # from, to, kind
Replaced = Callable[[str, str], str]  # kind, original → pseudonym

_TAG: Final = re.compile(r"<[^<>]{1,400}>")


def find_spans(originals: Originals, text: str) -> list[Span]:
    """Where originals stand in `text`, in order and without overlap."""
    found: list[Span] = []
    for start, end, kind in originals.find_spans(text):
        found += _between_tags(text, start, end, kind) if kind == "name" else [(start, end, kind)]
    return _joined(found)


def _between_tags(text: str, start: int, end: int, kind: str) -> Iterator[Span]:
    """A name that is half bold: each half."""
    for tag in _TAG.finditer(text, start, end):
        if tag.start() > start:
            yield start, tag.start(), kind
        start = tag.end()
    if end > start:
        yield start, end, kind


def _joined(found: list[Span]) -> list[Span]:
    result: list[Span] = []
    for start, end, kind in sorted(found):
        if result and start < result[-1][1]:
            before = result[-1]
            longer = kind if end - start > before[1] - before[0] else before[2]
            result[-1] = (before[0], max(end, before[1]), longer)
        else:
            result.append((start, end, kind))
    return result


def replaced_text(originals: Originals, text: str, replace: Replaced) -> str:
    """`text` with each original in it replaced."""
    made, last = [], 0
    for start, end, kind in find_spans(originals, text):
        made += [text[last:start], replace(kind, text[start:end])]
        last = end
    return "".join((*made, text[last:]))


def _walk(value: Any, text: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {text(key): _walk(inner, text) for key, inner in value.items()}
    if isinstance(value, list):
        return [_walk(inner, text) for inner in value]
    return value


def replaced(originals: Originals, column: Column, raw: str, replace: Replaced) -> str | None:
    """The value `raw` (see `cells.expression`) with its originals replaced; None where they are no
    spans of texts, or where replacing them leaves one."""
    if column.type.family == "text":
        made = replaced_text(originals, raw, replace)
        if column.type.length is not None:
            made = made[: column.type.length]
    elif column.type.family in ("json", "jsonb"):
        try:
            tree = json.loads(raw)
        except (ValueError, RecursionError):
            return None
        walked = _walk(tree, lambda text: replaced_text(originals, text, replace))
        made = json.dumps(walked, ensure_ascii=False)
    else:
        return None
    return made if made != raw and not originals.distinctive.find(made) else None


def spans_in(originals: Originals, text: str) -> set[tuple[str, str]]:
    """(kind, original) of each span in a text."""
    return {(kind, text[start:end]) for start, end, kind in find_spans(originals, text)}


def spans_of(originals: Originals, column: Column, raw: str) -> set[tuple[str, str]]:
    """(kind, original) of each span in the value."""
    found: set[tuple[str, str]] = set()

    def note(kind: str, original: str) -> str:
        found.add((kind, original))
        return "x"

    replaced(originals, column, raw, note)
    return found


def pseudonyms_of(
    stage: psycopg.Connection[Any], wanted: set[tuple[str, str]]
) -> Mapping[tuple[str, str], str]:
    """The same pseudonyms as those that whole columns get. Inside a transaction."""
    if not wanted:
        return {}
    listed = sorted(wanted)
    execute(stage, "CREATE TEMP TABLE biso_spans (n int, kind text, v text) ON COMMIT DROP")
    copy_in(stage, "biso_spans", [(n, *one) for n, one in enumerate(listed)])
    cases = " ".join(
        f"WHEN '{kind}' THEN pg_temp.{RULES[kind]}(v, {KEY}, 1000000, 0, '{{}}')"
        for kind in ("mail", "phone", "name")
    )
    made = query(
        stage,
        f"SELECT n, CASE kind {cases} ELSE pg_temp.biso_text(v, {KEY}, 1000000, 0, '{{}}') END "
        "FROM pg_temp.biso_spans",
    )
    execute(stage, "DROP TABLE pg_temp.biso_spans")
    return {listed[n]: text for n, text in made}
