"""The box in a real browser, in pages that make it as hard as they can."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FrameLocator, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tests.widget.stand_in import Reply, StandIn, answer, chunk, reading, serve
from tests.widget.test_markdown import PAYLOADS
from tests.wikis.host import WATCH
from widget.app import create_app
from widget.service import pending
from widget.settings import WidgetSettings

pytestmark = pytest.mark.slow

HOSTILE_CSS = """
* { color: red !important; font: 40px cursive !important; box-sizing: content-box !important; }
div, iframe, askdocs-box { display: none !important; position: static !important; }
button, iframe { display: none !important; width: 3px !important; opacity: 0.1 !important; }
"""


class Wiki:
    """A page of somebody else's, and the box in it."""

    def __init__(self, stack: ExitStack, browser: Browser, *replies: Reply, listed: bool = True):
        self.body = "<h1>A wiki</h1><p><input aria-label='Search'></p>"
        self.attributes = ""
        routes = [
            Route("/hostile.css", self._stylesheet),
            Route("/{path:path}", self._page),
        ]
        self.url = stack.enter_context(serve(Starlette(routes=routes)))
        self.gateway = StandIn(*replies)
        gateway_url = stack.enter_context(serve(self.gateway.app)) + "/v1"
        origins = (self.url,) if listed else ()
        self.settings = WidgetSettings(
            gateway_url=gateway_url, gateway_key="ask-test", origins=origins
        )
        # Apart from the rest, so that a test can end it.
        self.box_server = stack.enter_context(ExitStack())
        self.box_url = self.box_server.enter_context(serve(create_app(self.settings)))
        self.page = browser.new_page(viewport={"width": 1000, "height": 800})
        self.page.add_init_script(WATCH)
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", lambda dialog: self.problems.append("dialog: " + dialog.message))
        self.page.on(
            "console",
            lambda message: self.problems.append(message.text) if message.type == "error" else None,
        )

    async def _stylesheet(self, _request: Request) -> Response:
        return Response(HOSTILE_CSS, media_type="text/css")

    async def _page(self, _request: Request) -> Response:
        html = f"""<!doctype html><html><head><title>Wiki</title><link rel="icon" href="data:,">
            <link rel="stylesheet" href="/hostile.css"></head><body>{self.body}
            <script src="{self.box_url}/embed.js" {self.attributes} defer></script></body></html>"""
        policy = (
            f"default-src 'none'; script-src {self.box_url}; style-src 'self';"
            f" frame-src {self.box_url}; img-src data:; require-trusted-types-for 'script'"
        )
        return HTMLResponse(html, headers={"content-security-policy": policy})

    @property
    def launcher(self):  # type: ignore[no-untyped-def]
        """The button in the corner."""
        return self.page.get_by_role("button", name="Ask the docs")

    @property
    def box(self) -> FrameLocator:
        """Inside the frame."""
        return self.page.frame_locator("iframe")

    def ask(self, question: str) -> None:
        """Type a question and press Enter."""
        self.box.get_by_label("Your question").fill(question)
        self.box.get_by_label("Your question").press("Enter")

    def check_clean(self) -> None:
        """No script failed and no policy was violated, in any frame."""
        for frame in self.page.frames:
            self.problems += frame.evaluate("window.violations || []")
        assert self.problems == []


@pytest.fixture
def wiki(browser: Browser) -> Iterator[Callable[..., Wiki]]:
    with ExitStack() as stack:

        def start(*replies: Reply, listed: bool = True) -> Wiki:
            wiki = Wiki(stack, browser, *replies, listed=listed)
            stack.callback(wiki.page.close)
            return wiki

        yield start


def answered(wiki_url: str, pause: float = 0.3) -> Reply:
    """An answer with a source."""
    page = {"title": "Start", "url": f"{wiki_url}/start/", "tokens": 900}
    quote = "Run `make run`."
    source = {**page, "section": "Linux", "url": f"{wiki_url}/start/#linux", "quote": quote}
    chunks = [reading(page, seconds=2), *answer("First. Then. Last. ", sources=[source])]
    return Reply(chunks=chunks, pause=pause)


def test_asking_under_a_strict_policy_and_a_hostile_stylesheet(wiki: Callable[..., Wiki]) -> None:
    host = wiki(Reply())
    host.gateway.replies = [answered(host.url)]
    page = host.page
    page.goto(host.url + "/guide/?a=b#part")
    expect(host.launcher).to_be_in_viewport()
    expect(host.launcher).to_have_css("color", "rgb(255, 255, 255)")
    expect(host.launcher).to_have_attribute("aria-expanded", "false")
    assert host.launcher.get_attribute("aria-keyshortcuts") == "Control+K"

    host.launcher.click()
    expect(host.launcher).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_role("dialog", name="Ask the docs")).to_be_in_viewport()
    expect(host.box.get_by_label("Your question")).to_be_focused()

    host.ask("How do I start?")
    expect(host.box.get_by_text("Reading “Start”…")).to_be_visible()
    expect(host.box.get_by_role("status")).to_have_text("Looking for an answer.")
    expect(host.box.locator(".live .text")).to_have_text("First.")  # streamed: not yet the rest
    expect(host.box.get_by_role("button", name="Stop")).to_be_visible()
    expect(host.box.locator("article .text").first).to_have_text("First. Then. Last.")
    source = host.box.get_by_role("link", name="Start › Linux")
    assert source.get_attribute("href") == f"{host.url}/start/#linux:~:text=Run%20make%20run."
    assert source.get_attribute("target") == "_top"
    expect(host.box.locator("blockquote")).to_have_text("Run make run.")
    expect(host.box.get_by_role("status")).to_have_text("The answer is ready.")
    expect(host.box.get_by_role("button", name="Stop")).to_have_count(0)
    assert host.gateway.requests[0]["metadata"] == {"page_url": f"{host.url}/guide/?a=b"}

    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(host.launcher).to_be_focused()
    expect(host.launcher).to_have_attribute("aria-expanded", "false")

    host.launcher.press("Enter")  # what was asked is still there
    # The page has no such anchor: what the reader is led to is the passage.
    host.body = "<p>Begins.</p>" + "<br>" * 99 + "<p>First, run <b>make</b> run. It is so.</p>"
    source.click()
    page.wait_for_url(host.url + "/start/#linux:~:text=**")
    expect(page.get_by_text("First, run make run.")).to_be_in_viewport()
    host.check_clean()


def test_the_shortcut_opens_and_gives_the_focus_back(wiki: Callable[..., Wiki]) -> None:
    host = wiki(Reply())
    host.page.goto(host.url)
    host.page.evaluate("document.querySelector('input').style.setProperty('opacity', '1')")
    search = host.page.locator("input")
    search.focus()
    host.page.keyboard.press("Control+k")
    expect(host.box.get_by_label("Your question")).to_be_focused()
    host.page.keyboard.press("Control+k")
    expect(host.page.get_by_role("dialog")).to_have_count(0)
    expect(search).to_be_focused()
    host.check_clean()


def test_a_failure_keeps_the_question_and_retries_with_one_click(
    wiki: Callable[..., Wiki],
) -> None:
    host = wiki(Reply())
    error = {"error": {"message": "starting", "type": "unavailable"}}
    host.gateway.replies = [Reply(503, {"retry-after": "5"}, error), answered(host.url)]
    host.page.goto(host.url)
    host.launcher.click()
    host.ask("How do I start?")
    sentence = "The model is not ready yet. Please try again in 5 seconds."
    expect(host.box.locator("article .bad")).to_contain_text(sentence)
    expect(host.box.get_by_role("status")).to_have_text(sentence)
    host.box.get_by_role("button", name="Retry").click()
    expect(host.box.get_by_role("link", name="Start › Linux")).to_be_visible()
    expect(host.box.locator("article")).to_have_count(1)
    expect(host.box.get_by_role("heading", name="How do I start?")).to_be_visible()
    expect(host.box.get_by_label("Your question")).to_be_focused()
    host.check_clean()


def test_stop_ends_the_answer(wiki: Callable[..., Wiki]) -> None:
    host = wiki(Reply(chunks=[chunk("A beginning. ")] * 500, pause=0.2))
    host.page.goto(host.url)
    host.launcher.click()
    host.ask("How?")
    expect(host.box.get_by_text("A beginning.").first).to_be_visible()
    host.box.get_by_role("button", name="Stop").click()
    expect(host.box.get_by_role("button", name="Ask again")).to_be_visible()
    assert host.gateway.left.wait(30)
    host.check_clean()


def test_a_lost_server_is_said_and_the_question_is_asked_again_with_one_click(
    wiki: Callable[..., Wiki],
) -> None:
    host = wiki(Reply(chunks=[chunk("A beginning. ")] * 100, pause=0.2))
    host.page.goto(host.url)
    host.launcher.click()
    host.ask("How do I start?")
    expect(host.box.get_by_text("A beginning.").first).to_be_visible()
    host.box_server.close()
    expect(host.box.locator(".reading")).to_have_text("The connection was lost. Trying again…")
    host.ask("And then?")
    expect(host.box.get_by_role("alert")).to_contain_text("The box has lost its server")
    expect(host.box.get_by_label("Your question")).to_have_value("And then?")

    host.gateway.replies = [answered(host.url, pause=0.0)]
    port = int(host.box_url.rpartition(":")[2])
    host.box_server.enter_context(serve(create_app(host.settings), port))
    retry = host.box.get_by_role("button", name="Retry")
    retry.click(timeout=20_000)  # the browser tries again after some seconds
    expect(host.box.get_by_role("link", name="Start › Linux")).to_be_visible()
    expect(host.box.get_by_role("heading", name="How do I start?")).to_be_visible()


def test_closing_the_page_stops_the_gateway(
    wiki: Callable[..., Wiki], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = wiki(Reply(chunks=[chunk("A beginning. ")] * 500, pause=0.2))
    host.page.goto(host.url)
    host.launcher.click()
    host.ask("How?")
    expect(host.box.get_by_text("A beginning.").first).to_be_visible()
    monkeypatch.setattr(pending, "GRACE", 0.5)
    host.page.goto("about:blank")
    assert host.gateway.left.wait(30)


def test_the_box_stands_in_the_page_where_there_is_a_place(wiki: Callable[..., Wiki]) -> None:
    host = wiki(Reply())
    host.gateway.replies = [answered(host.url, pause=0.0)]
    host.body = "<section data-askdocs>fallback</section>"
    host.attributes = 'data-title="Wiki help" data-placeholder="What is…"'
    host.page.goto(host.url)
    expect(host.launcher).to_have_count(0)
    expect(host.box.get_by_role("heading", name="Wiki help")).to_be_visible()
    before = host.page.locator("iframe").bounding_box()
    host.box.get_by_placeholder("What is…").fill("How?")
    host.box.get_by_role("button", name="Ask", exact=True).click()
    expect(host.box.get_by_role("link", name="Start › Linux")).to_be_visible()
    after = host.page.locator("iframe").bounding_box()
    assert before
    assert after
    assert after["height"] > before["height"]  # as tall as what is in it
    assert host.box.locator("html").evaluate("e => e.scrollHeight - e.clientHeight") <= 1
    host.check_clean()


def test_it_survives_pages_that_load_their_content_themselves(wiki: Callable[..., Wiki]) -> None:
    host = wiki(Reply(chunks=answer("Yes.")))
    host.page.goto(host.url + "/one/")
    host.launcher.click()
    expect(host.box.get_by_label("Your question")).to_be_focused()
    # Like instant navigation: another address, another content, the same document.
    host.page.evaluate("history.pushState(null, '', '/two/')")
    host.page.keyboard.press("Escape")
    host.launcher.click()
    host.ask("How?")
    expect(host.box.get_by_text("Answered by")).to_be_visible()
    assert host.gateway.requests[0]["metadata"] == {"page_url": f"{host.url}/two/"}
    host.page.evaluate("document.body.replaceChildren(document.createElement('main'))")
    expect(host.page.locator("askdocs-box")).to_have_count(1)
    host.page.keyboard.press("Escape")
    expect(host.launcher).to_be_in_viewport()
    place = "Object.assign(document.createElement('section'), {id: 'p'})"
    host.page.evaluate(f"document.body.append({place}); p.dataset.askdocs = ''")
    host.page.evaluate("document.body.append('x')")
    expect(host.page.locator("section iframe")).to_be_visible()
    expect(host.launcher).to_have_count(0)
    host.page.evaluate("p.remove()")
    expect(host.launcher).to_be_in_viewport()
    host.check_clean()


def test_a_page_that_is_not_listed_says_so(wiki: Callable[..., Wiki]) -> None:
    host = wiki(Reply(), listed=False)
    host.page.goto(host.url)
    host.launcher.click()
    dialog = host.page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"does not list {host.url} among its origins")


def test_payloads_execute_nothing(wiki: Callable[..., Wiki], tmp_path: Path) -> None:
    text = "\n\n".join(PAYLOADS).replace("\0", "")
    host = wiki(Reply())
    source = {"title": text[:200], "section": "</a><script>alert(1)</script>", "quote": text}
    sources = [{**source, "url": "javascript:alert(1)"}, {**source, "url": f"{host.url}/"}]
    page = {"title": "<img src=x onerror=alert(1)>", "url": "", "tokens": 3}
    chunks = [reading(page), chunk(text), *answer(text, model=text[:300], sources=sources)]
    host.gateway.replies = [Reply(chunks=chunks, pause=0.2)]
    host.page.goto(host.url)
    host.launcher.click()
    host.ask("<img src=x onerror=alert(1)><script>alert(1)</script>")
    expect(host.box.get_by_text("Answered by")).to_be_visible()
    for frame in host.page.frames:
        host.problems += frame.evaluate("window.violations || []")
    # Pictures in quotes are asked for, from hosts that do not exist; nothing else may happen.
    assert [p for p in host.problems if "ERR_" not in p] == []
