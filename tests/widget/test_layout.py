"""How the box is laid out, in each state, width, colour mode and direction.

`test_screens.py` compares pictures, as they look from afar. What they would show in detail is
measured here: nothing is wider than the window, nothing that is pressed lies over another
thing that is, and all of it is large enough for a thumb. Contrast is axe's (`test_box.py`).
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.widget.conftest import WIKI, Box
from tests.widget.stand_in import Reply, answer, chunk, reading
from tests.widget.test_claims import recorded

pytestmark = pytest.mark.slow

PAGE = {"title": "Start", "url": f"{WIKI}/start/", "tokens": 900}
BUSY = Reply(429, {"retry-after": "20"}, {"error": {"type": "rate_limit_error"}})
LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft?"
EXAMPLES = ("How do I start?", "Which models can I use on a machine without a GPU?", LONG)

FAULTS = """() => {
  const faults = [];
  const shown = (e) => e.checkVisibility({ visibilityProperty: true }) && !e.closest(".unseen");
  const name = (e) => e.outerHTML.slice(0, 90);
  const size = (e) => { const b = e.getBoundingClientRect(); return [b.width, b.height]; };
  const alone = "figcaption a, .source > p a, .pages a";
  const large = `button, .icon, .button, summary, textarea, fieldset label, ${alone}`;
  for (const e of document.querySelectorAll(large)) {
    const [width, height] = size(e);
    if (shown(e) && (height < 43.5 || (e.matches("button, .icon") && width < 43.5))) {
      faults.push(`small, ${width} by ${height}: ${name(e)}`);
    }
  }
  for (const e of document.querySelectorAll("body *")) {
    if (!shown(e) || e.closest("pre, table, svg, template")) continue;
    const b = e.getBoundingClientRect();
    const wide = b.width > 1 && (b.left < -0.5 || b.right > innerWidth + 0.5);
    if (wide) faults.push(`wide: ${name(e)}`);
    const cut = e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "visible";
    if (cut && !e.matches("textarea")) faults.push(`cut: ${name(e)}`);
  }
  if (document.documentElement.scrollWidth > innerWidth) faults.push("the page scrolls sideways");
  for (const part of ["header", "main", "#ask"]) {
    const root = document.querySelector(part);
    const all = root.querySelectorAll("button, a, summary, textarea, input:not([type=hidden])");
    const pressed = [...all]
      .filter((e) => shown(e)).map((e) => [e, [...e.getClientRects()]]);
    for (const [number, [e, own]] of pressed.entries()) {
      for (const [other, theirs] of pressed.slice(number + 1)) {
        if (e.contains(other) || other.contains(e)) continue;
        const over = own.some((a) => theirs.some((b) =>
          Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
          && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1));
        if (over) faults.push(`${name(e)} lies over ${name(other)}`);
      }
    }
  }
  return faults;
}"""


@pytest.fixture
def show(browser: Browser) -> Iterator[Callable[..., Page]]:
    pages: list[Page] = []

    def opened(box: Box, query: str, width: int, scheme: Any) -> Page:
        page = browser.new_page(viewport={"width": width, "height": 640}, color_scheme=scheme)
        pages.append(page)
        page.goto(f"{box.url}/box?mode=panel&{query}")
        return page

    yield opened
    for page in pages:
        page.close()


@pytest.mark.usefixtures("strings")
@pytest.mark.parametrize(
    ("width", "scheme", "query"),
    [
        (420, "light", ""),
        (320, "dark", ""),
        (320, "light", "lang=ar"),
        (1000, "dark", "lang=ar&accent=ffd400"),
    ],
)
def test_nothing_overlaps_overflows_or_is_small_in_any_state(
    box: Callable[..., Box],
    show: Callable[..., Page],
    tmp_path: Path,
    width: int,
    scheme: str,
    query: str,
) -> None:
    refusal = Reply(chunks=answer("No.", refused=True, pages=[PAGE, {**PAGE, "title": LONG}]))
    slow = Reply(chunks=[reading(PAGE), *[chunk(f"{LONG} ")] * 300], pause=0.5)
    running = box(
        *(recorded("claims"), recorded("extractive"), refusal, BUSY, slow),
        examples=EXAMPLES,
        database_url=f"sqlite:///{tmp_path / 'q.db'}",
        handoff_mail="docs@example.com",
        handoff_channel="https://chat.example.com/docs",
    )
    page = show(running, query, width, scheme)

    def ask(question: str) -> None:
        page.locator("#question").fill(question)
        page.locator("#question").press("Enter")

    def check(state: str) -> None:
        faults = page.evaluate(FAULTS)
        assert faults == [], f"{state}: {faults}"

    expect(page.locator(".example")).to_have_count(len(EXAMPLES))
    check("first")
    for number, state in enumerate(("claims", "quotation", "refused"), 1):
        ask(f"{state} {LONG}")
        expect(page.locator(".actions")).to_have_count(number)
        check(state)
    page.locator(".vote button").nth(1).click()
    expect(page.locator("fieldset")).to_be_visible()
    check("vote")
    ask("Busy?")
    expect(page.locator("article .bad")).to_be_visible()
    check("failed")
    ask("Slow?")
    expect(page.locator(".live .text")).to_contain_text("Donau")
    check("streaming")


def test_a_refused_question_comes_back_into_the_field_to_be_changed(
    box: Callable[..., Box], show: Callable[..., Page]
) -> None:
    page = show(box(Reply(chunks=answer("No.", refused=True, pages=[PAGE]))), "", 420, "light")
    page.locator("#question").fill("Pricing?")
    page.locator("#question").press("Enter")
    page.get_by_role("button", name="Change the question").click()
    expect(page.locator("#question")).to_have_value("Pricing?")
    expect(page.locator("#question")).to_be_focused()


def test_an_answer_is_copied_with_its_sources_and_shared_with_one_click(
    box: Callable[..., Box], browser: Browser, tmp_path: Path
) -> None:
    running = box(recorded("claims"), database_url=f"sqlite:///{tmp_path / 'q.db'}")
    with browser.new_context(permissions=["clipboard-read", "clipboard-write"]) as context:
        page = context.new_page()
        page.goto(f"{running.url}/box")
        page.locator("#question").fill("How?")
        page.locator("#question").press("Enter")
        page.get_by_role("button", name="Copy the answer").click()
        expect(page.get_by_role("status")).to_have_text("Copied.")
        copied = str(page.evaluate("navigator.clipboard.readText()"))
        assert copied.startswith("Certainly! Run make run in the folder. It takes two minutes")
        assert "on two cores. The gateway" in copied  # without the numbers
        assert copied.endswith(f"Getting started › Linux: {WIKI}/start/#linux")
        page.get_by_role("button", name="Share").click()
        expect(page.get_by_role("status")).to_have_text("The link was copied.")
        link = str(page.evaluate("navigator.clipboard.readText()"))
        assert link.startswith(f"{running.url}/shared/")
        page.goto(link)
        expect(page.get_by_text("the docs say otherwise: “9999”")).to_be_visible()
