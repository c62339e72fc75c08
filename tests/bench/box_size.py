"""What the box costs a page: bytes before and after it is opened, and how soon it is seen.

    .venv/bin/python -m tests.bench.box_size [BUNDLE.js ...]

Bytes are those of the network, headers included, in a browser with an empty cache. Bundles of
other widgets, such as `dist/modern/browser.js` of npm's docsgpt, are compressed for comparison.
"""

import argparse
import gzip
import statistics
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from tests.wikis.host import Host, browsing, host

ROUNDS = 10
# When the frame said that it is there, in ms after the click.
WATCH = """() => {
    window.ready = 0;
    addEventListener("message", (event) => {
        if (event.data?.askdocs === "ready") window.ready = performance.now() - window.clicked;
    });
    addEventListener("click", () => { window.clicked = performance.now(); }, true);
}"""
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundles", nargs="*", type=Path)
    with browsing() as browser:
        rounds = [one_round(browser) for _ in range(ROUNDS)]
    before, opened, answered, ready, painted = map(statistics.median, zip(*rounds, strict=True))
    print(f"before the box is opened: {before / 1000:.1f} kB")
    print(f"opened: {opened / 1000:.1f} kB; with one answer: {answered / 1000:.1f} kB")
    print(f"first paint in the frame {painted:.0f} ms after it is asked for")
    print(f"ready for typing {ready:.0f} ms after the click (median of {ROUNDS})")
    for bundle in parser.parse_args().bundles:
        print(f"{bundle}: {len(gzip.compress(bundle.read_bytes(), 9)) / 1000:.1f} kB")


def one_round(browser: Browser) -> tuple[float, ...]:
    """Bytes before, opened, and with an answer; ms until the box is ready, and painted."""
    box_url = ""

    def page(_request: Request) -> HTMLResponse:
        icon = "<link rel=icon href='data:,'>"
        return HTMLResponse(f"{icon}<h1>A</h1><script src={box_url}/embed.js defer></script>")

    with host(browser, Starlette(routes=[Route("/", page)])) as shown:
        box_url = shown.box_url
        return tuple(measure(shown))


def measure(shown: Host) -> Iterator[float]:
    sizes: list[float] = []
    shown.page.on("requestfinished", lambda request: sizes.append(size(request.sizes())))
    shown.page.goto(shown.url)
    shown.page.evaluate(WATCH)
    shown.page.wait_for_load_state("networkidle")
    page_itself = sizes[0]
    yield sum(sizes) - page_itself
    shown.launcher.click()
    expect(shown.question).to_be_focused()
    shown.page.wait_for_load_state("networkidle")
    ready = shown.page.evaluate("window.ready")
    painted = shown.page.frames[1].evaluate(PAINTED)
    yield sum(sizes) - page_itself
    shown.ask("How do I start?")
    shown.page.wait_for_timeout(300)
    yield sum(sizes) - page_itself
    yield ready
    yield painted


def size(sizes: dict[str, int]) -> int:
    return sizes["responseBodySize"] + sizes["responseHeadersSize"]


if __name__ == "__main__":
    main()
