"""Enum labels that hold an original get a pseudonym: rows, defaults and views follow by
themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from biso_tasks.privacy.masking.left import Left
from biso_tasks.privacy.masking.session import copy_in
from biso_tasks.privacy.masking.spans import pseudonyms_of, replaced_text, spans_in
from biso_tasks.privacy.originals import Originals
from biso_tasks.privacy.schema_texts import LABELS, shown
from biso_tasks.privacy.sqltext import execute, ident, query, settle

if TYPE_CHECKING:
    import psycopg

__all__ = ["mask_labels"]

_LONGEST: Final = 63  # bytes of a label

# By a block that reads them from a table: a statement with the old label would stand in the log.
_RENAME: Final = """
DO $$ DECLARE r record; BEGIN
 FOR r IN SELECT * FROM pg_temp.biso_labels LOOP
  EXECUTE format('ALTER TYPE %s RENAME VALUE %L TO %L', r.kind, r.old, r.new);
 END LOOP;
END $$
"""


def mask_labels(
    stage: psycopg.Connection[Any], originals: Originals
) -> tuple[int, tuple[Left, ...]]:
    """Renames the labels that hold an original; gives their number and which had to stay. Where
    the key is at hand (`session.keyed`). Call it by `quiet`."""
    from psycopg.errors import InsufficientPrivilege

    find = originals.distinctive.find
    with stage.transaction():
        settle(stage)
        listed = query(stage, LABELS)
        hits = [row for row in listed if find(row[1])]
        if not hits:
            return 0, ()
        wanted = {span for row in hits for span in spans_in(originals, row[1])}
        made = pseudonyms_of(stage, wanted)
        taken = {(schema, name, label) for _, label, schema, name in listed}
        rows = []
        for _, label, schema, name in hits:
            new = replaced_text(originals, label, lambda kind, old: made.get((kind, old), old))
            new = new.encode()[:_LONGEST].decode(errors="ignore")
            number = 1
            while (schema, name, new) in taken:
                number += 1
                new = f"{new.encode()[: _LONGEST - 4].decode(errors='ignore')} {number}"
            taken.add((schema, name, new))
            rows.append((ident(schema, name), label, new))
        execute(stage, "CREATE TEMP TABLE biso_labels (kind text, old text, new text)")
        try:
            with stage.transaction():
                copy_in(stage, "biso_labels", rows)
                execute(stage, _RENAME)
        except InsufficientPrivilege:
            places = sorted({shown(f"label of {place}", find) for place, _, _, _ in hits})
            remedy = "let the application's role own the type in production"
            rows, left = [], tuple(Left(place, "not ours to change", remedy) for place in places)
        else:
            left = ()
        execute(stage, "DROP TABLE pg_temp.biso_labels")
    return len(rows), left
