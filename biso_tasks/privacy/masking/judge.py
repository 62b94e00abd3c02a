"""Which cells of a table must go: whole columns where a look shows that they are as they were in
the source, single cells where BISO's anonymizer or somebody else has been already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from biso_tasks.privacy.cells import MUTE, Values, expression, readable
from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.masking.spans import spans_of
from biso_tasks.privacy.originals import Cells, Originals
from biso_tasks.privacy.reading import Batch, batches
from biso_tasks.privacy.sqltext import column_name, query

if TYPE_CHECKING:
    import psycopg

__all__ = ["Cell", "Verdict", "judge", "member_words", "searchable"]

_LOOK: Final = 2000  # rows that decide about a column


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
    """Looks at many rows of a table at a time; a verdict on single cells is the exception."""

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

    def batches(
        self, stage: psycopg.Connection[Any], todo: Sequence[int], limit: int | None = None
    ) -> Iterator[Batch]:
        """The ctid of each row, then its values of the columns `todo`."""
        values = ["t.ctid::text", *(expression(self.columns[at], "t") for at in todo)]
        return batches(stage, self.keys, values, self.table, limit=limit)

    def unchanged(self, at: int, keys: Sequence[str], values: Values) -> set[int]:
        """The rows whose value of column `at` is what it was in the source."""
        cells = self.cells[at]
        return set() if cells is None else cells.rows(keys, values, keyed=bool(self.keys))

    def holding(self, values: Values) -> set[int]:
        """The rows whose value holds an original of anybody."""
        if values.column.type.family in MUTE:
            return set()
        return self.originals.distinctive.holding(values.searched())


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
    cells: dict[tuple[str, int], Cell] = {}  # a batch may come twice
    for keys, (ctids, *values) in judged.batches(stage, rest):
        for at, found in zip(rest, values, strict=True):
            told = Values(columns[at], found)
            gone = judged.unchanged(at, keys, told)
            held = judged.holding(told) - gone
            if sampled and at < len(personal):
                if gone or held:
                    verdict.whole.add(at)
                continue
            for row in gone:
                cells[ctids[row], at] = Cell(ctids[row], at)
            for row in held:
                spans = spans_of(originals, columns[at], found[row])
                verdict.spans |= spans
                cells[ctids[row], at] = Cell(ctids[row], at, found[row] if spans else None)
    verdict.cells = [cell for cell in cells.values() if cell.at not in verdict.whole]
    return verdict


def _look(stage: psycopg.Connection[Any], judged: _Judge, todo: Sequence[int]) -> set[int]:
    """The columns of which half of the first rows are as they were."""
    seen, hits = dict.fromkeys(todo, 0), dict.fromkeys(todo, 0)
    for keys, (_, *values) in judged.batches(stage, todo, _LOOK):
        for at, column in zip(todo, values, strict=True):
            seen[at] += len(column) - column.count("")
            hits[at] += len(judged.unchanged(at, keys, Values(judged.columns[at], column)))
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
