"""The box in wikis as people run them, put there as docs/how-to/widget.md says."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import yaml
from playwright.sync_api import Browser, expect
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from askdocs.state.home import Home
from askdocs.supervision.checks import free_port
from askdocs.wikis import site
from tests.clients import environments
from tests.parts import require
from tests.wikis.host import Host, host

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

ROOT = Path(__file__).resolve().parents[2]
MEDIAWIKI = ROOT / ".cache" / "mediawiki" / "usr" / "share" / "mediawiki"
HOW = (
    "apt-get install php-cli php-intl php-mbstring php-sqlite3 php-xml; sh tests/wikis/mediawiki.sh"
)

START = "# Start\n\nThe way to begin.\n\nRead the [guide](guide.md), too.\n"
GUIDE = "# Guide\n\nAll about the second page.\n"


def instructions(heading: str, box_url: str) -> str:
    """What the docs say to paste for this wiki, with the address of a box that runs here."""
    text = (ROOT / "docs" / "how-to/widget.md").read_text(encoding="utf-8")
    section = text.split(f"\n### {heading}")[1].split("\n##")[0]
    code = re.findall(r"^```\w+\n(.*?)^```", section, re.M | re.S)[0]
    return str(code).replace("https://ask.example.com", box_url)


@pytest.fixture
def static(browser: Browser, tmp_path: Path) -> Iterator[Host]:
    """A host of the files in `tmp_path/site`, which may be written later."""
    files = StaticFiles(directory=tmp_path / "site", html=True, check_dir=False)
    with host(browser, Starlette(routes=[Mount("/", files)])) as shown:
        yield shown


def opens_and_answers(shown: Host, path: str, launcher: str) -> None:
    """The launcher shows, opens, and what is asked comes with the page."""
    page = shown.page
    page.goto(shown.url + path)
    page.evaluate("window.sameDocument = true")
    expect(shown.launcher).to_have_text(launcher)
    expect(shown.launcher).to_be_in_viewport()
    shown.launcher.click()
    expect(shown.question).to_be_focused()
    expect(shown.dialog).to_be_in_viewport()
    shown.ask("How do I begin?")
    assert shown.asked() == ("How do I begin?", shown.url + path)


def is_dark(shown: Host) -> None:
    """The box became dark with its page."""
    expect(shown.box.locator("html")).to_have_attribute("data-scheme", "dark")


def goes_on(shown: Host, path: str) -> None:
    """On a page that was loaded without leaving the document, the conversation continues there."""
    assert shown.page.evaluate("window.sameDocument")
    expect(shown.box.locator("article")).to_have_count(1)
    shown.ask("And then?")
    assert shown.asked() == ("And then?", shown.url + path)
    is_dark(shown)
    shown.check_clean()


def test_in_mkdocs_material_with_instant_navigation(static: Host, tmp_path: Path) -> None:
    config = {
        "site_name": "Wiki",
        "site_url": static.url + "/",
        "theme": {
            "name": "material",
            "font": False,
            "features": ["navigation.instant"],
            "palette": [
                {"scheme": "default", "toggle": {"icon": "material/eye", "name": "Night"}},
                {"scheme": "slate", "toggle": {"icon": "material/eye", "name": "Day"}},
            ],
        },
        **yaml.safe_load(instructions("MkDocs", static.box_url)),
    }
    (tmp_path / "mkdocs.yml").write_text(json.dumps(config))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(START)
    (tmp_path / "docs" / "guide.md").write_text(GUIDE)
    run([sys.executable, "-m", "mkdocs", "build", "--quiet"], tmp_path)

    opens_and_answers(static, "/", "Ask the wiki")
    static.page.get_by_title("Night").click()
    is_dark(static)
    static.page.get_by_role("article").get_by_role("link", name="guide").click()
    expect(static.page.get_by_role("heading", name="Guide")).to_be_visible()
    goes_on(static, "/guide/")


def test_every_page_of_the_demo_has_the_button(static: Host, tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.logs.mkdir()
    build = site.build(ROOT / "docs", home, static.url + "/", static.box_url)
    with ThreadPoolExecutor(1) as thread:  # Playwright has a loop in this one
        thread.submit(asyncio.run, build).result()
    # Each page would read all pages for its search, which no test here asks.
    index = tmp_path / "site" / "search" / "search_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "docs": []}))
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(list((ROOT / "docs").rglob("*.md"))) // 2
    without = []
    for file in pages:
        path = "/" + file.relative_to(tmp_path / "site").as_posix().removesuffix("index.html")
        static.page.goto(static.url + path, wait_until="domcontentloaded")
        try:
            expect(static.launcher).to_be_in_viewport()
        except AssertionError:
            without.append(path)
    assert without == []


def test_in_vitepress(static: Host, tmp_path: Path) -> None:
    modules = environments.node(
        "vitepress", print, Path(__file__).with_name("vitepress"), optional=True
    )
    folder = tmp_path / "wiki"
    (folder / ".vitepress").mkdir(parents=True)
    (folder / "node_modules").symlink_to(modules)
    config = folder / ".vitepress"
    (config / "askdocs.mjs").write_text(instructions("VitePress", static.box_url))
    (config / "config.mjs").write_text(
        'import askdocs from "./askdocs.mjs";\n'
        'export default { ...askdocs, cleanUrls: true, outDir: "../site" };\n'
    )
    (folder / "index.md").write_text(START)
    (folder / "guide.md").write_text(GUIDE)
    run(["node", str(modules / "vitepress/bin/vitepress.js"), "build", str(folder)], tmp_path)
    (tmp_path / "site" / "favicon.ico").touch()

    static.page.emulate_media(color_scheme="light")
    static.page.set_viewport_size({"width": 1400, "height": 800})
    opens_and_answers(static, "/", "Ask the docs")
    static.page.get_by_role("switch").first.click()
    is_dark(static)
    static.page.get_by_role("main").get_by_role("link", name="guide").click()
    expect(static.page.get_by_role("heading", name="Guide")).to_be_visible()
    goes_on(static, "/guide")
    # Its key is not the one of the wiki's own search.
    static.page.keyboard.press("Control+i")
    expect(static.dialog).to_have_count(0)


def test_in_mediawiki_under_its_content_security_policy(browser: Browser, tmp_path: Path) -> None:
    require(shutil.which("php") is not None and (MEDIAWIKI / "index.php").is_file(), HOW)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        shown = Host(stack, browser, url)
        words = ["--dbtype=sqlite", f"--dbpath={tmp_path}", f"--server={url}", "--scriptpath="]
        words += [f"--confpath={tmp_path}", "--pass=long-enough-a-word", "--skins=Vector"]
        install = ["php", "maintenance/run.php", "install", *words, "Wiki", "Admin"]
        run(install, MEDIAWIKI)
        settings = tmp_path / "LocalSettings.php"
        policy = f"""
            $wgCSPHeader = [
                'useNonces' => false, 'includeCORS' => false,
                'script-src' => [ '{shown.box_url}' ], 'default-src' => [ '{shown.box_url}' ],
            ];
            $wgVectorNightMode = [ 'logged_out' => true, 'logged_in' => true ];
            $wgCacheDirectory = '{tmp_path}';
        """
        snippet = instructions("MediaWiki", shown.box_url)
        with settings.open("a") as file:
            file.write(textwrap.dedent(policy) + snippet)
        environment = {**os.environ, "MW_CONFIG_FILE": str(settings), "PHP_CLI_SERVER_WORKERS": "2"}
        serve = ["php", "-S", f"127.0.0.1:{port}", "-t", str(MEDIAWIKI)]
        server = subprocess.Popen(
            serve, cwd=MEDIAWIKI, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
        )
        stack.callback(server.wait)
        stack.callback(os.killpg, server.pid, 15)
        wait_for(f"{url}/index.php?title=Main_Page")

        opens_and_answers(shown, "/index.php?title=Main_Page", "Ask the docs")
        shown.page.wait_for_function("window.mw?.user?.clientPrefs")
        shown.page.evaluate("mw.user.clientPrefs.set('skin-theme', 'night')")
        is_dark(shown)
        shown.page.goto(f"{url}/index.php?title=Special:Version")
        expect(shown.page.get_by_role("heading", name="Version")).to_be_visible()
        expect(shown.launcher).to_have_count(0)
        shown.page.goto(f"{url}/index.php?title=Main_Page")
        shown.page.keyboard.press("Control+k")
        is_dark(shown)
        shown.check_clean()


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"{url} does not answer")
