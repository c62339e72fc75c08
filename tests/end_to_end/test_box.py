"""A reader in a real browser: the wiki's page, the box, a streamed answer with its source."""

import os
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.end_to_end.running import Askdocs
from tests.wikis.host import browsing

pytestmark = pytest.mark.slow


@pytest.fixture
def page() -> Iterator[Page]:
    with browsing() as browser:
        yield browser.new_page(viewport={"width": 1280, "height": 900})


def test_a_reader_opens_the_box_asks_and_sees_a_sourced_answer(
    askdocs: Askdocs, page: Page
) -> None:
    site = askdocs.started["parts"]["site"]["url"]
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(site + "getting-started/")
    page.get_by_role("button", name="Ask the docs").click()
    box = page.frame_locator("iframe[title]")
    box.get_by_role("textbox").fill("How do I stop askdocs?")
    box.get_by_role("textbox").press("Enter")
    expect(box.get_by_text("Ctrl-C").first).to_be_visible(timeout=60_000)
    source = box.locator("a[href*='#stopping-askdocs']").first
    expect(source).to_be_visible(timeout=60_000)
    expect(box.get_by_text("Quoted from the docs")).to_be_visible()
    # For the README, when asked for: a picture of what a reader sees.
    if os.environ.get("TEST_SCREENSHOT"):
        page.wait_for_timeout(500)
        page.screenshot(path=os.environ["TEST_SCREENSHOT"])
    source.click()
    page.wait_for_url(re.compile("/getting-started/#stopping-askdocs"))
    assert complaints == []
