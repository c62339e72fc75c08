"""Wikis that change while `askdocs up` runs, and those that are no Markdown."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.askdocs.conftest import RunHere, here
from tests.end_to_end.running import Askdocs, up
from tests.starting import shown
from tests.waiting import until

__all__ = ["here"]

pytestmark = pytest.mark.slow

QUESTION = "How do I descale the coffee machine?"
PAGE = """<!doctype html><html><head><title>Coffee</title></head><body><main>
<h1 id="coffee">Coffee</h1><p>The coffee machine stands in the kitchen on floor 3.</p>
<h2 id="descale">How do I descale the coffee machine?</h2>
<p>Press the blue button for 7 seconds and pour 40 ml of citric acid into the tank.</p>
</main></body></html>"""


def told(here: RunHere, askdocs: Askdocs, *words: str) -> dict[str, Any]:
    """What a command prints as JSON."""
    return dict(json.loads(here(*words, "--json", "--home", str(askdocs.home)).stdout))


def test_a_page_that_is_edited_or_deleted_is_seen_without_a_restart(
    tmp_path: Path, wiki: Path, here: RunHere
) -> None:
    with up(tmp_path / "home", wiki) as askdocs:

        def answer() -> str:
            return str(told(here, askdocs, "ask", QUESTION)["answer"])

        assert "40 ml" in answer()
        page = (wiki / "coffee.md").read_text().replace("40 ml", "90 ml")
        (wiki / "coffee.md").write_text(page)
        until(lambda: "90 ml" in answer())
        site = told(here, askdocs, "status")["parts"]["site"]["url"]
        until(lambda: "90 ml" in httpx.get(f"{site}coffee/").text)
        assert "wiki     2 pages, 1 changed" in askdocs.text()
        (wiki / "coffee.md").unlink()
        until(lambda: "90 ml" not in answer())
        assert told(here, askdocs, "status")["index"]["pages"] == 1


def test_pages_are_read_ahead_for_a_model_that_writes(
    tmp_path: Path, wiki: Path, shallow: Path
) -> None:
    with up(tmp_path / "home", wiki, "--model", str(shallow), up_answers="write") as askdocs:
        until(lambda: "2 of 2 pages prefilled" in askdocs.text(), seconds=120)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Two pages of HTML, one of which leads to the other."""
    folder = tmp_path / "export"
    (folder / "kitchen").mkdir(parents=True)
    (folder / "kitchen" / "coffee.html").write_text(PAGE)
    front = "<h1>Home</h1><p>All about the <a href='kitchen/coffee.html'>kitchen</a>.</p>"
    (folder / "index.html").write_text(f"<html><body><main>{front}</main></body></html>")
    return folder


def test_a_folder_of_html_is_shown_with_the_box_and_answers_lead_into_it(
    tmp_path: Path, export: Path, here: RunHere
) -> None:
    with up(tmp_path / "home", export) as askdocs:
        answered = told(here, askdocs, "ask", QUESTION)
        assert "40 ml" in answered["answer"]
        parts = told(here, askdocs, "status")["parts"]
        site = parts["site"]["url"]
        assert answered["sources"][0]["url"] == f"{site}kitchen/coffee.html#descale"
        shown = httpx.get(f"{site}kitchen/coffee.html").text
        box = f'<script src="{parts["widget"]["url"]}/embed.js" async></script>'
        assert box in shown
        assert shown.replace(box, "") == PAGE


def test_a_site_on_the_web_stays_where_it_is(tmp_path: Path, export: Path, here: RunHere) -> None:
    with shown(export) as site, up(tmp_path / "home", site) as askdocs:
        status = told(here, askdocs, "status")
        assert status["ready"]
        assert "site" not in status["parts"]
        assert status["docs"] == site
        answered = told(here, askdocs, "ask", QUESTION)
        assert "40 ml" in answered["answer"]
        assert answered["sources"][0]["url"] == f"{site}kitchen/coffee.html#descale"
