"""The report's page in a real browser: on a phone and on a desk, by day and by night, without an
error in the console, without a request, readable and not wider than the screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from browser import Browser

from biso_tasks.actions.away import away
from biso_tasks.flow.plan import Step
from biso_tasks.ui.report import Past, load
from biso_tasks.ui.report_html import html

pytestmark = [pytest.mark.real, pytest.mark.needs("chromium")]

PHONE, DESK = 380, 1280
# Each element with text of its own against the first background above it, as WCAG counts it.
CONTRAST = """
const light = (c) => {
  const [r, g, b] = c.match(/[\\d.]+/g).map(Number).slice(0, 3).map((v) => {
    v /= 255;
    return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
let worst = [99, ''];
for (const one of document.querySelectorAll('main *')) {
  if (![...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
  let at = one;
  while (at && /, 0\\)$/.test(getComputedStyle(at).backgroundColor)) at = at.parentElement;
  const [a, b] = [light(getComputedStyle(one).color),
                  light(getComputedStyle(at || document.body).backgroundColor)];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < worst[0]) worst = [ratio, one.outerHTML.slice(0, 120)];
}
return worst;
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def page(ran: Callable[..., Path], failing_steps: tuple[Step, ...], tmp_path: Path) -> Path:
    """All that a report can hold, with long names and hostile texts."""
    gone = Step(
        "a-step-with-" + "a-very-long-name-" * 4,
        lambda scope: {"away": away("test", 0.01), "bytes": 5, "long": "x" * 300},
        on="test",
    )
    report = load(ran(gone, *failing_steps))
    past = tuple(
        Past(f"r{n}", datetime(2026, 11, n + 1, tzinfo=UTC), 10.0 * n, "ok", 10**n)
        for n in range(1, 9)
    )
    kept = {f"2026112{n}_030000-prod": "last, daily, weekly, monthly" for n in range(9)}
    facts = {**report.facts, "kept": kept, "removed": list(kept)}
    file = tmp_path / "report.html"
    file.write_text(html(replace(report, past=past, facts=facts)), "utf-8")
    return file


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_page_is_quiet_readable_and_fits(
    browser: Browser, page: Path, width: int, scheme: str
) -> None:
    browser.show(page, width, scheme)
    assert browser.requests() == [page.as_uri()]
    assert browser.said() == []
    assert browser.too_wide() <= 0
    ratio, where = browser.run(CONTRAST)
    assert ratio >= 4.5, where
    dark = browser.run("return getComputedStyle(document.body).backgroundColor") != (
        "rgb(255, 255, 255)"
    )
    assert dark is (scheme == "dark")
    assert browser.run("return document.querySelectorAll('svg rect').length") > 5


def test_the_browser_would_see_what_must_not_be(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "bad.html"
    file.write_text(
        "<body><main style='background:#fff;color:#aaa'><p>pale<div style='width:3000px'>wide</div>"
        "<img src='http://127.0.0.1:9/x.png'><script>console.error('said')</script>"
    )
    browser.show(file, PHONE, "light")
    assert browser.too_wide() > 1000
    assert any("said" in one for one in browser.said())
    assert "http://127.0.0.1:9/x.png" in browser.requests()
    assert browser.run(CONTRAST)[0] < 3
