from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.flow.journal import Journal, JournalError
from biso_tasks.flow.plan import Scope, Step
from biso_tasks.ui.report import Report, as_json, load
from biso_tasks.ui.report_html import html
from biso_tasks.ui.report_markdown import markdown

Ran = Callable[..., Path]
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Checks that every tag is closed by its own, and gathers what a page could load or run."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text.append(data)


def step(name: str, facts: dict[str, object], **more: object) -> Step:
    return Step(name, lambda scope: facts, on="test", **more)  # type: ignore[arg-type]


def test_a_failed_run_is_reported_with_each_step(ran: Ran, failing_steps: tuple[Step, ...]) -> None:
    report = load(ran(*failing_steps))
    assert (report.task, report.status, report.ok, report.exit_code) == (
        "refresh-test", "failed", False, 1,
    )  # fmt: skip
    assert {one.name: one.status for one in report.steps} == {
        "stage": "undone",
        "anonymize": "skipped",
        "swap": "failed",
        "never": "not run",
        "unlock": "ok",
    }
    stage, anonymize, swap, never, _ = report.steps
    assert stage.notes == ("direct: test pulls from prod",)
    assert stage.facts["tables"] == {"person": 12, "beratungsfall": 7}
    assert anonymize.reason == "--no-anonymize"
    assert swap.error is not None
    assert swap.error.hint == "look into its log"
    assert swap.destroys == ("the <old> one",)
    assert never.began is None
    assert report.error == swap.error


def test_what_counts_for_the_run_comes_from_its_steps_and_from_the_result(ran: Ran) -> None:
    proof = {"columns": 12, "values": 340, "files": 7, "leaks": []}

    def before(journal: Journal) -> None:
        journal.write("plan", header=[["source", "prod"]], notes=["The stage is raw."])
        journal.write("result", facts={"source": "live"})

    path = ran(
        step("prove", {**proof, "residual_risk": "fonts"}),
        step("swap", {"downtime_seconds": 0.41, "previous": "biso_test__previous", "bytes": 5,
                      "residual_risk": ["WAL", "fonts"]}),
        before=before,
    )  # fmt: skip
    report = load(path)
    assert report.ok
    assert report.exit_code == 0
    assert report.downtime_seconds == 0.41
    assert report.proof == proof
    assert report.risks == ("fonts", "WAL")
    assert report.header == (("source", "prod"),)
    assert report.notes == ("The stage is raw.",)
    assert list(report.facts) == ["source", "downtime_seconds", "previous", "proof"]


def test_json_has_what_scripts_rely_on(ran: Ran, failing_steps: tuple[Step, ...]) -> None:
    document = json.loads(json.dumps(as_json(load(ran(*failing_steps)))))
    assert document["ok"] is False
    assert document["exit_code"] == 1
    assert document["run"] == "20250301_142530-refresh-test-9f3c"
    assert {"task", "seconds", "steps", "error"} <= document.keys()
    assert {"name", "on", "status", "seconds"} <= document["steps"][0].keys()
    assert document["error"] == {
        "kind": "failed",
        "message": "test: the site answers 500\nafter the swap",
        "hint": "look into its log",
    }


def test_a_step_that_moved_bytes_has_its_rate_and_what_limited_it(ran: Ran) -> None:
    def copied(scope: Scope) -> dict[str, Any]:
        time.sleep(0.02)
        return {"bytes": 2_000_000, "limited_by": "the link (80 % of the time)"}

    report = load(ran(Step("stage", copied), step("lock", {"bytes": 0})))
    seconds = report.steps[0].seconds
    assert seconds
    assert report.steps[0].facts["rate"] == round(2_000_000 / seconds)
    assert "rate" not in report.steps[1].facts
    for shown in (html(report), markdown(report)):
        assert "MB/s" in shown
        assert "limited by" in shown
        assert "the link (80 % of the time)" in shown


@pytest.mark.parametrize("cut", [1, 30])
def test_a_journal_whose_last_line_was_cut_is_read_up_to_there(ran: Ran, cut: int) -> None:
    path = ran(step("stage", {}), step("swap", {}))
    lines = path.read_bytes().splitlines(keepends=True)
    ends = [number for number, one in enumerate(lines) if b'"step_finished"' in one]
    path.write_bytes(b"".join(lines[: ends[1]]) + lines[ends[1]][:-cut])
    report = load(path)
    assert (report.status, report.ok, report.exit_code) == ("unfinished", False, None)
    assert [one.status for one in report.steps] == ["ok", "unfinished"]
    assert report.steps[1].seconds is not None
    assert "This run has no end" in html(report)
    markdown(report)


def test_a_failed_undo_is_told(ran: Ran) -> None:
    def no(scope: Scope) -> None:
        raise ValueError("no")

    stage = Step("stage", lambda scope: None, undo=no)
    report = load(ran(stage, Step("swap", no, needs=("stage",))))
    assert report.exit_code == 6
    assert report.steps[0].status == "failed"
    assert report.steps[0].undo_error is not None
    assert "It could not be undone" in html(report)
    assert "undo failed" in markdown(report)


def test_an_observer_that_failed_is_told_with_its_exit_code(ran: Ran) -> None:
    def before(journal: Journal) -> None:
        journal.write("listener_failed", listener="notify", method="step_finished")

    report = load(ran(step("stage", {}), before=before))
    assert (report.ok, report.exit_code) == (True, 75)
    assert "notify.step_finished" in html(report)


@pytest.mark.parametrize(
    "content",
    ["", '{"event":"step_started","t":1}\n', '{"event":"run_started","t":"x","steps":[]}\n',
     '{"event":"run_started","t":0,"steps":[1]}\n'],
)  # fmt: skip
def test_a_journal_that_holds_no_run_is_a_handled_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(content)
    with pytest.raises(JournalError, match="no report can be made"):
        load(path)


def test_the_page_is_balanced_and_loads_and_runs_nothing(
    ran: Ran, failing_steps: tuple[Step, ...]
) -> None:
    text = html(load(ran(*failing_steps)))
    page = Page(text)
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert not page.tags & {"script", "link", "img", "iframe", "object", "base", "form", "a"}
    loading = {"src", "href", "srcset", "style", "action", "data", "poster", "xlink:href"}
    assert not [one for one in page.attributes if one[1] in loading or one[1].startswith("on")]
    assert not re.search(r"url\(|@import|https?:", text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_each_step_that_ran_has_its_bar(ran: Ran, failing_steps: tuple[Step, ...]) -> None:
    page = Page(html(load(ran(*failing_steps))))
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert [label.split(":")[0] for label in labels] == ["stage", "swap", "unlock"]
    for _, name, value in page.attributes:
        if name in ("x", "width") and value.replace(".", "").isdigit():
            assert 0 <= float(value) <= 1000


def hostile_report(ran: Ran, hostile: str) -> Report:
    def fail(scope: Scope) -> None:
        scope.note(hostile)
        raise ValueError(hostile)

    def before(journal: Journal) -> None:
        journal.write("plan", header=[[hostile, hostile]], notes=[hostile])
        journal.write("result", facts={"source": hostile, "proof": {hostile: hostile}})
        journal.write("listener_failed", listener=hostile, method=hostile)

    facts: dict[str, object] = {hostile: hostile, "nested": {hostile: [hostile]}}
    return load(
        ran(
            step("first" + hostile, facts | {"residual_risk": hostile}, uses=hostile),
            Step("second" + hostile, fail, on=hostile, changes=(hostile,), destroys=(hostile,)),
            Step("third" + hostile, fail, skip=hostile),
            before=before,
        )
    )


def test_hostile_names_stay_text_in_the_page(ran: Ran, hostile: str) -> None:
    text = html(hostile_report(ran, hostile + '"\' onload="x" </style></title>'))
    page = Page(text)
    assert "script" not in page.tags
    assert not [one for one in page.attributes if one[1].startswith("on")]
    assert all(char == "\n" or char.isprintable() for char in text)
    assert any("<script>alert(1)</script>" in one for one in page.text)


def test_hostile_names_stay_text_in_markdown(ran: Ran, hostile: str) -> None:
    text = markdown(hostile_report(ran, hostile))
    assert all(char == "\n" or char.isprintable() for char in text)
    assert not re.search(r"(?<!\\)<|(?<!\\)`|(?<!\\)\[|://", text)
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(table) == 4
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in table)
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert len([line for line in headings if line.startswith("### ")]) == 3


def test_markdown_tells_the_whole_run(ran: Ran, failing_steps: tuple[Step, ...]) -> None:
    text = markdown(load(ran(*failing_steps)))
    assert text.startswith("# refresh-test: failed\n\n- run: 20250301\\_142530-refresh-test-9f3c\n")
    assert "## What went wrong\n\ntest: the site answers 500 after the swap\n" in text
    assert "| anonymize | test | skipped |  |" in text
    assert "- **destroys**: the \\<old\\> one" in text
    assert "- tables: person: 12, beratungsfall: 7" in text


@pytest.mark.parametrize("text", ["- x", "+ x", "1. x", "12) x", "# x", "    x", "> x"])
def test_a_note_cannot_begin_a_list_or_heading_of_its_own(ran: Ran, text: str) -> None:
    def say(scope: Scope) -> None:
        scope.note(text)

    lines = markdown(load(ran(Step("stage", say)))).splitlines()
    note = next(line for line in lines if line.startswith("- note: "))
    assert "\\" in note or text.strip() == "x"


def test_a_number_at_the_beginning_of_a_text_stays_as_it_is(ran: Ran) -> None:
    assert "- downtime: 0.20 s" in markdown(load(ran(step("swap", {"downtime_seconds": 0.2}))))


def test_a_step_with_many_facts_is_folded(ran: Ran) -> None:
    few, many = {"tables": {"a": 1}}, {"tables": {str(number): 1 for number in range(50)}}
    assert html(load(ran(step("few", few), step("many", many)))).count("<details open>") == 1
