"""Which rule speaks of which column: exact names before patterns, longer patterns before shorter,
privacy.toml before plugins, and both before what the scan found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Final, final

from biso_tasks.files.patterns import is_literal
from biso_tasks.privacy.classify import Classified, natural
from biso_tasks.privacy.columns import Column
from biso_tasks.privacy.inventory.model import FileRule, Inventory, Rule, fits

__all__ = ["Index", "Partitions", "apply", "file_rules", "names", "vouched_files"]

Partitions = Mapping[tuple[str, str], str]
"""What `columns.partitions` gives: a rule of the partitioned table speaks of its partitions."""

_NONE: Final[Partitions] = {}


def names(column: Column, parts: Partitions = _NONE) -> tuple[str, ...]:
    """What a rule may call a column, the best name first."""
    if column.kind == "large objects":
        return (column.label,)
    above = parts.get((column.schema, column.table))
    found = [column.label, f"{column.schema}.{column.table}.{column.name}"]
    if above is not None:
        found = [f"{above}.{column.name}", *found]
    return tuple(dict.fromkeys(found))


@final
class Index:
    """The rules of one inventory, looked up by column."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self._exact = {rule.pattern: rule for rule in inventory.columns}
        wide = [rule for rule in inventory.columns if not is_literal(rule.pattern)]
        self._wide = sorted(wide, key=lambda rule: -len(rule.pattern))

    def matching(self, column: Column, parts: Partitions = _NONE) -> tuple[Rule, ...]:
        """Every rule that speaks of `column`, the one that counts first."""
        known = names(column, parts)
        exact = [self._exact[name] for name in known if name in self._exact]
        wide = [
            rule
            for rule in self._wide
            if rule not in exact and any(fnmatchcase(name, rule.pattern) for name in known)
        ]
        return (*exact, *wide)

    def rule(self, column: Column, parts: Partitions = _NONE) -> Rule | None:
        """The rule that counts for `column`."""
        if column.kind == "large objects":
            return self.inventory.large_objects
        return next(iter(self.matching(column, parts)), None)


def apply(
    inventories: Sequence[Inventory],
    found: Sequence[Classified],
    parts: Partitions = _NONE,
) -> tuple[Classified, ...]:
    """The judgements with what was said in place of what the scan found. A kind that a column's
    type cannot have (a pattern over a whole table) becomes the kind of the type."""
    indexes = [Index(inventory) for inventory in inventories]
    return tuple(_one(indexes, one, parts) for one in found)


def _one(indexes: Sequence[Index], one: Classified, parts: Partitions) -> Classified:
    said = ((index.inventory, rule) for index in indexes if (rule := index.rule(one.column, parts)))
    inventory, rule = next(said, (None, None))
    if inventory is None or rule is None:
        return one
    reason = rule.reason or f"declared in {rule.place}"
    if rule.kind is None:
        # Whoever overrules the scan says that these values point to nobody, wherever they stand.
        common = one.common or one.personal
        return replace(one, personal=False, reason=reason, common=common, decided=inventory.decided)
    type = one.column.type
    kind = rule.kind if fits(rule.kind, type) else natural(type.family)
    column = replace(one.column, paths=rule.paths)
    return Classified(column, True, reason, kind, decided=inventory.decided)


def file_rules(inventories: Sequence[Inventory]) -> tuple[FileRule, ...]:
    """What was said of files, in the order in which it counts."""
    return tuple(
        rule
        for inventory in inventories
        for rule in sorted(
            inventory.files, key=lambda one: (not is_literal(one.pattern), -len(one.pattern))
        )
    )


def vouched_files(inventories: Sequence[Inventory]) -> frozenset[str]:
    """Paths of the files that are said to be harmless one by one, with the reason: by a pattern
    nobody has looked at each."""
    said: dict[str, FileRule] = {}
    for rule in file_rules(inventories):
        if is_literal(rule.pattern):
            said.setdefault(rule.pattern.removeprefix("/"), rule)
    return frozenset(path for path, rule in said.items() if not rule.personal and rule.reason)
