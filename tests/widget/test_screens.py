"""Pictures of the box, compared with those that a person has looked at (`screens/`).

Renew them after a change that is meant, and look at them before the commit:

    RENEW_SCREENS=1 .venv/bin/python -m pytest tests/widget/test_screens.py

Text is set in DejaVu, and compared as a person sees it from afar: the mean colour of squares of 8
pixels. The edges of letters, which differ between versions of Chromium, hardly change it; a part
that is missing, moved, or of another colour does. What stands where to the pixel is measured in
`test_layout.py`.
"""

import io
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops
from playwright.sync_api import Browser, Page, expect

from tests.parts import require
from tests.widget.conftest import WIKI, Box
from tests.widget.stand_in import Reply, answer
from tests.widget.test_claims import recorded

pytestmark = pytest.mark.slow

SCREENS = Path(__file__).parent / "screens"
SQUARE = 8  # pixels
FAR = 20  # of 255, in one channel: a square that a person sees to be different
SHARE = 0.02  # of squares that may be
COLOURS = 64  # of a stored picture: that keeps it small
EXAMPLES = ("How do I start?", "Which models can I use on a machine without a GPU?")
PAGE = {"title": "Start", "url": f"{WIKI}/start/", "tokens": 900}
FONT = """* { font-family: "DejaVu Sans" !important }
code, pre { font-family: "DejaVu Sans Mono" !important }"""


def far(one: Image.Image, other: Image.Image) -> float:
    """The share of squares that differ; 1 where the pictures have other sizes."""
    if one.size != other.size:
        return 1.0
    small = (one.width // SQUARE, one.height // SQUARE)
    squares = [image.convert("RGB").resize(small, Image.Resampling.BOX) for image in (one, other)]
    channels = ImageChops.difference(*squares).split()
    most = ImageChops.lighter(ImageChops.lighter(channels[0], channels[1]), channels[2])
    return sum(most.histogram()[FAR:]) / (small[0] * small[1])


def compare(page: Page, name: str, kept: Path) -> None:
    shot = page.screenshot(animations="disabled", caret="hide")
    seen = Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    wanted = SCREENS / f"{name}.png"
    if os.environ.get("RENEW_SCREENS"):
        seen.save(wanted, optimize=True)
        return
    share = far(Image.open(wanted), seen)
    if share > SHARE:
        seen.save(kept / f"{name}.png")
        pytest.fail(f"{share:.1%} of {wanted} differ; see {kept / name}.png, or renew (above)")


@pytest.mark.usefixtures("strings")
@pytest.mark.parametrize(
    ("name", "width", "scheme", "query"),
    [
        ("light", 420, "light", ""),
        ("dark", 420, "dark", ""),
        ("mobile", 320, "light", ""),
        ("right-to-left", 420, "dark", "lang=ar"),
    ],
)
def test_the_box_looks_as_it_was_approved(
    box: Callable[..., Box],
    browser: Browser,
    tmp_path: Path,
    name: str,
    width: int,
    scheme: Any,
    query: str,
) -> None:
    fonts = subprocess.run(["fc-list"], capture_output=True, text=True, check=False).stdout
    require("DejaVuSansMono" in fonts, "apt-get install fonts-dejavu-core fontconfig")
    running = box(
        *(recorded("claims"), recorded("extractive")),
        Reply(chunks=answer("No.", refused=True, pages=[PAGE])),
        examples=EXAMPLES,
        database_url=f"sqlite:///{tmp_path / 'q.db'}",
    )
    size: Any = {"width": width, "height": 640}
    with browser.new_context(viewport=size, color_scheme=scheme, bypass_csp=True) as context:
        page = context.new_page()
        page.goto(f"{running.url}/box?mode=panel&{query}")
        page.add_style_tag(content=FONT)
        expect(page.locator(".example")).to_have_count(len(EXAMPLES))
        compare(page, f"{name}-first", tmp_path)
        for number, state in enumerate(("claims", "quotation", "refusal"), 1):
            page.locator("#question").fill(f"How do I show the {state}?")
            page.locator("#question").press("Enter")
            expect(page.locator(".actions")).to_have_count(number)
            page.mouse.move(0, 0)
            compare(page, f"{name}-{state}", tmp_path)


def test_a_comparison_sees_what_a_person_would_and_no_edge_of_a_letter() -> None:
    picture = Image.open(SCREENS / "light-claims.png").convert("RGB")
    blurred = picture.resize((840, 1280), Image.Resampling.BILINEAR).resize(picture.size)
    assert far(picture, blurred) <= SHARE
    assert far(picture, ImageChops.offset(picture, 0, 12)) > SHARE
    covered = picture.copy()
    covered.paste((255, 255, 255), (0, 560, 420, 640))
    assert far(picture, covered) > SHARE
    assert far(picture, Image.open(SCREENS / "dark-claims.png")) > 0.5
