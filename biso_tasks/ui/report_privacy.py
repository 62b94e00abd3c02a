"""What a run did with personal data, for whoever has to answer for it: a data protection officer
who reads neither SQL nor a list of steps. From the facts that the steps wrote into the journal:
counts and places, never a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from biso_tasks.ui.report_step import ReportStep

__all__ = ["PersonalData", "personal_data"]

_FILLED: Final = ("stage-data", "unpack-data", "in-place-data")
_TOLD: Final = ("originals", "anonymize", "rename-files", "scrub", "neutralize", "keep", "prove")


@dataclass(frozen=True, slots=True)
class PersonalData:
    """`said` are the parts of the answer, each a title and a sentence; `columns` how many values
    were replaced, by table and column; `found` places where something survived, with its kind;
    `risks` what remains although all went well; `facts` the numbers behind it."""

    anonymised: bool
    said: tuple[tuple[str, str], ...]
    columns: tuple[tuple[str, int], ...]
    found: tuple[tuple[str, str], ...]
    risks: tuple[str, ...]
    facts: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {
            "anonymised": self.anonymised,
            **self.facts,
            "changed_columns": dict(self.columns),
            "found": [{"place": place, "kind": kind} for place, kind in self.found],
            "said": [{"about": title, "text": text} for title, text in self.said],
            "risks": list(self.risks),
        }


def personal_data(
    steps: Sequence[ReportStep], proof: Mapping[str, Any] | None
) -> PersonalData | None:
    """Of a run whose recipe can anonymise a copy, and of its proof, whatever that came to; None for
    any other, and for one that did nothing."""
    by = {step.uses: step for step in steps}
    if "anonymize" not in by or all(step.began is None for step in steps):
        return None
    done = {uses: dict(step.facts) for uses, step in by.items() if step.status in ("ok", "undone")}
    found = tuple((str(one["place"]), str(one["kind"])) for one in (proof or {}).get("leaks") or ())
    anonymised = "anonymize" in done and "prove" in done and not found
    facts = {uses.replace("-", "_"): done[uses] for uses in _TOLD if uses in done}
    files = next((done[uses] for uses in _FILLED if uses in done), None)
    if files is not None:
        facts["files"] = {
            key: files[key] for key in ("files", "placeholders", "skipped") if key in files
        }
    masked = dict(done.get("anonymize", {}).get("columns") or {})
    if "anonymize" in facts:
        facts["anonymize"] = {k: v for k, v in facts["anonymize"].items() if k != "columns"}
    if "prove" in facts:
        facts["prove"] = {k: v for k, v in facts["prove"].items() if k != "leaks"}
    wanted = by["anonymize"].status != "skipped"
    clean = not wanted and done.get("stage-open", {}).get("raw") is False
    return PersonalData(
        anonymised=anonymised or clean,
        said=tuple(_said(done, files, wanted, found, anonymised, clean)),
        columns=tuple(sorted((str(place), int(count)) for place, count in masked.items())),
        found=found,
        risks=tuple(_risks(done, wanted, clean)) if done else (),
        facts=facts,
    )


def _said(
    done: Mapping[str, Mapping[str, Any]],
    files: Mapping[str, Any] | None,
    wanted: bool,
    found: Sequence[tuple[str, str]],
    anonymised: bool,
    clean: bool,
) -> Iterator[tuple[str, str]]:
    yield "Result", _BEFORE if clean else _result(wanted, found, anonymised)
    if "originals" in done:
        yield "Classified", _classified(done["originals"])
    if "anonymize" in done:
        yield "Changed", _changed(done)
    if files is not None:
        yield "Files", _files(files, wanted)
    if "neutralize" in done or "scrub" in done:
        yield "Neutralised", _neutralised(done)
    if done.get("keep", {}).get("rows"):
        yield (
            "Kept",
            f"{done['keep']['rows']:,} rows are the test instance's own and not production's.",
        )
    if "prove" in done or found:
        yield "Searched", _searched(done)
    if found:
        places = "; ".join(f"{place} ({kind})" for place, kind in found)
        yield "Found", f"Personal data of production survived in {len(found)} places: {places}."
    opened = done.get("stage-open", {}).get("own_role")
    if opened is not None:
        yield "Who could read the copy meanwhile", _readers(bool(opened))


_BEFORE: Final = (
    "The copy was made of what had been anonymised and searched before it was sealed; the report "
    "of that run says how."
)
_LEFT: Final = (
    "The proof looks for what is known to be personal. A text can still tell of a person without "
    "naming one."
)


def _result(wanted: bool, found: Sequence[tuple[str, str]], anonymised: bool) -> str:
    if not wanted:
        return (
            "The copy was NOT anonymised: whoever may use the test instance sees what is in "
            "production."
        )
    if anonymised:
        return (
            "The copy was anonymised, and searched afterwards for what production holds of "
            "persons: nothing was found."
        )
    if found:
        return "Personal data was found in the copy, so it was not served."
    return "The run ended before the proof. What is not proven is not served."


def _classified(facts: Mapping[str, Any]) -> str:
    kinds = facts.get("kinds") or {}
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    digest = facts.get("inventory")
    by = (
        f"the committed inventory privacy.toml (SHA-256 {digest}) decided first"
        if digest
        else "no inventory is committed: this run judged every column by name, type and content, "
        "and took for personal what is not provably harmless"
    )
    return (
        f"{facts.get('columns', 0):,} columns are personal"
        + (f" ({listed})" if listed else "")
        + f", {facts.get('harmless', 0):,} harmless; {by}."
    )


def _changed(done: Mapping[str, Mapping[str, Any]]) -> str:
    masked = done["anonymize"]
    parts = [
        "BISO's own anonymizer ran first",
        f"then {masked.get('masked', 0):,} values in {len(masked.get('columns') or {})} columns "
        "that still held an original were replaced",
    ]
    if masked.get("comments") or masked.get("labels"):
        parts.append(
            f"{masked.get('comments', 0):,} comments and {masked.get('labels', 0):,} labels of the "
            "schema as well"
        )
    renamed = done.get("rename-files", {})
    if renamed.get("renamed"):
        parts.append(
            f"{renamed['renamed']:,} file and folder names that named a person were changed, and "
            f"{renamed.get('rows', 0):,} rows that refer to them"
        )
    return "; ".join(parts) + ". Statistics of the database were made anew."


def _files(facts: Mapping[str, Any], wanted: bool) -> str:
    said = f"{facts.get('files', 0):,} files came from production as they are"
    if "placeholders" in facts and wanted:
        said += (
            f"; {facts['placeholders']:,} were replaced by an empty document of the same kind, and "
            f"{facts.get('skipped', 0):,} left out: the content of these never left production"
        )
    return said + "."


def _neutralised(done: Mapping[str, Mapping[str, Any]]) -> str:
    facts = done.get("neutralize", {})
    plugins = {**done.get("scrub", {}).get("plugins", {}), **facts.get("plugins", {})}
    parts = [
        f"{facts.get('statements', 0):,} statements and {facts.get('params', 0):,} settings of the "
        "site cut the copy off from the outside"
    ]
    parts += [f"the plugin {name} changed {count}" for name, count in sorted(plugins.items())]
    return "; ".join(parts) + ". The database is marked as a copy."


def _searched(done: Mapping[str, Mapping[str, Any]]) -> str:
    facts, known = done.get("prove", {}), done.get("originals", {})
    looked = (
        f"{facts['values']:,} values of {facts['columns']} columns, the schema and "
        f"{facts['files']:,} files were searched "
        if "values" in facts
        else "The copy was searched "
    )
    sampled = (
        "a sample of production's values, since there are more than the bound"
        if known.get("sampled")
        else "all of production's personal values"
    )
    seen = facts.get("canaries")
    return f"{looked}for {sampled} ({known.get('values', 0):,})." + (
        f" {seen} planted test values were all seen, so the search works." if seen else ""
    )


def _readers(own: bool) -> str:
    if own:
        return (
            "Until the proof the copy's database belonged to a role that was made for this run; "
            "neither the test instance nor its developers could open it, administrators of the "
            "server could."
        )
    return (
        "The copy's database belonged to the application's own role: whoever has its password "
        "could open it before the proof."
    )


def _risks(done: Mapping[str, Mapping[str, Any]], wanted: bool, clean: bool) -> Iterator[str]:
    if clean:
        yield _LEFT
        return
    if not wanted:
        yield "All personal data of production is in the test instance, and in what is made of it."
        return
    yield _LEFT
    if done.get("originals", {}).get("sampled"):
        yield "Only a sample of production's values was looked for."
    unread = done.get("prove", {}).get("unread")
    if unread:
        yield (
            "These files were copied and could not be opened to be searched; privacy.toml says of "
            f"each why it is harmless: {', '.join(unread)}."
        )
    if done.get("anonymize", {}).get("rewrite") == "auto":
        yield (
            "Tables that were masked by this tool were written anew. Rows that only BISO's own "
            "anonymizer changed may leave their originals in the database's files until that room "
            "is used again: hand on a dump of the database, never the server's files."
        )
    else:
        yield (
            "Changed rows leave their originals as dead rows in the files of the target's database "
            "until that room is used again: hand on a dump of the database, never the server's "
            'files ([privacy] rewrite = "auto" writes masked tables anew).'
        )
    yield (
        "The write-ahead log of the target's database server received the copy before it was "
        "anonymised. So did its archive, standby servers and backups, where there are any: they "
        "keep it as long as they keep anything."
    )
    yield (
        "Snapshots and images of the target's disk or virtual machine that were taken during the "
        "run hold the copy as it was then."
    )
    yield (
        "The database server's log can quote rows of statements that failed, and all that the "
        "application's own anonymizer says where it logs statements."
    )
