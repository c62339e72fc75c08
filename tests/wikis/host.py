"""A box, the browser of a reader, and the pages that the box is put into."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    FrameLocator,
    Locator,
    expect,
    sync_playwright,
)
from starlette.types import ASGIApp

from tests.parts import require
from tests.widget.stand_in import Reply, StandIn, answer, serve
from widget.app import create_app
from widget.settings import WidgetSettings

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""

# Counts what the policies of any frame forbid.
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(event.violatedDirective + " " + event.blockedURI));
"""


expect.set_options(timeout=30_000)  # a busy machine is no failure


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser without a window."""
    require(bool(CHROMIUM), "sudo apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Host:
    """Somebody's pages at `url`, with the box of `box_url` in them, and who reads them."""

    def __init__(self, stack: ExitStack, browser: Browser, url: str) -> None:
        self.url = url
        self.gateway = StandIn(Reply(chunks=answer("Yes, it is so.")))
        gateway = stack.enter_context(serve(self.gateway.app)) + "/v1"
        settings = WidgetSettings(gateway_url=gateway, gateway_key="ask-test", origins=(url,))
        self.box_url = stack.enter_context(serve(create_app(settings)))
        self.page = browser.new_page(viewport={"width": 1000, "height": 800})
        stack.callback(self.page.close)
        self.page.add_init_script(WATCH)
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._said)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(f"{message.text} {message.location['url']}")
        if message.type == "warning":
            self.warnings.append(message.text)

    @property
    def launcher(self) -> Locator:
        """The button in the corner."""
        return self.page.locator("askdocs-box button")

    @property
    def dialog(self) -> Locator:
        """What the button opens."""
        return self.page.locator("askdocs-box").get_by_role("dialog")

    @property
    def box(self) -> FrameLocator:
        """Inside the frame."""
        return self.page.frame_locator("iframe")

    @property
    def question(self) -> Locator:
        """The field for the question."""
        return self.box.locator("#question")

    @property
    def colours(self) -> str:
        """The mode that the box is in."""
        return str(self.box.locator("html").get_attribute("data-scheme"))

    def ask(self, question: str) -> None:
        """Type a question, press Enter, and wait for the answer."""
        answers = self.box.locator("article").filter(has_text="Yes, it is so.")
        before = answers.count()
        self.question.fill(question)
        self.question.press("Enter")
        expect(answers).to_have_count(before + 1)

    def asked(self) -> tuple[str, str]:
        """The latest question as the gateway got it, and the page that came with it."""
        request = self.gateway.requests[-1]
        return request["messages"][-1]["content"], request["metadata"].get("page_url", "")

    def check_clean(self) -> None:
        """No script failed and no policy was violated, in any frame."""
        for frame in self.page.frames:
            self.problems += frame.evaluate("window.violations || []")
        assert not self.problems, self.problems


@contextmanager
def host(browser: Browser, app: ASGIApp) -> Iterator[Host]:
    """Serve these pages, with a box that they may show."""
    with ExitStack() as stack:
        yield Host(stack, browser, stack.enter_context(serve(app)))
