"""The pictures of the documentation, taken of a widget and a review that run.

Renew them after a change that is meant, and look at them before the commit:

    RENEW_SCREENS=1 .venv/bin/python -m pytest tests/docs/test_pictures.py

Each picture carries the structure of the page that it shows: its roles, names and texts, as
assistive technology reads them. The test compares this structure with that of the running page, so
a picture that is older than the product fails, on every version of Chromium and with every font.
"""

import json
import os
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Browser, Locator, Page, expect

from core import database
from tests.docs.test_pages import DOCS, PAGES, ROOT
from tests.review.conftest import ask
from tests.widget.conftest import WIKI
from tests.widget.stand_in import Reply, StandIn, serve
from tests.wikis.host import browsing
from widget.app import create_app
from widget.review import access
from widget.review.clusters import Sorter
from widget.service.store import Store
from widget.settings import WidgetSettings
from wiki.index.index import build
from wiki.sources import folder

PICTURES = DOCS / "images"
RECORDED = Path(__file__).with_name("answers")
# The recorded answers; `claim` is by the bundled model, told to write 32 tokens.
QUESTIONS = {
    "answer": "How do I roll back a release?",
    "claim": "How do I roll back a release?",
    "refusal": "Who won the world cup in Brazil?",
}
NAMES = (*QUESTIONS, "review", "analytics")
SCHEMES: tuple[Any, ...] = ("light", "dark")
LIMIT = 60_000  # bytes of a picture
COLOURS = 64  # of a picture: that keeps it small
FONT = """* { font-family: "DejaVu Sans" !important }
code, pre { font-family: "DejaVu Sans Mono" !important }"""
SITE = "http://127.0.0.1:8000/"
# What a team may ask about examples/wiki: the question, how often, and what became of it.
ASKED: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("How do I get a phone for on-call duty?", 7, {}),
    ("How do I delete a message?", 4, {}),
    ("What do I do when the disk is full?", 3, {"answer": "Delete `spool`.", "vote": "down"}),
    ("How do I roll back a release?", 29, {"answer": "Run `beacon rollback`."}),
    ("When may I deploy?", 21, {"answer": "From Monday to Thursday.", "vote": "up"}),
    ("How are releases numbered?", 12, {"answer": "By year and week."}),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


def reply(name: str) -> Reply:
    """An answer from examples/wiki, as a gateway with the bundled model has streamed it."""
    return Reply(chunks=[(RECORDED / f"{name}.sse").read_bytes()])


@pytest.fixture
def widget(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address of a widget with examples/wiki and its readers' questions, and of its review."""
    engine = database.open(f"sqlite:///{tmp_path}/askdocs.db")
    database.migrate(engine)
    store = Store(engine)
    for text, times, fields in ASKED:
        state = "answered" if fields else "refused"
        for number in range(times):
            ask(store, text, state=state, days=number * 7 % 29, duration=1.5 + number / 9, **fields)
    Sorter(engine).sort()
    index = tmp_path / "index.db"
    build(index, list(folder.read(ROOT / "examples" / "wiki", SITE).pages))
    gateway = StandIn(*map(reply, QUESTIONS))
    with serve(gateway.app) as url:
        settings = WidgetSettings(
            gateway_url=f"{url}/v1",
            gateway_key="ask-test",
            origins=(WIKI,),
            database_url=str(engine.url),  # type: ignore[arg-type]
            index=index,
            examples=("How do I get access?", "Who is on call?"),
        )
        with serve(create_app(settings)) as base:
            yield base, access.link(settings, base)
    engine.dispose()


def structure(shown: Locator) -> str:
    """Roles, names and texts, without addresses, times and days, which differ from run to run."""
    text = re.sub(r"\n *- /url: .*", "", shown.aria_snapshot())  # some are random
    text = re.sub(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d)?|\b\d\d-\d\d\b", "DAY", text)
    return re.sub(r"\d+(?:\.\d+)? (s|ms|minutes?)\b", r"N \1", text)


def keep(page: Page, name: str) -> None:
    """Compare what the page shows with what the picture shows, or take the picture again."""
    found = structure(page.locator("body"))
    file = PICTURES / f"{name}.png"
    if os.environ.get("RENEW_SCREENS"):
        shot = page.screenshot(animations="disabled", caret="hide")
        notes = PngInfo()
        notes.add_itxt("structure", found, zip=True)
        picture = Image.open(BytesIO(shot)).convert("RGB")
        picture.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True, pnginfo=notes)
    assert found == carried(file), f"{file} is older than what it shows: renew it (see above)"


def carried(file: Path) -> str:
    with Image.open(file) as picture:
        return str(picture.text["structure"])  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_pictures_of_the_widget_show_what_it_shows(
    widget: tuple[str, str], browser: Browser, scheme: Any
) -> None:
    size: Any = {"width": 460, "height": 560}
    with browser.new_context(viewport=size, color_scheme=scheme, bypass_csp=True) as context:
        for name, question in QUESTIONS.items():
            page = context.new_page()
            page.goto(f"{widget[0]}/box?mode=panel&scheme={scheme}")
            page.add_style_tag(content=FONT)
            page.locator("#question").fill(question)
            page.locator("#question").press("Enter")
            expect(page.locator(".actions")).to_have_count(1)
            page.mouse.move(0, 0)
            keep(page, f"{name}-{scheme}")
            page.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_pictures_of_the_review_show_what_it_shows(
    widget: tuple[str, str], browser: Browser, scheme: Any
) -> None:
    size: Any = {"width": 1120, "height": 440}
    with browser.new_context(viewport=size, color_scheme=scheme, bypass_csp=True) as context:
        page = context.new_page()
        page.goto(widget[1])
        page.add_style_tag(content=FONT)
        root = page.url
        keep(page, f"review-{scheme}")
        page.set_viewport_size({"width": 1120, "height": 700})
        page.goto(f"{root}/analytics")
        page.add_style_tag(content=FONT)
        keep(page, f"analytics-{scheme}")


def test_each_picture_is_small_and_in_light_and_dark_of_one_structure() -> None:
    files = {file.name for file in PICTURES.iterdir()}
    assert files == {f"{name}-{scheme}.png" for name in NAMES for scheme in SCHEMES}
    for name in NAMES:
        light, dark = (PICTURES / f"{name}-{scheme}.png" for scheme in SCHEMES)
        assert max(light.stat().st_size, dark.stat().st_size) < LIMIT
        assert carried(light) == carried(dark)
        shades = [sum(Image.open(file).convert("L").histogram()[128:]) for file in (light, dark)]
        assert shades[0] > 4 * shades[1]


def test_each_picture_is_on_a_page_in_light_and_dark_with_words_for_who_cannot_see_it() -> None:
    texts = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    for name in NAMES:
        for scheme in SCHEMES:
            image = rf"!\[([^\]]+)\]\((?:\.\./)?images/{name}-{scheme}\.png#only-{scheme}\)"
            assert [words for words in re.findall(image, texts) if len(words) > 40], (name, scheme)


def test_the_tutorial_prints_the_answer_of_the_picture() -> None:
    """Its text, with the sentences that the picture marks in italics."""
    lines = (RECORDED / "claim.sse").read_text(encoding="utf-8").splitlines()
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    deltas = [choice["delta"].get("content") for one in chunks for choice in one["choices"]]
    text = "".join(filter(None, deltas))
    (claims,) = [one["askdocs"]["claims"] for one in chunks if "claims" in one.get("askdocs", {})]
    marked = [text[one["start"] : one["end"]] for one in claims if one["verdict"] != "supported"]
    assert marked
    page = (DOCS / "tutorials" / "your-wiki.md").read_text(encoding="utf-8")
    for claim in claims:
        sentence = text[claim["start"] : claim["end"]]
        assert (f"*{sentence}*" if sentence in marked else sentence) in page
    assert QUESTIONS["claim"] in page
