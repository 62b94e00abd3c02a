"""`restore --table`: one table of a set, in a schema of its own beside what is live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.sets.restore import FromSet, survey_set
from biso_tasks.backup.ids import parse_id
from biso_tasks.database.one_table import bring_table, find_table, require_free_place
from biso_tasks.database.snapshot import label
from biso_tasks.database.sqltext import Name, name
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.stage.model import Area

__all__ = ["ACTIONS", "OneTable"]


@dataclass(slots=True)
class OneTable(FromSet):
    """The work of `restore --table`: `wanted` as the person wrote it. The set's main dump is loaded
    beside the live database, and dropped again."""

    areas: frozenset[Area] = frozenset(("database",))
    wanted: str = ""
    table: Name = field(default_factory=lambda: name("", ""))
    rows: int = 0
    restored: bool = False

    @property
    def place(self) -> Name:
        """Where it will be: in a schema that is called after the set's moment."""
        return name(f"restored_{parse_id(self.id).stamp}", self.table.parts[1])

    def look_again(self) -> None:
        assert self.store is not None
        whole = survey_set(self.session, self, self.store)
        # Only the main database is needed, and nothing is swapped.
        self.survey = replace(
            whole,
            stage=replace(whole.stage, databases=whole.stage.databases[:1]),
            target_facts=whole.target_facts[:1],
            dumps=whole.dumps[:1],
            source_facts=whole.source_facts[:1],
            notes=(),
        )
        dump = self.survey.dumps[0]
        assert dump is not None
        self.table = find_table(dump.counts.tables, self.wanted)
        self.rows = dump.counts.tables[label(self.table)]
        require_free_place(self.stage.main.server, self.place)

    def fingerprint(self) -> Mapping[str, object]:
        return {**self.facts.fingerprint(), "table": (label(self.table), self.rows)}


def _bring(context: Context[OneTable]) -> dict[str, Any]:
    work = context.work
    bring_table(
        work.target_server(0),
        work.filled_server(0),
        work.table,
        work.place,
        work.rows,
        cancel=context.cancel,
    )
    work.restored = True
    return {"rows": work.rows}


def _describe(context: Context[OneTable]) -> Effects:
    work = context.work
    return Effects(
        changes=(
            f"makes {label(work.place)} in the live database {work.stage.main.live}, with the "
            f"{work.rows} rows and the column types of {label(work.table)}: no keys, no defaults; "
            "nothing else there is touched",
        )
    )


ACTIONS = (Action("bring-table", _bring, "Copy one table beside what is live", _describe),)
