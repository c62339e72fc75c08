"""The widget by itself in a real browser: what its readers do, see and read."""

import socket
import socketserver
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect
from pydantic import SecretStr

from tests.clients import environments
from tests.widget.conftest import WIKI, Box
from tests.widget.stand_in import TEXT, ByQuestion, Reply, answer, chunk, reading

pytestmark = pytest.mark.slow

Start = Callable[..., Box]
Open = Callable[..., Page]

FIRST = {"title": "Start", "section": "Linux", "url": f"{WIKI}/start/#linux", "quote": "Run it."}
SECOND = {"title": "Ports", "section": "", "url": f"{WIKI}/ports/", "quote": "The box is on 8080."}
PAGE = {"title": "Start", "url": f"{WIKI}/start/", "tokens": 900}


def answered(text: str = "Run it. Then look at the port.", pause: float = 0.0) -> Reply:
    """An answer of two sentences, each from a source of its own."""
    first, second = text.split(" Then", 1)
    rests_on = [(first, FIRST["url"]), (second, SECOND["url"])]
    stream = answer(text, sources=[FIRST, SECOND], rests_on=rests_on)
    return Reply(chunks=[reading(PAGE), *stream], pause=pause)


REFUSAL = Reply(chunks=answer("I don't have enough.", refused=True, pages=[PAGE]))
BUSY = Reply(429, {"retry-after": "20"}, {"error": {"type": "rate_limit_error"}})


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "questions.db"


@pytest.fixture
def start(box: Start, database: Path) -> Start:
    """Start a widget that stores votes and forwards questions."""

    def started(*replies: Reply, **settings: Any) -> Box:
        return box(
            *replies,
            database_url=SecretStr(f"sqlite:///{database}"),
            handoff_mail="docs@example.com",
            handoff_channel="https://chat.example.com/docs",
            handoff_webhook=SecretStr("http://127.0.0.1:9/"),
            **settings,
        )

    return started


@pytest.fixture
def show(browser: Browser) -> Iterator[Open]:
    """Open a box; no script of it may fail and no policy may be violated."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def opened(box: Box, query: str = "", **options: Any) -> Page:
        context = browser.new_context(viewport={"width": 420, "height": 700}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console", lambda said: problems.append(said.text) if "olicy" in said.text else None
        )
        page.goto(f"{box.url}/box?{query}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def ask(page: Page, question: str = "How do I start?") -> None:
    """Type a question and press Enter."""
    page.locator("#question").fill(question)
    page.locator("#question").press("Enter")


def done(page: Page, number: int = 1) -> None:
    """Wait for the end of so many answers."""
    expect(page.locator(".actions")).to_have_count(number)


@contextmanager
def relayed(box: Box) -> Iterator[Callable[[], None]]:
    """Put a line between the box and its reader; yields what cuts it."""
    there = ("127.0.0.1", int(box.url.rpartition(":")[2]))
    lines: list[socket.socket] = []

    class Line(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(there) as far:
                lines.extend((self.request, far))
                back = threading.Thread(target=carry, args=(far, self.request))
                back.start()
                carry(self.request, far)
                back.join()

    def carry(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65_536):
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut() -> None:
        for line in lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Line) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        box.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield cut
        server.shutdown()
        cut()


def focused(page: Page) -> str:
    """The name of what has the focus."""
    return str(page.evaluate("(e => e.ariaLabel || e.textContent.trim())(document.activeElement)"))


def test_a_mark_in_the_text_leads_to_its_card(start: Start, show: Open) -> None:
    page = show(start(answered()))
    ask(page)
    done(page)
    assert page.locator("article .text p").first.inner_text() == "Run it.1 Then look at the port.2"
    card = page.locator(".source").nth(1)
    expect(card.locator("details")).not_to_have_attribute("open", "")
    page.get_by_role("link", name="Source 2").click()
    expect(card).to_be_focused()
    expect(card.locator("details")).to_have_attribute("open", "")
    assert card.locator("a").get_attribute("href") == (
        f"{WIKI}/ports/#:~:text=The%20box%20is%20on%208080."
    )
    assert page.url.endswith("/box?")  # no entry in the history of the host page


def test_questions_follow_on_until_the_reader_starts_over(start: Start, show: Open) -> None:
    box = start(answered())
    page = show(box, "title=Help")
    ask(page, "One?")
    done(page)
    ask(page, "Two?")
    done(page, 2)
    said = [[m["content"] for m in request["messages"]] for request in box.gateway.requests]
    assert said == [["One?"], ["One?", "Run it. Then look at the port.", "Two?"]]
    page.get_by_role("link", name="Start over").click()
    expect(page.locator("article")).to_have_count(0)
    expect(page.get_by_role("heading", name="Help")).to_be_visible()
    ask(page, "Three?")
    done(page)
    assert len(box.gateway.requests[2]["messages"]) == 1


def test_a_vote_keeps_the_focus_and_is_stored_with_its_reasons(
    start: Start, show: Open, database: Path
) -> None:
    def stored() -> list[tuple[str, ...]]:
        with sqlite3.connect(database) as connection:
            return connection.execute("SELECT vote, reasons, text FROM votes").fetchall()

    page = show(start(answered()))
    ask(page)
    done(page)
    up, down = page.get_by_label("Helpful", exact=True), page.get_by_label("Not helpful")
    up.click()
    expect(up).to_have_attribute("aria-pressed", "true")
    expect(up).to_be_focused()
    expect(page.get_by_role("status")).to_have_text("Thank you.")
    assert stored() == [("up", "[]", "")]
    up.press("Enter")
    expect(up).to_have_attribute("aria-pressed", "false")
    assert stored() == []

    down.click()
    page.get_by_label("It is out of date").check()
    page.get_by_label("What should it say?").fill("Port 8081 <b>now</b>")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".vote")).to_contain_text("Thank you.")
    assert stored() == [("down", '["outdated"]', "Port 8081 <b>now</b>")]


def test_a_second_vote_right_after_the_first_is_taken_by_the_page_that_is_there(
    start: Start, show: Open
) -> None:
    page = show(start(answered()))
    ask(page)
    done(page)
    page.evaluate(
        """() => new Promise((voted) => {
            new MutationObserver((_, observer) => {
                const pressed = document.querySelector("[aria-pressed=true]");
                if (!pressed) return;
                observer.disconnect();
                pressed.click();
                voted();
            }).observe(document.body, { childList: true, subtree: true, attributes: true });
            document.querySelector("button[value=up]").click();
        })"""
    )
    expect(page.get_by_label("Helpful", exact=True)).to_have_attribute("aria-pressed", "false")
    expect(page.locator("article")).to_have_count(1)
    assert page.url.endswith("/box?")


def test_a_vote_that_is_not_stored_keeps_what_was_typed(
    start: Start, show: Open, database: Path
) -> None:
    page = show(start(answered()))
    ask(page)
    done(page)
    page.get_by_label("Not helpful").click()
    page.get_by_label("The answer is wrong").check()
    page.get_by_label("What should it say?").fill("Something else")
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TABLE votes")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("Please try again")
    expect(page.get_by_label("What should it say?")).to_have_value("Something else")
    expect(page.get_by_label("The answer is wrong")).to_be_checked()


def test_a_shared_link_shows_the_answer_and_no_form(start: Start, show: Open) -> None:
    page = show(start(answered()))
    ask(page)
    done(page)
    page.get_by_role("button", name="Share").click()
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Link to this answer").click()
    shared = popup.value
    expect(shared.get_by_role("heading", name="How do I start?")).to_be_visible()
    expect(shared.get_by_role("link", name="Start › Linux")).to_be_visible()
    expect(shared.locator("form")).to_have_count(0)
    shared.get_by_role("link", name="Ask a question of your own").click()
    expect(shared.locator("#question")).to_be_visible()


def test_a_refusal_offers_pages_and_people(start: Start, show: Open) -> None:
    page = show(start(REFUSAL), f"page={WIKI}/start/")
    ask(page, "Who pays & why?")
    done(page)
    note = page.locator(".note")
    expect(note).to_contain_text("Not in the docs")
    expect(note.get_by_role("link", name="Start")).to_have_attribute("href", f"{WIKI}/start/")
    mail = note.get_by_role("link", name="Write an e-mail")
    assert str(mail.get_attribute("href")).startswith(
        "mailto:docs@example.com?subject=Who%20pays%20%26%20why%3F&body=Who%20pays"
    )
    channel = note.get_by_role("link", name="Ask in the channel")
    expect(channel).to_have_attribute("href", "https://chat.example.com/docs")
    note.get_by_role("button", name="Open a ticket").click()
    expect(page.locator(".handoff")).to_contain_text("could not be handed on")  # nobody listens


def test_what_the_reader_selected_goes_along_and_can_be_left_out(start: Start, show: Open) -> None:
    box = start(answered())
    page = show(box, "quote=Press+the+button.&examples=How%3F+|+Why%3F")
    expect(page.get_by_label("About this passage")).to_have_text("Press the button.")
    ask(page, "Which one?")
    done(page)
    assert box.gateway.requests[0]["messages"][-1]["content"] == (
        "> Press the button.\n\nWhich one?"
    )
    expect(page.get_by_label("About this passage")).to_be_hidden()  # the next one is without
    page.goto(f"{box.url}/box?quote=Press+the+button.&examples=How%3F+|+Why%3F")
    page.get_by_role("link", name="Leave the passage out").click()
    expect(page.get_by_label("About this passage")).to_be_hidden()
    page.get_by_role("button", name="Why?").click()
    done(page)
    assert box.gateway.requests[1]["messages"] == [{"role": "user", "content": "Why?"}]


def test_a_question_in_the_address_is_asked_at_once(start: Start, show: Open) -> None:
    page = show(start(answered()), "ask=How+do+I+start%3F")
    done(page)
    expect(page.get_by_role("heading", name="How do I start?")).to_be_visible()
    expect(page.locator("#question")).to_have_value("")


def test_code_is_copied_with_and_without_the_permission(start: Start, show: Open) -> None:
    text = "Do this. Then that:\n\n```sh\nmake run\n```\n\n```sh\nmake stop\n```"
    page = show(start(answered(text)), permissions=["clipboard-read", "clipboard-write"])
    ask(page)
    done(page)
    buttons = page.get_by_role("button", name="Copy the code")
    for number, copied in enumerate(("make run\n", "make stop\n")):
        buttons.nth(number).click()
        expect(page.get_by_role("status")).to_have_text("Copied.")
        assert page.evaluate("navigator.clipboard.readText()") == copied
        expect(buttons.nth(number)).to_be_focused()
        page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(); }")


def test_a_slow_answer_is_said_and_an_old_page_gets_a_fresh_token(start: Start, show: Open) -> None:
    box = start(Reply(chunks=[reading(PAGE), *answer("Yes.")], pause=2), answered())
    page = show(box)
    page.clock.install()
    page.reload()
    ask(page)
    expect(page.locator(".reading")).to_contain_text("Reading “Start”…")
    page.clock.fast_forward(21_000)
    expect(page.get_by_role("status")).to_contain_text("longer than usual")
    expect(page.locator(".reading")).to_contain_text("longer than usual")
    expect(page.locator(".actions")).to_have_count(1, timeout=15_000)
    page.clock.fast_forward(660_000)
    renewed: list[Request] = []
    page.on("request", lambda it: renewed.append(it) if it.url.endswith("/token") else None)
    ask(page, "And then?")
    done(page, 2)
    assert len(renewed) == 1


def test_a_lost_connection_is_taken_up_where_it_broke(start: Start, show: Open) -> None:
    box = start(Reply(chunks=[reading(PAGE), *answer("One. Two. Three. Four.")], pause=1.5))
    with relayed(box) as cut:
        page = show(box)
        ask(page)
        expect(page.locator(".live .text")).to_have_text("One.")
        cut()
        expect(page.get_by_role("status")).to_have_text("The connection was lost. Trying again…")
        expect(page.locator(".actions")).to_have_count(1, timeout=15_000)
    expect(page.locator("article .text").first).to_have_text("One. Two. Three. Four.")
    expect(page.get_by_role("status")).to_have_text("The answer is ready.")
    assert len(box.gateway.requests) == 1


def test_a_question_that_cannot_be_sent_is_kept_and_sent_with_one_click(
    start: Start, show: Open
) -> None:
    page = show(start(answered()))
    page.context.set_offline(True)
    ask(page)
    expect(page.get_by_role("alert")).to_contain_text("The box has lost its server")
    expect(page.locator("#question")).to_have_value("How do I start?")
    page.context.set_offline(False)
    page.get_by_role("button", name="Retry").click()
    done(page)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_everything_works_without_javascript(start: Start, show: Open, database: Path) -> None:
    box = start(BUSY, answered(), answered(), answered())
    page = show(box, "lang=de&examples=Wie%3F", java_script_enabled=False)
    page.get_by_role("button", name="Wie?").click()
    expect(page.locator(".bad")).to_contain_text("Gerade fragen viele. Bitte versuch es in 20 Sek")
    page.get_by_role("button", name="Nochmal").click()
    done(page)
    page.locator("#question").fill("Und dann?")
    page.get_by_role("button", name="Fragen", exact=True).click()
    expect(page.get_by_role("heading", name="Und dann?")).to_be_visible()
    done(page)
    assert len(box.gateway.requests[2]["messages"]) >= 3  # the conversation goes on
    page.get_by_label("Nicht hilfreich").click()
    page.get_by_label("Es ist falsch").check()
    page.get_by_role("button", name="Senden").click()
    expect(page.get_by_text("Danke.")).to_be_visible()
    expect(page.get_by_label("Nicht hilfreich")).to_have_attribute("aria-pressed", "true")
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT reasons FROM votes").fetchall() == [('["wrong"]',)]
    page.get_by_role("button", name="Teilen").click()
    expect(page.get_by_role("heading", name="Und dann?")).to_be_visible()
    assert "/shared/" in page.url


def test_a_question_is_handed_on_without_javascript_too(start: Start, show: Open) -> None:
    page = show(start(REFUSAL), "lang=de", java_script_enabled=False)
    page.locator("#question").fill("Wer zahlt?")
    page.get_by_role("button", name="Fragen", exact=True).click()
    page.get_by_role("button", name="Ticket eröffnen").click()
    expect(page.get_by_text("konnte gerade nicht weitergegeben werden")).to_be_visible()


def test_all_of_it_can_be_reached_by_keyboard_in_the_order_of_the_page(
    start: Start, show: Open
) -> None:
    page = show(start(answered()))
    ask(page)
    done(page)
    expect(page.locator("#question")).to_be_focused()
    names = []
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        names.append(focused(page))
    wanted = [
        *("Start over", "Source 1", "Source 2", "Start › Linux", "The passage", "Ports"),
        *("The passage", "Helpful", "Not helpful", "Copy the answer", "Share", "Ask again"),
    ]
    assert [name for name in reversed(names) if name in wanted] == wanted


def test_nothing_moves_for_those_who_want_it_still(start: Start, show: Open) -> None:
    box = start(Reply(chunks=[chunk("One. ")] * 20, pause=0.3))
    for motion, name in (("reduce", "none"), ("no-preference", "pulse")):
        page = show(box, reduced_motion=motion)
        ask(page)
        dot = "getComputedStyle(document.querySelector('.live .reading'), '::before').animationName"
        expect(page.locator(".live")).to_be_visible()
        assert page.evaluate(dot) == name


STREAMS = Path(__file__).with_name("streams")
WIDE = "document.documentElement.scrollWidth - innerWidth"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core."""
    modules = environments.node("axe", print)
    return (modules / "axe-core" / "axe.min.js").read_text()


@pytest.mark.parametrize(
    ("scheme", "width", "query"),
    [("light", 420, ""), ("dark", 420, "accent=8a1c1c"), ("light", 320, "lang=de&accent=ffd400")],
)
def test_axe_finds_nothing_in_any_state(
    start: Start, show: Open, axe: str, scheme: str, width: int, query: str
) -> None:
    slow = Reply(chunks=[reading(PAGE), *[chunk("Some words. ")] * 300], pause=0.5)
    rich = ByQuestion(WIKI)
    rich.requests.append({"messages": [{"content": "How?"}]})
    full = Reply(chunks=rich.choose().chunks)
    checked, quoted = (
        Reply(chunks=[(STREAMS / f"{name}.sse").read_bytes()]) for name in ("claims", "extractive")
    )
    box = start(full, REFUSAL, checked, quoted, BUSY, slow, examples=("How do I start?",))
    page = show(box, f"quote=Press+it.&{query}", color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 700})

    def check(state: str) -> None:
        page.evaluate(axe)
        found = page.evaluate("tags => axe.run({ runOnly: tags })", TAGS)
        told = [
            f"{state}: {rule['id']}: {node['html'][:120]}: {node['failureSummary']}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]
        assert not told, "\n".join(told)
        assert page.evaluate(WIDE) <= 0, state

    check("empty")
    ask(page)
    done(page)
    check("done")
    page.locator(".vote button").nth(1).click()
    expect(page.locator("fieldset")).to_be_visible()
    check("vote")
    ask(page, "Not there?")
    done(page, 2)
    check("refused")
    ask(page, "Checked?")
    done(page, 3)
    check("claims")
    ask(page, "Quoted?")
    done(page, 4)
    check("quotation")
    ask(page, "Busy?")
    expect(page.locator("article .bad")).to_be_visible()
    check("failed")
    ask(page, "Slow?")
    expect(page.locator(".live .text")).to_contain_text("Some words.")
    check("streaming")
    page.locator(".live button").click()
    page.locator(".actions form[action*=share] button").first.click()
    link = page.locator(".shared a")
    expect(link).to_be_visible()
    check("share")
    page.goto(str(link.evaluate("e => e.href")))
    check("shared")


SAID = """() => {
  const shown = (e) => e.checkVisibility() && !e.closest("h2, .text, .source a, em, template");
  const said = [];
  for (const e of document.querySelectorAll("body *")) {
    if (!shown(e)) continue;
    const names = ["aria-label", "title", "placeholder"].map((name) => e.getAttribute(name) ?? "");
    const texts = [...e.childNodes].filter((child) => child.nodeType === 3);
    said.push(...names, ...texts.map((child) => child.data.trim()));
  }
  return said.filter((text) => /[A-Za-z]/.test(text) && !text.includes("«"));
}"""


@pytest.mark.usefixtures("strings")
def test_from_right_to_left_all_is_mirrored_and_all_is_translated(start: Start, show: Open) -> None:
    box = start(answered(), REFUSAL, Reply(chunks=[reading(PAGE), *[chunk("x. ")] * 99], pause=1))
    page = show(box, "lang=ar&quote=Press+it.", locale="ar")
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    send, field = page.locator(".send").bounding_box(), page.locator("#question").bounding_box()
    assert send
    assert field
    assert send["x"] < field["x"]
    page.locator("#unquote").click()
    missing = page.evaluate(SAID)
    ask(page)
    done(page)
    page.locator(".vote button").nth(1).click()
    expect(page.locator("fieldset")).to_be_visible()
    page.locator(".actions form[action*=share] button").click()
    expect(page.locator(".shared")).to_be_visible()
    missing += page.evaluate(SAID)
    ask(page, "Who?")
    done(page, 2)
    ask(page, "Who else?")
    expect(page.locator(".live .reading")).to_contain_text("Start")
    missing += page.evaluate(SAID)
    assert set(missing) <= {"SmolLM2-135M-Instruct", PAGE["title"]}
    text = page.locator("article .text").first
    assert text.evaluate("e => getComputedStyle(e).direction") == "ltr"  # what is said is English
    assert page.evaluate(WIDE) <= 0


def test_the_whole_text_arrives_as_it_was_written(start: Start, show: Open) -> None:
    page = show(start(Reply(chunks=answer(TEXT))))
    ask(page)
    done(page)
    assert page.locator("article .text li").count() == 2
    expect(page.locator("article pre .s2, article pre .mi").first).to_be_visible()  # coloured
