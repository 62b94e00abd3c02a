"""Masks what BISO's own anonymizer left: every personal cell of the stage that still holds what it
held in the source, or that holds an original of anybody, by set-based SQL of our own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from biso_tasks.privacy.cells import tables
from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.masking.comments import mask_comments
from biso_tasks.privacy.masking.judge import searchable
from biso_tasks.privacy.masking.keys import is_key, mask_keys
from biso_tasks.privacy.masking.labels import mask_labels
from biso_tasks.privacy.masking.left import Left
from biso_tasks.privacy.masking.odd_places import mask_odd_places
from biso_tasks.privacy.masking.session import keyed
from biso_tasks.privacy.masking.table import mask_table
from biso_tasks.privacy.originals import Originals, large_objects
from biso_tasks.privacy.sqltext import execute, ident, query, quiet, settle

if TYPE_CHECKING:
    import psycopg

__all__ = ["Left", "Masked", "mask", "maskable", "refresh_views"]

_PLACEHOLDER: Final = "\\x00"


@dataclass(frozen=True, slots=True)
class Masked:
    """What was rewritten: cells by `table.column`, and how many of other things; and what had to be
    left, for the proof to find. No values."""

    cells: tuple[tuple[str, int], ...] = ()
    large_objects: int = 0
    views: int = 0
    comments: int = 0
    labels: int = 0  # of enums
    left: tuple[Left, ...] = ()

    @property
    def values(self) -> int:
        return sum(count for _, count in self.cells) + self.large_objects


def maskable(column: Column) -> bool:
    """Whether we may write it: nothing generated, no view."""
    return column.kind == "table" and not column.generated


def _mask_objects(stage: psycopg.Connection[Any]) -> int:
    with stage.transaction():
        settle(stage)
        numbers = [oid for oid, data in large_objects(stage) if data.strip(b"\0")]
        stage.execute(
            b"SELECT pg_temp.biso_object(o, %s::bytea) FROM unnest(%s::oid[]) o",
            (_PLACEHOLDER, numbers),
        )
    return len(numbers)


def refresh_views(stage: psycopg.Connection[Any]) -> int:
    """Refreshes the materialized views that were filled, in the order of creation (a view can only
    rest on older ones), and gives their number. The last of the writes: what is removed from a
    table afterwards would stay in a view. Raises StepFailed naming the view."""
    views = query(
        stage,
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind = 'm' AND c.relispopulated ORDER BY c.oid",
    )
    for schema, name in views:
        doing = f"refreshing materialized view {schema}.{name}"
        view = ident(schema, name)
        quiet(doing, execute, stage, f"REFRESH MATERIALIZED VIEW {view}")
        quiet(doing, execute, stage, f"ANALYZE {view}")
    return len(views)


def _tidy(stage: psycopg.Connection[Any], touched: Collection[Column], *, rewrite: bool) -> None:
    """Fresh statistics: the old ones hold the most common originals, extended ones included. With
    `rewrite` also fresh files: an update leaves the originals in dead rows."""
    for column in touched:
        # Not in a transaction, where VACUUM is refused.
        what = "VACUUM (FULL, ANALYZE)" if rewrite and stage.autocommit else "ANALYZE"
        doing = f"{'rewriting' if rewrite else 'analysing'} table {column.relation}"
        quiet(doing, execute, stage, f"{what} {column.sql_table}")


def mask(
    stage: psycopg.Connection[Any],
    originals: Originals,
    inventory: Sequence[Classified],
    *,
    keep: Collection[str] = (),
    off: Collection[str] = (),
    views: bool = True,
    rewrite: Literal["never", "auto"] = "never",
    on_table: Callable[[str], None] | None = None,
) -> Masked:
    """Rewrites in the stage what is personal and still original. `inventory` is that of the stage
    (see `classify.extend`); `keep` names tables that stay the test instance's own; `off` names
    rules (`Classified.kind`, "spans", "label", "view", "comment") that are left out; without
    `views` the caller refreshes them when nothing is written any more. Each table is one
    transaction where the connection is in autocommit, all that a foreign key ties together another.
    With `rewrite` "auto" each table that was touched is rewritten, so that no dead row keeps an
    original; that takes the room of its largest table once more, and the autocommit.
    Raises StepFailed naming table and constraint, never a value. The key is drawn here, given to
    the server in a temporary table, and forgotten."""
    cells: dict[str, int] = {}
    left: list[Left] = []
    with keyed(stage, secrets.token_hex(16)):
        for group in tables(inventory):
            relation = group[0].column.relation
            if relation in keep:
                continue
            personal = [
                one
                for one in group
                if one.personal
                and one.kind not in off
                and maskable(one.column)
                and not is_key(one.column)
            ]
            others = [
                one.column
                for one in group
                if not one.personal and "spans" not in off and searchable(one)
            ]
            if on_table is not None and (personal or others):
                on_table(relation)
            cells |= mask_table(stage, group, originals, personal, others)
            if "spans" not in off:
                changed, stay = mask_odd_places(stage, group, originals)
                cells |= {label: cells.get(label, 0) + count for label, count in changed.items()}
                left += stay
        changed, stay = mask_keys(stage, inventory, keep, off)
        cells |= changed
        done = Masked(cells=tuple(cells.items()), left=(*left, *stay))
        if any(
            one.personal and one.column.kind == "large objects" and one.kind not in off
            for one in inventory
        ):
            count = quiet("masking large objects", _mask_objects, stage)
            done = replace(done, large_objects=count)
        if "label" not in off:
            count, stay = quiet("masking enum labels", mask_labels, stage, originals)
            done = replace(done, labels=count, left=(*done.left, *stay))
    if "comment" not in off:
        count, stay = mask_comments(stage, originals)
        done = replace(done, comments=count, left=(*done.left, *stay))
    touched = {one.column.sql_table: one.column for one in inventory if one.column.label in cells}
    _tidy(stage, touched.values(), rewrite=rewrite == "auto")
    if views and "view" not in off:
        done = replace(done, views=refresh_views(stage))
    return done
