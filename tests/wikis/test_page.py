"""What a page can tell the box: every option, on a page that makes it as hard as it can."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tests.clients import environments
from tests.wikis.host import Host, host

pytestmark = pytest.mark.slow

HOSTILE_CSS = """
* { color: red !important; font: 40px cursive !important; box-sizing: content-box !important; }
div, dialog, iframe, askdocs-box { display: none !important; position: static !important; }
button, iframe { width: 3px !important; opacity: 0.1 !important; color-scheme: dark !important; }
"""


class Strict:
    """Pages with a stylesheet that hides all, and a policy that allows next to nothing."""

    def __init__(self) -> None:
        self.html = "<html lang=en>"
        self.head = ""
        self.body = "<h1>A wiki</h1><p>Some words of it.</p><input id=search aria-label=Search>"
        self.attributes = ""
        self.query = ""
        self.css = HOSTILE_CSS
        self.box_url = ""
        routes = [Route("/page.css", self._stylesheet), Route("/{path:path}", self._page)]
        self.app = Starlette(routes=routes)

    async def _stylesheet(self, _request: Request) -> Response:
        return Response(self.css, media_type="text/css")

    async def _page(self, _request: Request) -> Response:
        html = f"""<!doctype html>{self.html}<head><title>Wiki</title>{self.head}
            <link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css"></head>
            <body>{self.body}<script src="{self.box_url}/embed.js{self.query}" {self.attributes}
            defer></script></body></html>"""
        policy = (
            f"default-src 'none'; script-src {self.box_url}; style-src 'self';"
            f" frame-src {self.box_url}; img-src data:; require-trusted-types-for 'script';"
            " trusted-types 'none'"
        )
        return HTMLResponse(html, headers={"content-security-policy": policy})


Open = Callable[..., tuple[Host, Strict]]


@pytest.fixture
def page(browser: Browser) -> Iterator[Open]:
    """Show a page with these attributes of the script."""
    with ExitStack() as stack:

        def start(attributes: str = "", path: str = "/guide/", **more: str) -> tuple[Host, Strict]:
            strict = Strict()
            strict.attributes = attributes
            for name, value in more.items():
                setattr(strict, name, value)
            shown = stack.enter_context(host(browser, strict.app))
            strict.box_url = shown.box_url
            shown.page.goto(shown.url + path)
            return shown, strict

        yield start


def options(shown: Host) -> dict[str, str]:
    """What the frame's address says."""
    address = shown.page.locator("iframe").get_attribute("src") or ""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def contrast(shown: Host) -> float:
    """Of the launcher's text and ground, as the browser paints them."""
    script = """(button) => {
        const context = Object.assign(document.createElement("canvas"), {width: 1, height: 1})
            .getContext("2d");
        const style = getComputedStyle(button);
        return ["backgroundColor", "color"].map((name) => {
            context.fillStyle = style[name];
            context.fillRect(0, 0, 1, 1);
            const parts = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) =>
                part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
            return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
        });
    }"""
    darker, lighter = sorted(shown.launcher.evaluate(script))
    return float((lighter + 0.05) / (darker + 0.05))


def test_a_script_without_options_speaks_the_language_of_the_page(page: Open) -> None:
    shown, _ = page(html="<html lang=de-AT>")
    expect(shown.launcher).to_have_text("Frag die Doku")
    expect(shown.launcher).to_be_in_viewport()
    expect(shown.launcher).to_have_attribute("aria-keyshortcuts", "Control+K")
    shown.launcher.click()
    expect(shown.page.get_by_role("dialog", name="Frag die Doku")).to_be_in_viewport()
    expect(shown.question).to_be_focused()
    assert options(shown) == {
        "mode": "panel",
        "page": f"{shown.url}/guide/",
        "scheme": "light",
        "lang": "de-AT",
        "shortcut": "mod+k",
    }
    shown.check_clean()


def test_the_box_is_fetched_while_the_pointer_is_on_its_way(page: Open) -> None:
    shown, _ = page()
    with shown.page.expect_response(lambda response: "/box?" in response.url):
        shown.launcher.hover()
    shown.box.locator("#question").wait_for(state="attached")
    expect(shown.dialog).to_be_hidden()
    fetched: list[str] = []
    shown.page.on("request", lambda request: fetched.append(request.url))
    shown.launcher.click()
    expect(shown.question).to_be_focused()
    assert fetched == []
    shown.check_clean()


def test_every_option_reaches_the_box(page: Open) -> None:
    shown, _ = page(
        'data-title="Wiki help" data-button="Help?" data-placeholder="What is…" data-lang="fr"'
        ' data-color-scheme="dark" data-accent="rebeccapurple" data-shortcut="mod+shift+i"'
        ' data-position="left" data-examples="How? | Why?"'
    )
    expect(shown.launcher).to_have_text("Help?")
    expect(shown.launcher).to_have_attribute("aria-keyshortcuts", "Control+Shift+I")
    expect(shown.launcher).to_have_css("background-color", "rgb(102, 51, 153)")
    area = shown.launcher.bounding_box()
    assert area
    assert area["x"] == 20
    shown.page.keyboard.press("Control+Shift+I")
    expect(shown.question).to_be_focused()
    area = shown.dialog.bounding_box()
    assert area
    assert area["x"] == 20
    assert options(shown) == {
        "mode": "panel",
        "page": f"{shown.url}/guide/",
        "scheme": "dark",
        "lang": "fr",
        "accent": "663399",
        "shortcut": "mod+shift+i",
        "title": "Wiki help",
        "placeholder": "What is…",
        "examples": "How? | Why?",
    }
    expect(shown.box.get_by_role("heading", name="Wiki help")).to_be_visible()
    assert shown.colours == "dark"
    shown.check_clean()


def test_options_may_stand_in_the_address_of_the_script(page: Open) -> None:
    shown, _ = page(query="?button=Help&amp;accent=%23c00&amp;shortcut=off")
    expect(shown.launcher).to_have_text("Help")
    expect(shown.launcher).to_have_css("background-color", "rgb(204, 0, 0)")
    assert shown.launcher.get_attribute("aria-keyshortcuts") is None
    shown.page.keyboard.press("Control+k")
    expect(shown.dialog).to_have_count(0)


def test_a_wrong_option_is_named_with_its_fix_and_the_box_works(page: Open) -> None:
    shown, _ = page('data-accent="reddish" data-shortcut="mod k"')
    assert shown.warnings == [
        'askdocs: data-accent="reddish" is not used: write a colour as in CSS, like #0a7f5a',
        'askdocs: data-shortcut="mod k" is not used: write mod+k, /, or off',
    ]
    shown.launcher.click()
    expect(shown.question).to_be_focused()
    assert "accent" not in options(shown)


def test_the_text_on_any_brand_colour_can_be_read(page: Open) -> None:
    shown, strict = page()
    colours = ("#ffd400", "#888", "oklch(0.7 0.2 140)", "hsl(210 90% 45%)", "navy", "#767676")
    for colour in colours:
        strict.attributes = f'data-accent="{colour}"'
        shown.page.reload()
        shown.launcher.hover()
        assert contrast(shown) >= 4.5, colour


def test_a_page_from_right_to_left_has_the_box_at_its_left(page: Open) -> None:
    shown, strict = page(html='<html lang=ar dir="rtl">')
    area = shown.launcher.bounding_box()
    assert area
    assert area["x"] == 20
    strict.attributes = 'data-position="right"'
    shown.page.reload()
    area = shown.launcher.bounding_box()
    assert area
    assert area["x"] + area["width"] == 980


def test_a_shortcut_of_one_sign_is_not_stolen_from_those_who_write(page: Open) -> None:
    shown, _ = page('data-shortcut="/"', css="")
    expect(shown.launcher).to_have_attribute("aria-keyshortcuts", "/")
    search = shown.page.locator("#search")
    search.focus()
    shown.page.keyboard.type("and/or")
    expect(search).to_have_value("and/or")
    expect(shown.dialog).to_have_count(0)
    search.blur()
    shown.page.keyboard.press("/")
    expect(shown.question).to_be_focused()
    expect(shown.question).to_have_value("")
    shown.page.keyboard.press("Escape")
    expect(shown.dialog).to_have_count(0)
    # The page's own search has the same key: the page was first.
    shown.page.evaluate("void (document.onkeydown = (event) => event.key !== '/')")
    shown.page.keyboard.press("/")
    expect(shown.dialog).to_have_count(0)


def test_a_shortcut_with_a_modifier_works_in_fields_and_on_every_keyboard(page: Open) -> None:
    shown, _ = page(css="")
    search = shown.page.locator("#search")
    search.focus()
    shown.page.keyboard.press("Control+Shift+k")
    expect(shown.dialog).to_have_count(0)
    shown.page.keyboard.press("Control+k")
    expect(shown.question).to_be_focused()
    shown.page.keyboard.press("Escape")
    expect(search).to_be_focused()
    # A Russian keyboard has another letter on that key.
    shown.page.evaluate(
        "dispatchEvent(new KeyboardEvent('keydown', {key: 'л', code: 'KeyK', ctrlKey: true}))"
    )
    expect(shown.question).to_be_focused()
    shown.check_clean()


def test_the_colours_are_those_of_the_ground_that_the_page_is_read_on(page: Open) -> None:
    css = """
    .night body { background: #202122 } .lit main { background: oklch(0.95 0.02 250) }
    .slow body { background: #000; transition: background-color 0.3s }
    .own { color-scheme: light dark } pre { background: #000 }
    """
    shown, _ = page(css=css, body="<pre>code</pre><main>A wiki</main>")
    shown.page.emulate_media(color_scheme="dark")
    shown.launcher.click()
    root = shown.box.locator("html")
    for classes, scheme in [
        ("", "light"),  # without a ground of its own a page is white, whatever the system prefers
        ("night", "dark"),
        ("night lit", "light"),
        ("own", "dark"),
        ("", "light"),
        ("slow", "dark"),
    ]:
        shown.page.evaluate(f"document.documentElement.className = '{classes}'")
        expect(root).to_have_attribute("data-scheme", scheme)
    shown.check_clean()


def test_on_a_phone_the_box_is_modal(page: Open) -> None:
    shown, _ = page(css="", body="<main><input id=search><a href=/x>Link</a></main>")
    shown.page.set_viewport_size({"width": 390, "height": 800})
    shown.page.locator("#search").focus()
    shown.page.keyboard.press("Control+k")
    expect(shown.question).to_be_focused()
    assert shown.dialog.evaluate("dialog => dialog.matches(':modal')")
    assert shown.dialog.bounding_box() == {"x": 0, "y": 0, "width": 390, "height": 800}
    for key in ["Tab"] * 6 + ["Shift+Tab"] * 6:
        shown.page.keyboard.press(key)
        assert shown.page.evaluate("document.activeElement.tagName") in ("ASKDOCS-BOX", "BODY")
    # Turned to its side, the phone shows the page beside the box.
    shown.page.set_viewport_size({"width": 800, "height": 390})
    expect(shown.question).to_be_focused()
    assert not shown.dialog.evaluate("dialog => dialog.matches(':modal')")
    shown.page.keyboard.press("Escape")
    expect(shown.page.locator("#search")).to_be_focused()
    shown.check_clean()


def test_a_conversation_survives_a_page_that_swaps_its_body(page: Open) -> None:
    shown, _ = page(css="")
    shown.launcher.click()
    shown.ask("How?")
    shown.page.evaluate("""
        history.pushState(null, "", "/other/");
        document.body = Object.assign(document.createElement("body"), {innerText: "Other"});
    """)
    expect(shown.box.locator("article")).to_have_count(1)
    shown.ask("And now?")
    assert shown.asked()[1] == f"{shown.url}/other/"
    shown.check_clean()


def test_a_link_with_a_question_opens_the_box_and_asks_it(page: Open) -> None:
    shown, _ = page(path="/guide/?a=b&ask=How+do+I+start%3F#part")
    expect(shown.box.locator("article h2")).to_have_text("How do I start?")
    expect(shown.box.get_by_text("Yes, it is so.")).to_be_visible()
    assert shown.asked() == ("How do I start?", f"{shown.url}/guide/?a=b")
    assert "ask" not in options(shown)  # addresses are logged, questions are not
    shown.check_clean()


def test_selected_text_goes_along_with_the_question(page: Open) -> None:
    shown, _ = page(css="")
    select = "getSelection().selectAllChildren(document.querySelector('p'))"
    shown.page.evaluate(select)
    shown.launcher.click()
    expect(shown.box.locator("#quoted .about")).to_have_text("Some words of it.")
    shown.ask("Why?")
    assert shown.asked()[0] == "> Some words of it.\n\nWhy?"
    expect(shown.box.locator("#quoted")).to_be_hidden()
    # What is selected in a field is what somebody writes, and no passage of the page.
    shown.page.keyboard.press("Escape")
    shown.page.evaluate("getSelection().removeAllRanges()")
    shown.page.locator("#search").fill("secret")
    shown.page.locator("#search").select_text()
    shown.page.keyboard.press("Control+k")
    shown.ask("And now?")
    assert shown.asked()[0] == "And now?"
    shown.check_clean()


def test_a_script_of_the_page_opens_the_box_with_a_passage_and_asks(page: Open) -> None:
    shown, _ = page('data-identity="a.jwt.of-it"')
    shown.page.evaluate("askdocs.open({ quote: 'Words. ' + 'x'.repeat(3000) })")
    expect(shown.question).to_be_focused()
    expect(shown.box.locator("#quoted .about")).to_contain_text("Words.")
    assert shown.box.locator("[name=identity]").input_value() == "a.jwt.of-it"
    shown.page.evaluate("askdocs.close()")
    expect(shown.dialog).to_have_count(0)
    shown.page.evaluate("askdocs.open({ ask: 'How?' })")
    expect(shown.box.get_by_text("Yes, it is so.")).to_be_visible()
    question, _ = shown.asked()
    assert question.startswith("> Words. xxx")
    assert len(question) == len("> ") + 2000 + len("\n\nHow?")
    shown.check_clean()


def test_a_box_in_the_page_takes_the_key_the_link_and_the_passage(page: Open) -> None:
    shown, _ = page(path="/?ask=How%3F", css="", body="<p>Words.</p><div data-askdocs></div>")
    expect(shown.box.get_by_text("Yes, it is so.")).to_be_visible()
    expect(shown.launcher).to_be_hidden()
    shown.page.locator("p").dblclick(position={"x": 9, "y": 9})  # selects the word
    shown.page.keyboard.press("Control+k")
    expect(shown.question).to_be_focused()
    shown.ask("Why?")
    assert shown.asked() == ("> Words\n\nWhy?", f"{shown.url}/")
    shown.check_clean()


@pytest.mark.parametrize("width", [1000, 390])
def test_axe_finds_nothing_in_a_page_with_the_box(browser: Browser, width: int) -> None:
    axe = (environments.node("axe", print) / "axe-core" / "axe.min.js").read_text()
    strict = Strict()
    strict.css = "body { font: 16px sans-serif; background: #111; color: #eee }"
    strict.body = "<main><h1>A wiki</h1></main>"
    strict.attributes = 'data-accent="#ffd400"'
    with host(browser, strict.app) as shown:
        strict.box_url = shown.box_url
        page = browser.new_page(viewport={"width": width, "height": 800}, bypass_csp=True)
        for address in (f"{shown.url}/", f"{shown.box_url}/"):
            page.goto(address)
            launcher = page.locator("askdocs-box button")
            if launcher.is_visible():
                launcher.click()
            expect(page.frame_locator("iframe").locator("#question")).to_be_visible()
            page.evaluate(axe)
            found = page.evaluate("axe.run().then((result) => result.violations)")
            assert [violation["id"] for violation in found] == [], address
        page.close()


CLOBBERED = """
<h1 id="askdocs">askdocs</h1><form id="askdocs" name="askdocs"><input name="open"></form>
<a id="frames"></a><a id="words"></a><a id="frame"></a><a id="launcher"></a><a id="panel"></a>
<a id="host"></a><a id="script"></a><a id="start"></a><a id="running"></a>
<img name="currentScript" alt=""><p>Words.</p>
"""


def test_a_page_whose_elements_have_our_names_has_the_box(page: Open) -> None:
    shown, _ = page(body=CLOBBERED)
    expect(shown.launcher).to_have_count(1)
    shown.launcher.click()
    expect(shown.question).to_be_focused()
    shown.page.keyboard.press("Escape")
    expect(shown.dialog).to_have_count(0)
    shown.page.evaluate("askdocs.open({ ask: 'How?' })")
    expect(shown.box.locator("article")).to_have_count(1)
    shown.check_clean()


def test_a_page_keeps_its_own_global_of_our_name(page: Open) -> None:
    shown, _ = page()
    shown.page.add_init_script("window.askdocs = 'theirs'")
    shown.page.goto(shown.url + "/own/")
    expect(shown.launcher).to_be_visible()
    assert shown.page.evaluate("askdocs") == "theirs"


def test_the_button_names_its_key_and_becomes_a_cross_while_the_box_is_open(page: Open) -> None:
    shown, _ = page(attributes='data-shortcut="mod+k"', css="")
    hint = shown.launcher.evaluate("e => getComputedStyle(e, '::after').content")
    assert hint in ('"Ctrl K"', "attr(data-key)")
    expect(shown.launcher).to_have_attribute("data-key", "Ctrl K")
    assert shown.launcher.evaluate("e => getComputedStyle(e, '::before').clipPath").startswith(
        "path"
    )
    closed = shown.launcher.bounding_box()
    shown.launcher.click()
    expect(shown.launcher).to_have_attribute("aria-expanded", "true")
    expect(shown.launcher.locator("span")).to_be_hidden()
    assert shown.launcher.evaluate("e => getComputedStyle(e, '::after').display") == "none"
    opened = shown.launcher.bounding_box()
    assert closed
    assert opened
    assert min(closed["height"], opened["height"], opened["width"]) >= 44
    expect(shown.launcher).to_have_accessible_name("Ask the docs")
