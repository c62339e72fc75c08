"""The documentation of this project: true to the code, and whole."""

import asyncio
import os
import re
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path
from urllib.parse import urldefrag

import pytest
from pydantic import BaseModel

from askdocs.state.home import Home
from askdocs.supervision.settings import UpSettings
from askdocs.wikis import site
from core.settings import GLOBALS, Section, variable
from gateway.runtime.app import Gateway
from gateway.settings import Alias, GatewaySettings, ModelEntry
from scripts import api_page, commands_page
from tests.headings import below
from training.settings import TrainingSettings
from widget.settings import WidgetSettings
from widget.slack.settings import SlackSettings
from wiki.pages.page import Page
from wiki.search.config import SearchSettings
from wiki.sources import folder
from wiki.sources.markdown import parse
from wiki.sources.site import SitesSettings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
READMES = [ROOT / part / "README.md" for part in ("", "deploy", "tests/security")]
RESEARCH = sorted((ROOT / "research").glob("*.md"))
TEXTS = [*READMES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES, *RESEARCH]
# The page and the heading above the table.
SETTINGS: dict[type[Section], str] = {
    UpSettings: "reference/configuration.md#starting-up",
    GatewaySettings: "reference/configuration.md#gateway-gateway",
    SearchSettings: "how-to/search-models.md#settings-of-the-embedding-model-and-the-reranker",
    SitesSettings: "how-to/sources-folders.md#settings-of-sites",
    TrainingSettings: "reference/training.md#the-store",
    WidgetSettings: "reference/configuration.md#widget-widget",
    SlackSettings: "reference/configuration.md#slack-slack",
}
# Not a setting: what readers of the docs call the key in their own shell and in compose's .env.
KEY = "ASKDOCS_KEY"

ids = [str(path.relative_to(ROOT)) for path in TEXTS]
every_text = pytest.mark.parametrize("path", TEXTS, ids=ids)


@cache
def page(path: Path) -> Page:
    name = path.relative_to(DOCS) if path.is_relative_to(DOCS) else Path(path.name)
    return parse(name.as_posix(), path.read_text(encoding="utf-8"), "http://wiki/")


def fences(path: Path, language: str) -> list[str]:
    found = re.findall(
        rf"^( *)```{language}\n(.*?)^\1```", path.read_text(encoding="utf-8"), re.M | re.S
    )
    return [textwrap.dedent(code) for _, code in found]


def without_code(text: str) -> str:
    text = re.sub(r"^( *)(```|~~~).*?^\1\2", "", text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def shown(default: object) -> str:
    """A default as the tables write it."""
    if default is None:
        return "not set"
    if default in ((), {}):
        return "none"
    if isinstance(default, tuple):  # as a list is written in a variable
        default = ",".join(map(str, default))
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


@pytest.mark.parametrize("model", SETTINGS, ids=lambda model: model.section)
def test_every_setting_has_its_row_with_default_and_meaning(model: type[Section]) -> None:
    path, anchor = urldefrag(SETTINGS[model])
    table = re.findall(r"(?:^\|.*\n)+", below(DOCS / path, anchor), re.M)[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in table.splitlines()
        if line.startswith("| `")
    ]
    written = [tuple(cell.strip(" |") for cell in row[:3]) for row in rows]
    assert written == [
        (f"`{name}`", shown(field.default), field.description)
        for name, field in model.model_fields.items()
    ]


@pytest.mark.parametrize(
    ("table", "anchor"), [(ModelEntry, "add-a-model"), (Alias, "set-an-alias")]
)
def test_every_key_of_a_model_and_an_alias_has_its_row(table: type[BaseModel], anchor: str) -> None:
    section = below(DOCS / "how-to/aliases.md", anchor).split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:3] == "| `"]
    assert [tuple(row) for row in rows] == [
        (
            f"`{name}`",
            "required" if field.is_required() else shown(field.default),
            field.description,
        )
        for name, field in table.model_fields.items()
    ]


def test_every_variable_that_the_docs_name_is_a_setting() -> None:
    known = {variable(model, key) for model in SETTINGS for key in model.model_fields}
    known |= {*GLOBALS, KEY}
    named = {
        (path.name, name)
        for path in TEXTS
        for name in re.findall(r"\bASKDOCS_[A-Z_]*[A-Z]\b(?!_)", path.read_text(encoding="utf-8"))
    }
    assert {(path, name) for path, name in named if name not in known} == set()


def test_the_page_of_the_gateway_has_every_endpoint() -> None:
    table = below(DOCS / "reference/gateway.md", "endpoints").split("\n\n## ")[0]
    rows = re.findall(r"^\| `(?:GET|POST) ([^|]*)\|", table, re.M)
    served = {route.path for route in Gateway(GatewaySettings()).routes() if "{" not in route.path}
    named = set(re.findall(r"/[\w./-]+", " ".join(rows)))
    assert named <= served
    assert {path for path in served if path not in named and f"/v1{path}" not in named} == {
        "/v1/mcp"  # as `/mcp`
    }


def test_the_page_of_the_gateway_has_every_code_of_its_errors() -> None:
    table = below(DOCS / "reference/gateway.md", "errors").split("\n\n## ")[0]
    rows = re.findall(r"^\| \d{3}[^|]*\|([^|]*)\|", table, re.M)
    code = "".join(file.read_text("utf-8") for file in sorted((ROOT / "gateway").rglob("*.py")))
    # Limits and the HTTP protocol have their own way of naming a code.
    others = {"rate_limit_exceeded", "insufficient_quota"}
    others |= {"invalid_http", "headers_too_large", "headers_too_slow"}
    assert [name for name in others if f'"{name}"' not in code] == []
    given = set(re.findall(r"\bcode(?:: str = |=)\"(\w+)\"", code)) | others
    assert set(re.findall(r"`(\w+)`", "".join(rows))) == given


def test_the_page_of_commands_is_what_the_command_line_says() -> None:
    assert commands_page.PAGE.read_text(encoding="utf-8") == commands_page.text(), (
        "stale: run .venv/bin/python scripts/commands_page.py"
    )


def test_the_page_of_the_api_is_what_the_openapi_document_says() -> None:
    assert api_page.PAGE.read_text(encoding="utf-8") == api_page.text(), (
        "stale: run .venv/bin/python scripts/api_page.py"
    )


@every_text
def test_links_and_anchors_resolve(path: Path) -> None:
    broken = []
    text = without_code(path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        address, fragment = urldefrag(re.sub(r"(\.png)#only-(?:light|dark)$", r"\1", target))
        file = (path.parent / address).resolve() if address else path
        anchors = {s.anchor for s in page(file).sections} if file.suffix == ".md" else set()
        if not file.is_file() or (fragment and fragment not in anchors):
            broken.append(target)
    assert broken == []


def test_every_page_and_section_that_code_alerts_and_settings_name_is_there() -> None:
    """As docs/how-to/runbook.md#askdocsdown, or research/notebook.md, "The check"."""
    named = re.compile(
        r"((?:docs/(?:tutorials|how-to|reference|explanation|results)|research)/[\w-]+\.md)"
        r"(?:#([\w-]+)|,[\s#]+\"([^\"]+)\")?"
    )
    listed = subprocess.run(
        ["git", "ls-files", "-z", ":!docs", ":!tests/answers", ":!CHANGELOG.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    broken, links = [], 0
    for file in filter(Path.is_file, map(ROOT.joinpath, listed.stdout.split("\0"))):
        for address, anchor, heading in named.findall(file.read_text("utf-8", "ignore")):
            links += 1
            sections = page(ROOT / address).sections if (ROOT / address).is_file() else []
            known = {section.anchor for section in sections}
            known |= {section.heading for section in sections}
            section = anchor or re.sub(r"[\s#]+", " ", heading)
            if not sections or (section and section not in known):
                broken.append((str(file.relative_to(ROOT)), address, section))
    assert broken == []
    assert links > 100


def test_the_site_is_short_enough_to_be_read() -> None:
    """Without the pages that scripts write."""
    written = [path for path in PAGES if path.name not in ("api.md", "commands.md")]
    assert len(written) <= 45
    assert sum(len(path.read_text(encoding="utf-8").split()) for path in written) <= 60_000


@every_text
def test_code_has_a_language_and_headings_have_only_words(path: Path) -> None:
    """GitHub shows `{#anchor}` of a heading to readers."""
    text = path.read_text(encoding="utf-8")
    opened = re.findall(r"^ *```(.*)\n(?:.*\n)*? *```$", text, re.M)
    assert all(re.fullmatch(r"[a-z]+(?: .*)?", language) for language in opened)
    assert re.findall(r"^#+ .*\{#.*", without_code(text), re.M) == []


@every_text
def test_a_link_that_names_a_page_has_the_name_of_the_page(path: Path) -> None:
    """A link text in capitals is a name, others are words of the sentence."""
    wrong = []
    for text, target in re.findall(r"\[([^\]]+)\]\(([^)#\s]+\.md)\)", path.read_text("utf-8")):
        file = (path.parent / target).resolve()
        if not re.match(r"[a-z]+:", target) and text[0].isupper() and text != page(file).title:
            wrong.append((text, page(file).title))
    assert wrong == []


def test_the_navigation_lists_every_page_once() -> None:
    """Under its title: the entry of a page has no name of its own."""
    written = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert re.findall(r"^ *- .+: *\S+\.md", written, re.M) == []
    listed = re.findall(r"[\w/-]+\.md", written)
    assert sorted(listed) == [path.relative_to(DOCS).as_posix() for path in PAGES]


def test_mkdocs_builds_the_site_with_the_anchors_that_links_name(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = subprocess.run(
        [*build, "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    built = [file.read_text(encoding="utf-8") for file in tmp_path.rglob("index.html")]
    assert [title for text in built for title in re.findall(r"<h\d.*\{#.*", text)] == []
    # A list that a block interrupts would begin again at 1, or show its numbers as text.
    assert [line for text in built for line in re.findall(r"<p>\d+\. .*", text)] == []
    lists = [re.sub(r"<pre.*?</pre>", "", text, flags=re.S) for text in built]
    again = re.compile(r"</ol>\s*(?:<div.*?</div>\s*|<p>.*?</p>\s*)?<ol>", re.S)
    assert [found for text in lists for found in again.findall(text)] == []
    start = (tmp_path / "index.html").read_text(encoding="utf-8")
    for part in ('"search.suggest"', "/edit/main/docs/", "https://git.example.com/askdocs"):
        assert part in start
    assert '<link rel="canonical" href="https://docs.example.com/askdocs/">' in start


@pytest.mark.slow
def test_make_run_serves_the_site_that_a_plain_build_makes(tmp_path: Path) -> None:
    """The same pages with the same texts, the same navigation, and search suggestions."""
    home, plain = Home(tmp_path / "home"), tmp_path / "plain"
    home.logs.mkdir(parents=True)
    asyncio.run(site.build(DOCS, home, "http://127.0.0.1:8000/", "http://127.0.0.1:8080"))
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(plain)]
    subprocess.run(build, cwd=ROOT, check=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    pages = sorted(file.relative_to(plain) for file in plain.rglob("index.html"))
    assert pages == sorted(file.relative_to(home.site) for file in home.site.rglob("index.html"))
    for path in pages:
        assert seen(home.site / path) == seen(plain / path)
    for built in (home.site, plain):
        features = (built / "index.html").read_text(encoding="utf-8")
        assert all(f'"{name}"' in features for name in ("navigation.tabs", "search.suggest"))


def seen(file: Path) -> tuple[list[str], list[str]]:
    """The words of a page's article, and the entries of its navigation."""
    text = file.read_text(encoding="utf-8")
    (article,) = re.findall(r"<article.*?</article>", text, re.S)
    article = re.sub(r'<a [^>]*class="md-content__button.*?</a>', "", article, flags=re.S)
    return re.sub(r"<[^>]+>", " ", article).split(), re.findall(r'"md-ellipsis">([^<]*)<', text)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_has_one_title_and_no_heading_twice(path: Path) -> None:
    read = page(path)
    text = re.sub(r"^( *)```.*?^\1```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    assert len(re.findall(r"^# ", text, re.M)) == 1
    assert text.startswith("# ")
    headings = [section.heading for section in read.sections]
    assert len(headings) == len(set(headings))


def test_titles_are_different() -> None:
    titles = [read.title for read in folder.read(DOCS, "http://wiki/").pages]
    assert len(titles) == len(set(titles)) == len(PAGES)


@every_text
def test_python_snippets_compile(path: Path) -> None:
    for number, code in enumerate(fences(path, "python"), start=1):
        compile(code, f"{path.name}, snippet {number}", "exec")


def test_readme_has_python_and_its_test_command() -> None:
    readme = ROOT / "README.md"
    assert fences(readme, "python")
    assert "make test\n" in fences(readme, "sh")
    assert re.search(r"^test:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)


def test_make_targets_that_the_docs_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {
        target for path in TEXTS for target in re.findall(r"`make ([a-z-]+)", path.read_text())
    }
    assert named <= targets
