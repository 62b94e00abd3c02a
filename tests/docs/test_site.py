"""The documentation as a site: built without a warning, whole in itself, and loading nothing from
anywhere else. That a mistake would end the build is tried on a copy."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
# what makes a browser fetch something as soon as a page is opened
LOADING = {"script", "link", "img", "source", "iframe", "video", "audio", "embed", "object", "use"}


@dataclass
class Page(HTMLParser):
    """Where a built page leads, what it loads, and its anchors."""

    text: str
    leads: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    anchors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key == "id" and value:
                self.anchors.append(value)
            if key in ("href", "src", "srcset", "data", "poster", "xlink:href") and value:
                (self.loads if tag in LOADING else self.leads).append(value)
            if key == "content" and value and "url=" in value:
                self.leads.append(value.partition("url=")[2])


def build(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """As docs/testing.md says, into another folder."""
    (command,) = re.findall(r"^\$ \.venv/bin/python (-m sphinx .*) dist/docs$", told(), re.M)
    return subprocess.run(
        [sys.executable, *command.split(), "-q", str(out)],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip


def told() -> str:
    return (ROOT / "docs/testing.md").read_text("utf-8")


@dataclass(frozen=True)
class Built:
    root: Path
    out: Path
    said: subprocess.CompletedProcess[str]

    def pages(self) -> Iterator[tuple[Path, Page]]:
        for path in sorted(self.out.rglob("*.html")):
            yield path, Page(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A copy of the pages, with links to all else that is there, and the site of it."""
    root = tmp_path_factory.mktemp("site") / "checkout"
    root.mkdir()
    for path in ROOT.iterdir():
        if path.name == "docs":
            shutil.copytree(path, root / "docs")
        elif path.is_file():
            shutil.copy(path, root)
        elif not path.name.startswith("."):
            (root / path.name).symlink_to(path)
    out = root.parent / "out"
    return Built(root, out, build(root, out))


def broken(page: Path, page_of: Page, out: Path) -> list[str]:
    """Links to what is not there, or to an anchor that it has not."""
    found = []
    for link in [*page_of.leads, *page_of.loads]:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not target.is_file() or out not in target.parents:
            found.append(link)
        elif parts.fragment and target.suffix == ".html":
            known = page_of if target == page else Page(target.read_text("utf-8"))
            if unquote(parts.fragment) not in known.anchors:
                found.append(link)
    return found


def foreign(page: Page) -> list[str]:
    return [link for link in page.loads if urlsplit(link).scheme or urlsplit(link).netloc]


def test_it_is_built_without_a_warning(built: Built) -> None:
    assert (built.said.returncode, built.said.stderr) == (0, "")
    names = {path.relative_to(built.out).as_posix() for path, _ in built.pages()}
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert {f"{path.relative_to(ROOT).with_suffix('.html')}" for path in pages} <= names


def test_every_link_of_it_leads_somewhere(built: Built) -> None:
    for path, page in built.pages():
        assert broken(path, page, built.out.resolve()) == [], path
        twice = {one for one in page.anchors if page.anchors.count(one) > 1}
        assert not twice, f"{path}: {twice}"


def test_nothing_is_loaded_from_another_host(built: Built) -> None:
    for path, page in built.pages():
        assert page.loads or path.name == "index.html", path
        assert foreign(page) == [], path
        assert "<style" not in page.text
    for path in built.out.rglob("*.css"):
        assert not re.search(r"@import|url\(\s*['\"]?(?!data:)", path.read_text("utf-8")), path
    for path in built.out.rglob("*.js"):
        code = re.sub(r"/\*.*?\*/|//.*", "", path.read_text("utf-8"), flags=re.S | re.M)
        assert not re.search(r"\b(?:fetch|import)\(['\"`]", code), path


def test_both_drawings_are_in_it(built: Built) -> None:
    for name, words in (("verbs", "backup sets to stage: restore"), ("map", "cli to actions")):
        text = (built.out / f"docs/{name}.html").read_text("utf-8")
        assert text.count("<svg ") == 1
        assert words in text
        assert "flowchart" not in text


def test_every_page_is_reached_from_every_other(built: Built) -> None:
    """The navigation stands on each page, the decisions behind theirs."""
    text = (built.out / "docs/verbs.html").read_text("utf-8")
    aside = Page(text[text.index('class="sphinxsidebar"') :])
    told_of = {(built.out / "docs" / link).resolve() for link in aside.leads}
    for path in (ROOT / "docs").glob("*.md"):
        assert (built.out / "docs" / f"{path.stem}.html").resolve() in told_of | {
            (built.out / "docs/verbs.html").resolve()
        }
    decisions = Page((built.out / "docs/adr/README.html").read_text("utf-8"))
    for path in (ROOT / "docs/adr").glob("0*.md"):
        assert f"{path.stem}.html" in decisions.leads


def test_the_readme_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for path in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{path.name})" in text


def test_a_mistake_in_a_page_ends_the_build(built: Built) -> None:
    stray = "# A page\n\n[a](gone.md) [b](verbs.md#lost) [c](#missing) [d](../nothing.txt)\n"
    page = built.root / "docs/stray.md"
    page.write_text(f"{stray}\n```mermaid\nflowchart TB\n  a ==> b\n```\n")
    try:
        done = build(built.root, built.out)
    finally:
        page.unlink()
        (built.out / "docs/stray.html").unlink(missing_ok=True)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if "docs/stray.md" in line]
    mistakes = ("gone.md", "'docs/verbs': 'lost'", "missing", "nothing.txt", "a ==> b", "toctree")
    for mistake in mistakes:
        assert any(mistake in line for line in lines), f"{mistake}: {done.stderr}"
    assert len(lines) == len(mistakes)


def test_the_walk_sees_what_is_wrong(tmp_path: Path) -> None:
    other = tmp_path / "other.html"
    other.write_text('<p id="there">')
    text = (
        '<a href="other.html#there"></a><a href="other.html#gone"></a><a href="gone.html"></a>'
        '<a href="#here"></a><img src="gone.png"><a href="https://example.org/"></a>'
        '<script src="//example.org/x.js"></script><link href="https://example.org/x.css">'
    )
    page = Page(text)
    assert broken(tmp_path / "page.html", page, tmp_path) == [
        "other.html#gone", "gone.html", "#here", "gone.png"
    ]  # fmt: skip
    assert foreign(page) == ["//example.org/x.js", "https://example.org/x.css"]
