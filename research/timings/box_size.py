"""What the box costs a page: bytes before and after it is opened, and how soon it is seen.

    .venv/bin/python -m research.timings.box_size [BUNDLE.js ...]

Bytes are those of the network, headers included, in a browser with an empty cache. Bundles of
other widgets, such as `dist/modern/browser.js` of npm's docsgpt, are compressed for comparison.
"""

import argparse
import gzip
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

from playwright.sync_api import Browser, expect
from playwright.sync_api import Request as Requested
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from tests.wikis.host import Host, browsing, host

ROUNDS = 10
HOVER = 200  # ms from the pointer's coming to the click
WATCH = """() => {
    addEventListener("click", () => { window.opened = Date.now(); }, true);
    addEventListener("keydown", () => { window.opened = Date.now(); }, true);
}"""
# A frame that is not shown draws nothing: the second of its animation frames has painted the first.
DRAWN = """() => requestAnimationFrame(() => requestAnimationFrame(() => {
    window.drawn = Date.now();
}))"""
# Each frame has a clock of its own; Date.now() is common.
PAINTED = """() => window.drawn ?? performance.timeOrigin
    + performance.getEntriesByName("first-contentful-paint")[0].startTime"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundles", nargs="*", type=Path)
    with browsing() as browser:
        clicked = [one_round(browser, by_pointer=True) for _ in range(ROUNDS)]
        pressed = [one_round(browser, by_pointer=False) for _ in range(ROUNDS)]
    before, opened, answered, painted, ready = map(statistics.median, zip(*clicked, strict=True))
    print(f"before the box is opened: {before / 1000:.1f} kB")
    print(f"opened: {opened / 1000:.1f} kB; with one answer: {answered / 1000:.1f} kB")
    print(f"clicked {HOVER} ms after the pointer came (medians of {ROUNDS}):")
    print(f"  first paint {painted:.0f} ms, ready for typing {ready:.0f} ms after the click")
    *_, painted, ready = map(statistics.median, zip(*pressed, strict=True))
    print("opened by the shortcut:")
    print(f"  first paint {painted:.0f} ms, ready for typing {ready:.0f} ms after the key")
    for bundle in parser.parse_args().bundles:
        print(f"{bundle}: {len(gzip.compress(bundle.read_bytes(), 9)) / 1000:.1f} kB")


def one_round(browser: Browser, *, by_pointer: bool) -> tuple[float, ...]:
    """Bytes before, opened, and with an answer; ms until the box is painted, and has the focus."""
    box_url = ""

    def page(_request: Request) -> HTMLResponse:
        icon = "<link rel=icon href='data:,'>"
        return HTMLResponse(f"{icon}<h1>A</h1><script src={box_url}/embed.js defer></script>")

    with host(browser, Starlette(routes=[Route("/", page)])) as shown:
        box_url = shown.box_url
        return tuple(measure(shown, by_pointer))


def _adds_to(sizes: list[float]) -> Callable[[Requested], None]:
    def add(request: Requested) -> None:
        size = request.sizes()
        sizes.append(size["responseBodySize"] + size["responseHeadersSize"])

    return add


def measure(shown: Host, by_pointer: bool) -> Iterator[float]:
    sizes: list[float] = []
    shown.page.on("requestfinished", _adds_to(sizes))
    shown.page.goto(shown.url)
    shown.page.evaluate(WATCH)
    shown.page.wait_for_load_state("networkidle")
    page_itself = sizes[0]
    yield sum(sizes) - page_itself
    if by_pointer:
        shown.launcher.hover()
        shown.page.wait_for_timeout(HOVER)
        for frame in shown.page.frames[1:]:
            frame.evaluate(DRAWN)
        shown.page.mouse.down()
        shown.page.mouse.up()
    else:
        shown.page.keyboard.press("Control+k")
    shown.box.locator(":focus").wait_for()
    focused = shown.page.evaluate("Date.now()")
    expect(shown.question).to_be_focused()
    shown.page.wait_for_load_state("networkidle")
    opened = shown.page.evaluate("window.opened")
    painted = shown.page.frames[1].evaluate(PAINTED)
    yield sum(sizes) - page_itself
    shown.ask("How do I start?")
    shown.page.wait_for_timeout(300)
    yield sum(sizes) - page_itself
    yield painted - opened
    yield focused - opened


if __name__ == "__main__":
    main()
