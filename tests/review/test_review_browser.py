"""The review in a real browser: by keyboard, without scripts, in both modes, with hostile words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.clients import environments
from tests.review.conftest import PORTS, ask
from tests.widget.stand_in import serve
from tests.widget.test_markdown import PAYLOADS
from tests.wikis.host import browsing
from widget.app import create_app
from widget.review import access
from widget.review.clusters import Sorter
from widget.review.reviews import Reviews
from widget.service.store import Store
from widget.settings import WidgetSettings
from wiki.index.index import build
from wiki.pages import page as wiki

pytestmark = pytest.mark.slow

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WATCH = """
window.problems = [];
document.addEventListener("securitypolicyviolation", e => problems.push(e.violatedDirective));
window.alert = () => problems.push("alert");
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core."""
    return (environments.node("axe", print) / "axe-core" / "axe.min.js").read_text()


@pytest.fixture
def address(store: Store, tmp_path: Path) -> Iterator[str]:
    """The link to a review with questions."""
    index = tmp_path / "index.db"
    sections = (
        wiki.Section("", "", (), "# Ports"),
        wiki.Section("Gateway", "g", (), "It is 4000."),
    )
    build(index, [wiki.Page("ports.md", "Ports", PORTS["url"], sections)])
    ask(store, "Which port is the gateway's?", outcome={"pages": [PORTS]})
    ask(
        store,
        "Which port is the gateway's",
        state="answered",
        answer="Port **80**.",
        vote="down",
        reasons=("wrong",),
        text="It is not.",
        page=PORTS["url"],
    )
    ask(store, "Where is the canteen?", days=8)
    Sorter(store.engine).sort()
    url = str(store.engine.url)
    settings = WidgetSettings(database_url=url, gateway_key="ask-test", index=index)  # type: ignore[arg-type]
    with serve(create_app(settings)) as base:
        yield access.link(settings, base)


def opened(browser: Browser, address: str, **options: Any) -> Page:
    page = browser.new_context(**options).new_page()
    page.add_init_script(WATCH)
    page.goto(address)
    expect(page).to_have_url(address.split("?")[0])
    return page


def test_a_writer_answers_by_keyboard_with_a_live_preview(
    browser: Browser, address: str, store: Store
) -> None:
    page = opened(browser, address)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="Which port is the gateway's")
    for _ in range(12):
        page.keyboard.press("Tab")
        if link.evaluate("e => e === document.activeElement"):
            break
    page.keyboard.press("Enter")
    answer = page.get_by_label("Answer, in Markdown")
    answer.focus()
    page.keyboard.type("Port **4000**, see [all](../ports/).")
    preview = page.locator("#preview")
    expect(preview.locator("strong")).to_have_text("4000")
    expect(preview.locator("a")).to_have_count(0)  # no page yet that the link could start from
    page.keyboard.press("Tab")
    page.keyboard.type("Ports")
    expect(page.locator("#pages option")).to_have_attribute("value", "ports.md")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("ports.md")
    expect(page.locator("#sections option")).to_have_attribute("value", "Gateway")
    expect(preview.locator("a").first).to_have_attribute("href", PORTS["url"])
    page.keyboard.press("Tab")
    page.keyboard.type("Gateway")
    approve = page.get_by_role("button", name="Approve")
    for _ in range(4):
        page.keyboard.press("Tab")
        if approve.evaluate("e => e === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Approved.")
    current = Reviews(store.engine).current(2)
    assert (current.state, current.draft.section) == ("approved", "Gateway")
    assert page.evaluate("problems") == []


def test_it_works_without_scripts(browser: Browser, address: str, store: Store) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(address)
    page.get_by_label("Words").fill("canteen")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Where is the canteen?").click()
    page.get_by_label("The docs do not answer this").check()
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("status")).to_have_text("Approved.")
    page.get_by_role("button", name="Undo this change").click()
    expect(page.get_by_role("status")).to_have_text("An earlier version is back.")
    assert [one.action for one in Reviews(store.engine).history(1)] == ["undo", "approve"]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 320)])
def test_axe_finds_nothing_on_any_page(
    browser: Browser, address: str, store: Store, axe: str, scheme: str, width: int
) -> None:
    size: Any = {"width": width, "height": 800}
    page = opened(browser, address, color_scheme=scheme, viewport=size, bypass_csp=True)
    root = page.url

    def check(state: str) -> None:
        page.evaluate(axe)
        found = page.evaluate("tags => axe.run({ runOnly: tags })", TAGS)
        told = [
            f"{state}: {rule['id']}: {node['html'][:120]}: {node['failureSummary']}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]
        assert not told, "\n".join(told)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, state

    check("queue")
    page.goto(f"{root}?words=nothing")
    check("empty queue")
    page.goto(f"{root}/2")
    page.get_by_label("Answer, in Markdown").fill("Port 4000.")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("alert")).to_contain_text("Choose the page")
    check("refused")
    page.get_by_role("button", name="Save as a draft").click()
    check("saved")
    Reviews(store.engine).change(2, 1, "ann", "dismiss")
    page.get_by_role("button", name="Save as a draft").click()
    expect(page.get_by_role("alert")).to_contain_text("ann has changed this")
    check("conflict")
    page.get_by_role("link", name="Why were these pages found?").first.click()
    check("why")
    for path in ("gaps", "analytics", "words", "77"):
        page.goto(f"{root}/{path}")
        check(path)


def test_payloads_of_readers_and_writers_execute_nothing(
    browser: Browser, address: str, store: Store
) -> None:
    for payload in PAYLOADS:
        text = payload.replace("\0", "")[:2000]
        ask(
            store,
            text,
            state="answered",
            answer=text,
            vote="down",
            reasons=("incomplete",),
            text=text,
            quote=text,
            page=text,
            outcome={"pages": [{"title": text, "url": text}], "sources": []},
        )
    Sorter(store.engine).sort()
    page = opened(browser, address)
    root = page.url
    page.goto(f"{root}/2")
    page.get_by_label("Answer, in Markdown").fill("\n\n".join(PAYLOADS).replace("\0", "")[:4000])
    expect(page.locator("#preview .text")).to_be_visible()
    page.get_by_role("button", name="Save as a draft").click()
    expect(page.get_by_role("status")).to_have_text("Saved.")
    assert page.evaluate("problems") == []
    paths = ["", "?start=50", "/gaps", "/words", "/analytics", "/3", "/4", "/5", "/6"]
    for path in paths:
        page.goto(f"{root}{path}")
        for details in page.locator("details").all():
            details.evaluate("e => e.open = true")
        assert page.evaluate("problems") == [], path
        assert page.url == f"{root}{path}"
    page.get_by_role("link", name="Why were these pages found?").first.click()
    expect(page.get_by_role("link", name="Back to the question")).to_be_visible()
    assert page.evaluate("problems") == []
