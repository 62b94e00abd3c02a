"""What a report says of personal data, to somebody who has to answer for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from biso_tasks.flow.journal import Journal
from biso_tasks.flow.plan import Scope, Step
from biso_tasks.ui.report import Report, as_json, load
from biso_tasks.ui.report_html import html
from biso_tasks.ui.report_markdown import markdown

Ran = Callable[..., Path]

FACTS: dict[str, dict[str, object]] = {
    "stage-open": {"own_role": True},
    "originals": {"columns": 12, "values": 340, "sampled": False, "harmless": 88,
                  "kinds": {"name": 5, "mail": 2, "text": 5}, "inventory": "ab12"},
    "stage-data": {"files": 9, "placeholders": 30, "skipped": 2, "bytes": 5},
    "rename-files": {"renamed": 3, "rows": 4},
    "anonymize": {"masked": 77, "columns": {"public.person.mail": 70, "public.log.text": 7},
                  "comments": 1, "labels": 0, "rewrite": "never"},
    "scrub": {"plugins": {"attachment_scrub": 6}},
    "keep": {"rows": 11},
    "neutralize": {"statements": 2, "params": 1, "plugins": {}},
    "prove": {"columns": 100, "values": 5000, "files": 41, "leaks": [], "canaries": 54,
              "sampled": False},
}  # fmt: skip


def report(
    ran: Ran, *, without: tuple[str, ...] = (), leaks: object = (), **more: object
) -> Report:
    """Of a refresh whose steps gave FACTS and `more`; those `without` were left out."""

    def run(uses: str) -> Callable[[Scope], object]:
        def give(scope: Scope) -> object:
            if uses == "prove" and leaks:
                raise ValueError("survived")
            return FACTS[uses] | dict(more.get(uses, {}))  # type: ignore[call-overload]

        return give

    def before(journal: Journal) -> None:
        if leaks:
            journal.write("result", facts={"proof": {"leaks": leaks}})

    steps = [
        Step(f"step-{uses}", run(uses), uses=uses, skip="off" if uses in without else "")  # type: ignore[arg-type]
        for uses in FACTS
    ]
    return load(ran(*steps, before=before))


def test_a_proven_refresh_says_what_was_found_changed_searched_and_who_could_read(
    ran: Ran,
) -> None:
    found = report(ran)
    assert found.personal is not None and found.personal.anonymised
    said = dict(found.personal.said)
    assert said["Classified"] == (
        "12 columns are personal (2 mail, 5 name, 5 text), 88 harmless; the committed inventory "
        "privacy.toml (SHA-256 ab12) decided first."
    )
    assert (
        "77 values in 2 columns" in said["Changed"] and "3 file and folder names" in said["Changed"]
    )
    assert "9 files came" in said["Files"] and "30 were replaced" in said["Files"]
    assert "2 left out" in said["Files"]
    assert "2 statements and 1 settings" in said["Neutralised"]
    assert "attachment_scrub changed 6" in said["Neutralised"]
    assert "11 rows" in said["Kept"]
    assert said["Searched"] == (
        "5,000 values of 100 columns, the schema and 41 files were searched for all of "
        "production's personal values (340). 54 planted test values were all seen, so the search "
        "works."
    )
    assert "made for this run" in said["Who could read the copy meanwhile"]
    for risk in ("dead rows", "write-ahead log", "Snapshots", "log can quote"):
        assert any(risk in one for one in found.risks), risk


def test_all_three_forms_have_the_section_and_the_columns(ran: Ran) -> None:
    found = report(ran)
    document = json.loads(json.dumps(as_json(found)))["personal_data"]
    assert document["anonymised"] is True and document["found"] == []
    assert document["changed_columns"] == {"public.log.text": 7, "public.person.mail": 70}
    assert document["originals"]["kinds"]["mail"] == 2
    assert {one["about"] for one in document["said"]} >= {"Classified", "Changed", "Searched"}
    assert document["risks"] == list(found.risks)
    text, page = markdown(found), html(found)
    assert "## Personal data" in text and "| public.person.mail | 70 |" in text
    assert "<h2>Personal data</h2>" in page and '<th scope="row">public.person.mail</th>' in page


@pytest.mark.parametrize(
    ("change", "title", "said"),
    [
        ({"originals": {"inventory": None}}, "Classified", "no inventory is committed"),
        ({"originals": {"sampled": True}}, "Searched", "a sample of production's values"),
        ({"stage-open": {"own_role": False}}, "Who could read the copy meanwhile", "password"),
    ],
)
def test_what_is_weaker_is_said(ran: Ran, change: object, title: str, said: str) -> None:
    found = report(ran, **change)  # type: ignore[arg-type]
    assert found.personal is not None
    assert said in dict(found.personal.said)[title]


def test_rewritten_tables_and_a_sample_change_the_risks(ran: Ran) -> None:
    rewritten = report(ran, anonymize={"rewrite": "auto"}, originals={"sampled": True})
    assert any("written anew. Rows that only" in one for one in rewritten.risks)
    assert not any("as dead rows" in one for one in rewritten.risks)
    assert any("Only a sample" in one for one in rewritten.risks)


def test_a_file_that_nobody_could_search_is_named_as_a_risk(ran: Ran) -> None:
    found = report(ran, prove={"unread": ["hilfe/formular.pdf"]})
    assert any("could not be opened" in one and "hilfe/formular.pdf" in one for one in found.risks)
    assert "hilfe/formular.pdf" in markdown(found) and "hilfe/formular.pdf" in html(found)


def test_a_copy_that_was_not_anonymised_is_called_that(ran: Ran) -> None:
    found = report(ran, without=("originals", "rename-files", "anonymize", "scrub", "prove"))
    assert found.personal is not None and not found.personal.anonymised
    assert "NOT anonymised" in dict(found.personal.said)["Result"]
    assert any("All personal data of production" in one for one in found.risks)
    assert "NOT anonymised" in markdown(found) and "NOT anonymised" in html(found)


def test_what_survived_is_named_by_its_place(ran: Ran) -> None:
    found = report(ran, leaks=[{"place": "public.person.mail", "kind": "mail"}])
    assert found.personal is not None and not found.personal.anonymised
    said = dict(found.personal.said)
    assert "not served" in said["Result"]
    assert said["Found"].endswith("in 1 places: public.person.mail (mail).")
    assert found.personal.found == (("public.person.mail", "mail"),)


def test_a_backup_has_no_such_section(ran: Ran) -> None:
    found = load(ran(Step("dump", lambda scope: {}, uses="dump")))
    assert found.personal is None
    assert "personal_data" not in as_json(found)


def test_a_copy_of_what_was_proven_before_is_not_called_raw(ran: Ran) -> None:
    off = ("originals", "rename-files", "anonymize", "scrub", "prove")
    found = report(ran, without=off, **{"stage-open": {"raw": False}})  # type: ignore[arg-type]
    assert found.personal is not None and found.personal.anonymised
    assert "NOT" not in markdown(found)
    assert "had been anonymised" in dict(found.personal.said)["Result"]
    assert len(found.risks) == 1
