"""The documentation of this project: true to the code, and whole."""

import re
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path
from urllib.parse import urldefrag

import pytest
from pydantic import BaseModel

from askdocs.supervision.settings import UpSettings
from gateway.core.gateway_settings import Alias, GatewaySettings, ModelEntry
from gateway.core.settings import GLOBALS, Section, variable
from gateway.knowledge.search.config import SearchSettings
from gateway.knowledge.sources import folder
from gateway.knowledge.sources.markdown import parse
from gateway.knowledge.sources.site import SitesSettings
from gateway.knowledge.wiki.page import Page
from gateway.runtime.app import Gateway
from scripts import commands_page
from tests.headings import below
from training.settings import TrainingSettings
from widget.settings import WidgetSettings
from widget.slack.settings import SlackSettings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
READMES = [ROOT / part / "README.md" for part in ("", "deploy", "tests/security")]
TEXTS = [*READMES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES]
# The page and the heading above the table.
SETTINGS: dict[type[Section], str] = {
    UpSettings: "reference/configuration.md#starting-up",
    GatewaySettings: "reference/configuration.md#gateway-gateway",
    SearchSettings: "how-to/search-models.md#settings-of-the-embedding-model-and-the-reranker",
    SitesSettings: "how-to/sources-folders.md#settings-of-sites",
    TrainingSettings: "reference/versions.md#the-store",
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
    given = set(re.findall(r"\bcode=\"(\w+)\"", code)) | others
    assert set(re.findall(r"`(\w+)`", "".join(rows))) == given


def test_the_page_of_commands_is_what_the_command_line_says() -> None:
    assert commands_page.PAGE.read_text(encoding="utf-8") == commands_page.text(), (
        "stale: run .venv/bin/python scripts/commands_page.py"
    )


@every_text
def test_links_and_anchors_resolve(path: Path) -> None:
    broken = []
    text = without_code(path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        address, fragment = urldefrag(target)
        file = (path.parent / address).resolve() if address else path
        anchors = {s.anchor for s in page(file).sections} if file.suffix == ".md" else set()
        if not file.is_file() or (fragment and fragment not in anchors):
            broken.append(target)
    assert broken == []


def test_every_page_and_section_that_code_alerts_and_settings_name_is_there() -> None:
    """As docs/how-to/runbook.md#alert-down, or docs/results/notebook.md, "The check"."""
    named = re.compile(
        r"(docs/(?:tutorials|how-to|reference|explanation|results)/[\w-]+\.md)"
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


def test_the_navigation_lists_every_page_once() -> None:
    listed = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(listed) == [path.relative_to(DOCS).as_posix() for path in PAGES]


def test_mkdocs_builds_the_site_with_the_anchors_that_links_name(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = subprocess.run(
        [*build, "--site-dir", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    built = [file.read_text(encoding="utf-8") for file in tmp_path.rglob("index.html")]
    assert [title for text in built for title in re.findall(r"<h\d.*\{#.*", text)] == []


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
