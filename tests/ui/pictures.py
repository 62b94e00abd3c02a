"""Draws the pictures in docs/pictures from real runs of the demo: a plan, progress, a report.

`.venv/bin/python tests/ui/pictures.py [FOLDER]`: some minutes; needs chromium and chromedriver.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

from browser import Browser
from PIL import Image
from screen import Recording, page, record

from biso_tasks.demo import site as demo
from biso_tasks.ui.live import FRAMES

ROOT = Path(__file__).resolve().parents[2]
# Of one length always: it is in the pictures.
STAND = Path("/var/tmp/beratung")
COLUMNS = 110
SCHEMES = ("light", "dark")
DESK, PHONE, LONGEST = 1000, 390, 1500
# Big enough that a moment with everything on its way can be caught.
SCALE = 12.0
WHEN = "main:last-of-type"
# Of the report what is drawn: from its heading "When" to the one of the steps.
_LEAVE_WHEN = """
let keep = false;
for (const one of [...document.querySelector('main').children]) {
  if (one.tagName === 'H2') keep = !['Steps'].includes(one.textContent) && (keep ||
    one.textContent === 'When');
  if (!keep) one.remove();
}
"""


def main(into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    STAND.mkdir()
    try:
        shutil.copy(ROOT / "biso.toml", STAND)
        shutil.copytree(ROOT / "plugins", STAND / "plugins", ignore=shutil.ignore_patterns("__*"))
        built = demo.build(STAND, scale=SCALE, log_database=True)
        with tempfile.TemporaryDirectory() as work:
            browser = Browser(Path(work))
            try:
                _draw(built, Path(work), browser, into)
            finally:
                browser.close()
    finally:
        demo.clean(STAND)
        shutil.rmtree(STAND)


def _draw(built: demo.DemoSite, work: Path, browser: Browser, into: Path) -> None:
    env = {**built.environ(), "PYTHONPATH": str(ROOT)}

    def run(*words: str, rows: int) -> Recording:
        biso = [sys.executable, "-m", "biso_tasks.cli.main", *words]
        return record(biso, cwd=STAND, env=env, columns=COLUMNS, rows=rows)

    def take(name: str, file: Path, selector: str, width: int, scheme: str) -> None:
        browser.show(file, width, scheme)
        if selector == WHEN:
            browser.run(_LEAVE_WHEN)
        picture = Image.open(io.BytesIO(browser.picture(selector, LONGEST)))
        picture.quantize(colors=128).save(into / f"{name}.png", optimize=True)

    run("refresh-test", "--yes", rows=40)  # so that the plan knows how long each step takes
    screens = {
        "plan": ("biso refresh-test --plan", run("refresh-test", "--plan", rows=120).last()),
        "progress": ("biso refresh-test", run("refresh-test", "--yes", rows=22).until(_busy)),
    }
    *_, report = sorted((STAND / ".biso/runs").glob("*refresh-test*/report.html"))
    for scheme in SCHEMES:
        for name, (title, screen) in screens.items():
            file = work / f"{name}-{scheme}.html"
            file.write_text(page(screen, title, scheme), "utf-8")
            take(f"{name}-{scheme}", file, "figure", DESK, scheme)
        take(f"report-{scheme}", report, "main", DESK, scheme)
        take(f"when-{scheme}", report, WHEN, DESK, scheme)
    take("report-phone", report, "main", PHONE, "light")


def _busy(lines: list[str]) -> bool:
    """Whether several steps are at work, and of the database the time that is left is said."""
    working = [line for line in lines if line.startswith(tuple(FRAMES))]
    return len(working) >= 2 and any("stage-database" in one and " left" in one for one in working)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs/pictures")
