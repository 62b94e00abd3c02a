"""The documentation as a site, for Sphinx: from the top of the checkout

    .venv/bin/python -m sphinx -W -c docs/site . dist/docs

The pages are the ones that a forge shows. What they do not say, the navigation, stands here; a page
that is not in it is a warning, and so is a link or an anchor that leads nowhere.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

from chart import read
from drawing import svg

NAVIGATION = {
    "Begin": ("docs/tutorial", "docs/pictures"),
    "How to": (
        "docs/first-site",
        "docs/hosts",
        "docs/compose",
        "docs/fleets",
        "docs/config-php",
        "docs/backup",
        "docs/offsite",
        "docs/restore",
        "docs/disaster",
        "docs/recover",
        "docs/schedule",
        "docs/monitoring",
        "docs/release",
        "docs/in-place",
        "docs/plugins",
    ),
    "Look up": ("docs/reference", "docs/recipes", "CHANGELOG"),
    "Understand": (
        "docs/verbs",
        "docs/privacy",
        "docs/security",
        "SECURITY",
        "docs/reliability",
        "docs/fault-matrix",
        "docs/versions",
        "docs/speed",
        "docs/benchmarks",
    ),
    "Work on it": ("docs/map", "docs/testing", "docs/mutants", "docs/adr/README"),
}

project = "biso-tasks"
language = "en"
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["README.md", "CHANGELOG.md", "SECURITY.md", "docs/**.md"]
# what is not walked through at all
exclude_patterns = [one.name for one in ROOT.iterdir() if one.is_dir() and one.name != "docs"]
nitpicky = True
# `--yes` in a sentence is two hyphens
smartquotes = False
# GitHub's and GitLab's anchors of headings; links to them are checked
myst_heading_anchors = 6
# a forge draws these blocks by itself, here `chart` and `drawing` do
myst_fence_as_directive = ["mermaid"]

html_title = "biso-tasks"
html_theme = "theme"
html_theme_path = [str(HERE)]
html_extra_path = [str(HERE / "extra")]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_use_index = False


class Mermaid(SphinxDirective):
    """A flowchart, drawn into the page: nothing is loaded from anywhere when it is read."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        try:
            drawn = svg(read("\n".join(self.content)))
        except ValueError as error:
            raise self.error(str(error)) from error
        return [nodes.raw("", f'<div class="chart">{drawn}</div>', format="html")]


def complete(app: Sphinx, docname: str, content: list[str]) -> None:
    """What a forge shows by itself: the pages by what they are for, the list of decisions. And
    where a page is named by its file, its title is more to a reader."""
    content[0] = re.sub(r"\[([\w./-]+\.md)\](\(\1(?:#[\w-]+)?\))", r"[]\2", content[0])
    if docname == "README":
        for caption, pages in NAVIGATION.items():
            content[0] += toctree(pages, f":hidden:\n:caption: {caption}")
    if docname == "docs/adr/README":
        decisions = sorted(one for one in app.project.docnames if re.match(r"docs/adr/\d", one))
        content[0] += toctree(decisions, ":maxdepth: 1")


def toctree(pages: Sequence[str], options: str) -> str:
    listed = "\n".join(f"/{page}" for page in pages)
    return f"\n```{{toctree}}\n:titlesonly:\n{options}\n\n{listed}\n```\n"


def copy_pictures(app: Sphinx, error: Exception | None) -> None:
    """Sphinx does not see what a `<picture>` names: one for light and one for dark screens."""
    if error is None and app.builder.format == "html":
        source = Path(app.srcdir, "docs/pictures")
        shutil.copytree(source, Path(app.outdir, "docs/pictures"), dirs_exist_ok=True)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("mermaid", Mermaid)
    app.connect("source-read", complete)
    app.connect("build-finished", copy_pictures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
