"""Which cells of a table must go: whole columns where a look shows that they are as they were in
the source, single cells where BISO's anonymizer or somebody else has been already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from biso_tasks.privacy.cells import MUTE, readable, searched, select
from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.masking.spans import spans_of
from biso_tasks.privacy.originals import Cells, Originals
from biso_tasks.privacy.sqltext import column_name, query, stream

if TYPE_CHECKING:
    import psycopg

__all__ = ["Cell", "Verdict", "judge", "member_words", "searchable"]

_LOOK: Final = 2000  # rows that decide about a column
_REMEMBERED: Final = 20_000  # short texts whose judgement is kept: codes repeat


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell to be rewritten. `raw` where only its spans go, None for the whole of it."""

    ctid: str
    at: int  # which column
    raw: str | None = None


@dataclass(slots=True)
class Verdict:
    """`whole`: columns all of whose values go; `cells`: what goes of the others; `spans`: the
    (kind, original) pairs within those that keep their text."""

    whole: set[int] = field(default_factory=set)
    cells: list[Cell] = field(default_factory=list)
    spans: set[tuple[str, str]] = field(default_factory=set)


class _Judge:
    def __init__(
        self, group: Sequence[Classified], originals: Originals, columns: Sequence[Column],
        personal: int,
    ) -> None:  # fmt: skip
        self.originals, self.columns, self.personal = originals, columns, personal
        self.table = columns[0]
        known = originals.keys(self.table.relation)
        present = {one.column.name: one.column for one in group}
        if known is not None and not all(name in present for name in known[0]):
            known = None  # a migration took the key: no row can be recognised
        self.known = known is not None
        self.keys = [present[name] for name in known[0]] if known else []
        self.cells: list[Cells | None] = [
            originals.of(column) if self.known and at < personal else None
            for at, column in enumerate(columns)
        ]
        self._seen: dict[str, bool] = {}

    def rows(
        self, stage: psycopg.Connection[Any], todo: Sequence[int], limit: int | None = None
    ) -> Iterator[tuple[str | None, str, tuple[str | None, ...]]]:
        columns = [self.columns[at] for at in todo]
        text = select([*self.keys, *columns], self.table, first="t.ctid::text")
        if limit is not None:
            text += f" LIMIT {limit}"
        width = 1 + len(self.keys)
        for row in stream(stage, text):
            yield row[0], "\x1f".join(value or "" for value in row[1:width]), row[width:]

    def unchanged(self, at: int, key: str, raw: str) -> bool:
        cells = self.cells[at]
        return cells is not None and cells.unchanged(key, raw, keyed=bool(self.keys))

    def holds(self, at: int, raw: str) -> bool:
        column = self.columns[at]
        if column.type.family in MUTE:
            return False
        if len(raw) > 64:
            return bool(self.originals.distinctive.find(searched(column, raw)))
        known = self._seen.get(raw)
        if known is None:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            known = bool(self.originals.distinctive.find(searched(column, raw)))
            self._seen[raw] = known
        return known


def judge(
    stage: psycopg.Connection[Any], group: Sequence[Classified], originals: Originals,
    personal: Sequence[Column], others: Sequence[Column],
) -> Verdict:  # fmt: skip
    """What must go of the columns `personal`, and of `others` where they hold an original of
    anybody. The number of a column in the verdict counts `personal` first. Inside a transaction."""
    columns = (*personal, *others)
    verdict = Verdict()
    if not columns:
        return verdict
    judged = _Judge(group, originals, columns, len(personal))
    open_ = []
    for at in range(len(personal)):
        # What the source did not have cannot be compared, so it cannot be shown to be anonymised.
        if judged.cells[at] is None:
            verdict.whole.add(at)
        elif columns[at].label not in originals.renamed:
            open_.append(at)
    if open_:
        verdict.whole |= _look(stage, judged, open_)
    # Where rows were sampled, one survivor stands for others: its whole column goes.
    sampled = originals.share(judged.table.relation) < 1
    rest = [at for at in range(len(columns)) if at not in verdict.whole]
    if not rest:
        return verdict
    for ctid, key, values in judged.rows(stage, rest):
        for at, raw in zip(rest, values, strict=True):
            if not raw:
                continue
            gone = judged.unchanged(at, key, raw)
            if not gone and not judged.holds(at, raw):
                continue
            if sampled and at < len(personal):
                verdict.whole.add(at)
                continue
            spans = set() if gone else spans_of(originals, columns[at], raw)
            verdict.spans |= spans
            verdict.cells.append(Cell(str(ctid), at, raw if spans else None))
    verdict.cells = [cell for cell in verdict.cells if cell.at not in verdict.whole]
    return verdict


def _look(stage: psycopg.Connection[Any], judged: _Judge, todo: Sequence[int]) -> set[int]:
    seen, hits = dict.fromkeys(todo, 0), dict.fromkeys(todo, 0)
    for _, key, values in judged.rows(stage, todo, _LOOK):
        for at, raw in zip(todo, values, strict=True):
            if raw:
                seen[at] += 1
                hits[at] += judged.unchanged(at, key, raw)
    return {at for at in todo if hits[at] * 2 >= seen[at] > 0 and hits[at] > 0}


def searchable(one: Classified) -> bool:
    """Whether a column that is not personal is looked through for originals."""
    column = one.column
    return (
        column.kind == "table"
        and readable(column)
        and column.type.family not in (*MUTE, "bytea", "search")
        and not (column.generated or column.primary or column.foreign or column.partition)
    )


def member_words(
    stage: psycopg.Connection[Any], originals: Originals, columns: Sequence[Column]
) -> list[str]:
    """Names of members in the JSON documents and hstores of `columns` that are those of persons:
    one that points to somebody, or a family name that is written like one."""
    found: set[str] = set()
    for column in columns:
        name = column_name("t", column.name)
        if column.type.family in ("json", "jsonb"):
            objects = f"""jsonb_path_query({name}::jsonb, '$.** ? (@.type() == "object")') o"""
            keys = f"{objects}, jsonb_object_keys(o) k"
        elif column.type.family == "hstore":
            keys = f"unnest(pg_catalog.akeys({name})) k".replace(
                "pg_catalog.akeys", f'"{column.type.schema}".akeys'
            )
        else:
            continue
        text = f"SELECT DISTINCT k FROM ONLY {column.sql_table} AS t, {keys} WHERE length(k) > 2"
        for (word,) in query(stage, text):
            named = word[0].isupper() and originals.holds_surname(word)
            if named or originals.distinctive.find(word):
                found.add(word)
    return sorted(found)
