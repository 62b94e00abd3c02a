"""What the real values were: keyed hashes of every personal value of the source's snapshot, held in
memory for the length of one run, so that survivors can be recognised without being kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

from biso_tasks.privacy.bound import Cells
from biso_tasks.privacy.canaries import TABLE, draw
from biso_tasks.privacy.cells import tables
from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.columns import Column, Type
from biso_tasks.privacy.detect import words
from biso_tasks.privacy.distinctive import Distinctive
from biso_tasks.privacy.hashes import Hasher
from biso_tasks.privacy.learning import learn_objects, learn_table, settings_texts
from biso_tasks.privacy.sqltext import query, quiet, settle
from biso_tasks.privacy.uncollected import uncollected

if TYPE_CHECKING:
    import psycopg

__all__ = ["Cells", "Originals", "collect", "large_objects"]

_BOUND: Final = 10_000_000  # values: eighty megabytes of hashes
_WHOLE: Final = 10_000  # rows up to which a table is never sampled
_SURNAME: Final = 4  # letters from which a family name is looked for in the names of files
_PIECE: Final = 16_777_216  # bytes of one large object that are searched


@final
class Originals:
    """Asked by the mask and the proof. Shows numbers only, never a value; cannot be pickled."""

    __slots__ = (
        "_asked",
        "_cells",
        "_hasher",
        "_keys",
        "_objects",
        "_share",
        "_surnames",
        "_whole",
        "_whole_cells",
        "canaries",
        "canary_key",
        "distinctive",
        "renamed",
        "values",
    )  # fmt: skip

    def __init__(self) -> None:
        self._hasher = Hasher()
        self._cells: dict[str, Cells] = {}
        self._keys: dict[str, tuple[tuple[str, ...], bool]] = {}
        self._share: dict[str, float] = {}
        self._whole: dict[str, tuple[str, ...]] = {}
        self._whole_cells: dict[str, Cells] = {}
        self._asked = ""
        self._objects: set[int] = set()
        self._surnames: set[int] = set()
        self.distinctive = Distinctive(self._hasher)
        self.renamed: set[str] = set()  # columns in which names of files are no originals any more
        self.values = 0
        self.canaries = draw()
        self.canary_key = Column(
            "pg_temp", TABLE, "id", Type("int4", "pg_catalog", "integer", "number"), primary=True
        )
        self._learn_canaries()

    def _learn_canaries(self) -> None:
        self.learn_table(self.canary_key.relation, (("id",), True), 1.0)
        for cell in self.canaries.cells():
            self.expect(cell.column).learn("1", cell.raw)
        for value in self.canaries.kinds().values():
            self.distinctive.learn(value)
        self.distinctive.learn_name(self.canaries.given, self.canaries.family)
        self.values = 0

    @property
    def sampled(self) -> bool:
        """Whether there were more values than the bound, so that a sample stands for all."""
        return any(share < 1 for share in self._share.values())

    def share(self, relation: str) -> float:
        """The part of a table's rows that was taken, 0 to 1."""
        return self._share.get(relation, 1.0)

    def keys(self, relation: str) -> tuple[tuple[str, ...], bool] | None:
        """The columns that identify a row and whether for certain; None: not in the source."""
        return self._keys.get(relation)

    def of(self, column: Column) -> Cells | None:
        """What this column held; None: the source does not have it, or it was not personal. What
        other tables held is slower to ask for, and takes less memory, until it is asked for."""
        if column.relation != self._asked:
            self._asked = column.relation
            for cells in self._cells.values():
                cells.rest()
        return self._cells.get(column.label)

    def expect(self, column: Column) -> Cells:
        """Where this column's values are learnt; from now on it is known, even without rows."""
        cells = self._cells.get(column.label)
        if cells is None:
            cells = self._cells[column.label] = Cells(column, self._hasher)
        return cells

    def learn_table(self, relation: str, keys: tuple[tuple[str, ...], bool], share: float) -> None:
        """Says how the rows of a table are told apart and what part of them is taken."""
        self._keys[relation] = keys
        self._share[relation] = share

    def learn_whole(self, relation: str, names: tuple[str, ...]) -> None:
        """Says that these columns, which stay as they are, tell the rows of the source apart."""
        self._whole[relation] = names

    def whole(self, relation: str) -> tuple[str, ...]:
        """The columns that tell rows apart together where no key does; none: nothing is known."""
        return self._whole.get(relation, ())

    def expect_whole(self, column: Column) -> Cells:
        """What this column held, bound to rows as `whole` tells them apart."""
        cells = self._whole_cells.get(column.label)
        if cells is None:
            cells = self._whole_cells[column.label] = Cells(column, self._hasher)
        return cells

    def learn_object(self, digest: str) -> None:
        """Takes the checksum of one large object; "" is that of a placeholder."""
        if digest:
            self._objects.add(self._hasher.value("large object", digest))
            self.values += 1

    def known_object(self, digest: str) -> bool:
        """Whether a large object of the source had this very content."""
        return bool(digest) and self._hasher.value("large object", digest) in self._objects

    def learn_surname(self, text: str) -> None:
        """Takes the words of a family name, which by themselves point to nobody in a text, but do
        in the name of a file."""
        for word in words(text.casefold()):
            if len(word) >= _SURNAME:
                self._surnames.add(self._hasher.value("surname", word))

    def holds_surname(self, text: str) -> bool:
        """Whether a word of `text` is somebody's family name."""
        return any(
            self._hasher.value("surname", word) in self._surnames
            for word in words(text.casefold())
            if len(word) >= _SURNAME
        )

    def find_spans(self, text: str) -> list[tuple[int, int, str]]:
        """(start, end, kind) of each distinctive original within `text`, in order: what a mask
        takes out of a text of which the rest is the house's."""
        return self.distinctive.find_spans(text)

    def freeze(self, settings: Iterable[str] = (), own: Iterable[str] = ()) -> None:
        """Ends learning. `settings` and `own`: see `Distinctive.freeze`."""
        self.distinctive.freeze(settings, own)

    def __repr__(self) -> str:
        return f"Originals({self.values} values)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Originals cannot be pickled: they stay in this process")


def large_objects(conn: psycopg.Connection[Any]) -> Iterator[tuple[int, bytes]]:
    """Each large object's number and content, up to 16 MiB of it. Inside a transaction."""
    for (oid,) in query(conn, "SELECT oid::int8 FROM pg_catalog.pg_largeobject_metadata"):
        rows = query(conn, "SELECT lo_get(%s::oid, 0, %s)", (oid, _PIECE))
        yield oid, bytes(rows[0][0])


def collect(
    source: psycopg.Connection[Any],
    inventory: Sequence[Classified],
    *,
    bound: int = _BOUND,
    keep: Collection[str] = (),
    own: Collection[str] = (),
) -> Originals:
    """Hashes every personal value of `source` under a key that is drawn now and held nowhere else.
    Above `bound` values (by estimate: personal columns times rows) the larger tables are sampled,
    and `sampled` says so. `keep`: tables whose rows stay the test instance's own; `own`: the
    house's contacts. Raises StepFailed where rows cannot be read."""
    originals = Originals()
    groups = [g for g in tables(inventory) if g[0].column.relation not in keep]
    doing = "reading the originals"
    with uncollected(), source.transaction():
        quiet(doing, settle, source)
        sizes: dict[str, int] = {}
        for group in groups:
            personal = sum(one.personal for one in group)
            if personal:
                table = group[0].column
                only = "ONLY " if table.kind == "table" else ""
                count = f"SELECT count(*) FROM {only}{table.sql_table}"
                rows = quiet(doing, query, source, count)
                sizes[table.relation] = rows[0][0] * personal
        total = sum(sizes.values())
        for group in groups:
            table = group[0].column
            size = sizes.get(table.relation)
            if size is None:
                continue
            small = size <= _WHOLE * sum(one.personal for one in group)
            share = 1.0 if total <= bound or small else bound / total
            where = f"{doing}: table {table.relation}"
            quiet(where, learn_table, source, originals, group, share)
        if any(one.personal and one.column.kind == "large objects" for one in inventory):
            quiet(f"{doing}: large objects", learn_objects, source, originals)
        quiet(doing, originals.freeze, settings_texts(source, groups), own)
    return originals
