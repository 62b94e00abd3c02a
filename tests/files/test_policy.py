"""The file policy is asked before anything travels; the first answer counts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from biso_tasks.errors import ConfigError
from biso_tasks.files.listing import Entry, Kind, Listing
from biso_tasks.files.policy import Decision, decide


def entry(path: str, kind: Kind = "file", target: str = "") -> Entry:
    return Entry(path, kind, 5, 0, 0o644, "w", "w", 1, 1, 1, target, True)


def listing(*entries: Entry) -> Listing:
    return Listing("/data", entry("", "dir"), entries, 0, ())


def names(entries: tuple[Entry, ...]) -> list[str]:
    return [one.path for one in entries]


def test_letters_help_and_fonts_are_copied_and_people_are_not() -> None:
    decision = decide(
        listing(
            *map(entry, ("brief_vorlagen/a.docx", "hilfe/x.html", "fonts/a", "x/f.ttf")),
            *map(entry, ("fop.xconf", "anhang/1.pdf", "sub/fop.xconf", "phpdocxconfig.ini")),
        ),
        [],
    )
    assert names(decision.placeholder) == ["anhang/1.pdf", "sub/fop.xconf"]
    assert decision.bytes_to_copy == 30


def test_without_anonymisation_everything_is_copied() -> None:
    assert not decide(listing(entry("anhang/1.pdf")), [], anonymize=False).placeholder


def test_a_plugin_is_asked_first_then_the_site_then_what_is_built_in() -> None:
    tree = listing(entry("fonts/a"), entry("fonts/b"), entry("fonts/c"))
    decision = decide(
        tree,
        [("fonts/b", "skip"), ("fonts/*", "placeholder"), ("fonts/b", "copy")],
        lambda path: "copy" if path == "fonts/a" else None,
    )
    assert names(decision.copy) == ["fonts/a"]
    assert names(decision.skip) == ["fonts/b"]
    assert names(decision.placeholder) == ["fonts/c"]


def test_an_answer_that_is_none_of_the_three_is_an_error() -> None:
    with pytest.raises(ConfigError, match="'Copy'"):
        decide(listing(entry("a")), [], lambda _: "Copy")


def test_directories_always_exist_and_special_files_never() -> None:
    decision = decide(
        listing(entry("import", "dir"), entry("import/f"), entry("fifo", "special")),
        [("**", "skip")],
    )
    assert names(decision.copy) == ["import"]
    assert names(decision.skip) == ["import/f"]
    assert names(decision.special) == ["fifo"]


@pytest.mark.parametrize(
    ("path", "target", "outside"),
    [
        ("a/link", "../b", False),
        ("a/link", "../../etc/passwd", True),
        ("link", "/srv/data/b", True),
        ("link", "..", True),
        ("link", "x/../../y", True),
        ("link", "..x", False),
    ],
)
def test_a_link_stays_a_link_and_one_that_leads_out_is_reported(
    path: str, target: str, outside: bool
) -> None:
    decision = decide(listing(entry(path, "link", target)), [])
    assert names(decision.copy) == [path]
    assert names(decision.outside) == ([path] if outside else [])


def test_a_newline_does_not_slip_through_a_rule() -> None:
    decision = decide(listing(entry("secret\nx.pdf")), [("*.pdf", "skip")], anonymize=False)
    assert names(decision.skip) == ["secret\nx.pdf"]


def test_the_bytes_are_counted_once_however_often_they_are_asked_for() -> None:
    """Every sign of progress asks: of 40,000 files it cost four minutes."""

    class Counted(tuple[Entry, ...]):
        walks = 0

        def __iter__(self) -> Iterator[Entry]:
            self.walks += 1
            return super().__iter__()

    entries = Counted((entry("a.pdf"), entry("b"), entry("c", "dir")))
    decision = Decision(entries, (), (), (), ())
    assert [decision.bytes_to_copy for _ in range(3)] == [10, 10, 10]
    assert entries.walks == 1
