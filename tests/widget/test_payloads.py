"""Hundreds of ways to smuggle a script into the box, shown by a real browser.

A page is shown without the content security policy, which would hide a hole that is there.
"""

import itertools
from collections.abc import Iterator
from html import escape

import pytest
from playwright.sync_api import Browser

from tests.widget.test_markdown import PAYLOADS
from widget.box.views import Ballot, Views
from widget.service import assets
from widget.service.outcome import Citation, Outcome, Page, PageRead, Reading, Source
from widget.service.pending import PendingQuestion
from widget.service.states import Done, Failed
from widget.service.store import NewQuestion
from widget.settings import WidgetSettings

pytestmark = pytest.mark.slow

TAGS = ("img", "svg", "body", "details", "video", "input", "a", "iframe", "object", "math")
EVENTS = ("error", "load", "focus", "mouseover", "toggle", "animationstart", "pointerenter")
SCRIPTS = (
    *(
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "java\tscript:alert(1)",
    ),
    *("java\nscript:alert(1)", "\x01javascript:alert(1)", "javascript&colon;alert(1)"),
    *("&#x6A;avascript:alert(1)", "javascript:alert%281%29", "javascript://x.example/%0aalert(1)"),
    *("data:text/html,<script>alert(1)</script>", "vbscript:alert(1)", "feed:javascript:alert(1)"),
)
PLACES = ("[x]({})", "<{}>", "![x]({})", "[x]\n\n[x]: {}", "<a href='{}'>x</a>", "{}")
BREAKS = ('"', "'", "`", "-->", "]]>", "</title>", "</textarea>", "</script>", "</style>", "\0")
AFTER = (
    "><img src=x onerror=alert(1)>",
    " onfocus=alert(1) autofocus x=",
    "<script>alert(1)</script>",
)


def generated() -> Iterator[str]:
    """Payloads by families."""
    yield from PAYLOADS
    for tag, event in itertools.product(TAGS, EVENTS):
        yield f"<{tag} src=x autofocus open tabindex=1 on{event}=alert(1)>"
    for place, script in itertools.product(PLACES, SCRIPTS):
        yield place.format(script)
    for end, after in itertools.product(BREAKS, AFTER):
        yield end + after
        yield escape(end + after)
        yield f"`x{end}{after}`"
        yield f"```{end}{after}\n{end}{after}\n```"
        yield f"[x](https://e.example/{end}{after} '{end}{after}')"
        yield f"| {end} |\n|---|\n| {after} |"
        yield f'⁅1⁆{end}<sup class="cite">1</sup>{after}'


ALL = list(dict.fromkeys(generated()))


def shown(views: Views, payload: str) -> Iterator[str]:
    """All that the box shows, with the payload wherever somebody else's words can stand."""
    asked = NewQuestion("abcdefgh", payload, "abcdefgh", quote=payload, page=payload)
    ask = PendingQuestion(asked, 0.0)
    source = Source(title=payload, section=payload, url=payload, quote=payload)
    beside = Source(title=payload, url=f"https://e.example/{payload}", quote=payload)
    outcome = Outcome(
        model=payload,
        sources=(source, beside),
        pages=(Page(title=payload, url=payload),),
        citations=(Citation(url=beside.url, end_index=len(payload)),),
    )
    done, refused = (
        Done(payload, outcome),
        Done(payload, outcome.model_copy(update={"refused": True})),
    )
    names = "title placeholder page mode scheme accent shortcut examples quote conversation token"
    params = dict.fromkeys([*names.split(), "ask", "lang"], payload)
    box = views.box(params, problem=payload, examples=[payload])
    for page in (box, views.shared(payload, done)):
        # Whole pages, put into one: what stands in the tag html is put into another.
        head, _, rest = page.partition("<head>")
        yield "<div" + head.partition("<html")[2] + rest.partition("<title>")[1]
        yield rest.partition("<title>")[2].partition('<meta name="viewport"')[0] + "</div>"
        yield rest[rest.index("<body") :]
    yield views.article(ask, payload)
    yield views.finished(ask, done, payload)
    yield views.finished(ask, refused, payload)
    yield views.outcome("abcdefgh", Failed(payload, payload))
    yield views.vote("abcdefgh", Ballot("down", [payload], payload, payload), payload)
    yield views.reading(Reading(reading=(PageRead(title=payload, url=payload, tokens=3),)))
    yield views.handed_off(payload)


WATCH = """
window.ran = [];
for (const name of ["alert", "confirm", "prompt", "print"]) window[name] = () => ran.push(name);
"""
# Whatever would run when a reader does something, or once htmx looks at the page.
DORMANT = """() => {
  const found = [];
  for (const e of document.querySelectorAll("*")) {
    for (const { name } of e.attributes) if (name.startsWith("on")) found.push(e.outerHTML);
  }
  for (const name of ["href", "src", "action", "formAction", "data"]) {
    for (const e of document.querySelectorAll(`[${name}]`)) {
      const address = e[name]?.baseVal ?? e[name];
      if (!/^(https?|mailto):/.test(address)) found.push(e.outerHTML);
    }
  }
  const strange = "script, iframe, object, embed, base, link, style, math, [srcdoc], [style]";
  for (const e of document.querySelectorAll(strange)) found.push(e.outerHTML);
  for (const e of document.querySelectorAll(":is(.text, h2, blockquote, .about, em) *")) {
    for (const { name } of e.attributes) if (/hx-|sse-|^id$/.test(name)) found.push(e.outerHTML);
  }
  return found.map((html) => html.slice(0, 200));
}"""


# Chromium takes the square of their number: 73 s of a core for all, 22 s in parts.
AT_ONCE = 55


@pytest.mark.parametrize("first", range(0, len(ALL), AT_ONCE))
def test_nothing_of_anybody_elses_words_runs(browser: Browser, first: int) -> None:
    payloads = ALL[first : first + AT_ONCE]
    settings = WidgetSettings(handoff_mail="docs@example.com", origins=("https://e.example",))
    views = Views(settings, assets.load())
    html = "<!doctype html><meta charset=utf-8>" + "\n".join(
        part for payload in payloads for part in shown(views, payload)
    )
    loaded: list[str] = []

    page = browser.new_page()
    page.add_init_script(WATCH)
    page.route("http://box.example/", lambda it: it.fulfill(body=html, content_type="text/html"))
    page.on("request", lambda request: loaded.append(request.resource_type))
    page.goto("http://box.example/", wait_until="domcontentloaded", timeout=120_000)
    assert page.evaluate(DORMANT) == []
    page.wait_for_timeout(500)  # for what is late
    assert page.evaluate("ran") == []
    assert set(loaded) <= {"document", "image"}  # the page, and pictures of quoted pages
    assert loaded.count("document") == 1
    assert page.locator("article").count() > 3 * len(payloads)  # nothing swallowed the rest
    page.close()


def test_there_are_hundreds_of_payloads() -> None:
    assert len(ALL) >= 200


def test_what_runs_would_be_seen(browser: Browser) -> None:
    page = browser.new_page()
    page.add_init_script(WATCH)
    page.goto("about:blank")
    page.set_content("<img src=x onerror=alert(1)><h2><a href=javascript:x hx-get=x>x</a></h2>")
    assert len(page.evaluate(DORMANT)) == 4
    assert "alert" in page.evaluate("ran")
    page.close()
