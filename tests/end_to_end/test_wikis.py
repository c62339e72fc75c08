"""Wikis that change while `askdocs up` runs, and those that are no Markdown."""

import json
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.running import Askdocs, up
from tests.starting import shown
from tests.waiting import until

pytestmark = pytest.mark.slow

PAGE = """<!doctype html><html><head><title>Coffee</title></head><body><main>
<h1 id="coffee">Coffee</h1><p>The coffee machine stands in the kitchen on floor 3.</p>
<h2 id="descale">How do I descale the coffee machine?</h2>
<p>Press the blue button for 7 seconds and pour 40 ml of citric acid into the tank.</p>
</main></body></html>"""


def answer(askdocs: Askdocs, question: str) -> str:
    return str(json.loads(askdocs.cli("ask", question, "--json").stdout)["answer"])


def test_a_page_that_is_edited_or_deleted_is_seen_without_a_restart(
    tmp_path: Path, wiki: Path
) -> None:
    with up(tmp_path / "home", wiki) as askdocs:
        question = "How do I descale the coffee machine?"
        assert "40 ml" in answer(askdocs, question)
        page = (wiki / "coffee.md").read_text().replace("40 ml", "90 ml")
        (wiki / "coffee.md").write_text(page)
        until(lambda: "90 ml" in answer(askdocs, question))
        site = askdocs.status()["parts"]["site"]["url"]
        until(lambda: "90 ml" in httpx.get(f"{site}coffee/").text)
        assert "wiki     2 pages, 1 changed" in askdocs.text()
        (wiki / "coffee.md").unlink()
        until(lambda: "90 ml" not in answer(askdocs, question))
        assert askdocs.status()["index"]["pages"] == 1


def test_pages_are_read_ahead_for_a_model_that_writes(tmp_path: Path, wiki: Path) -> None:
    with up(tmp_path / "home", wiki, up_answers="write") as askdocs:
        until(lambda: "2 of 2 pages are warm" in askdocs.text(), seconds=120)


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
    tmp_path: Path, export: Path
) -> None:
    with up(tmp_path / "home", export) as askdocs:
        done = askdocs.cli("ask", "How do I descale the coffee machine?", "--json")
        answered = json.loads(done.stdout)
        assert "40 ml" in answered["answer"]
        parts = askdocs.status()["parts"]
        site = parts["site"]["url"]
        assert answered["sources"][0]["url"] == f"{site}kitchen/coffee.html#descale"
        shown = httpx.get(f"{site}kitchen/coffee.html").text
        box = f'<script src="{parts["widget"]["url"]}/embed.js" async></script>'
        assert box in shown
        assert shown.replace(box, "") == PAGE


def test_a_site_on_the_web_stays_where_it_is(tmp_path: Path, export: Path) -> None:
    with shown(export) as site, up(tmp_path / "home", site) as askdocs:
        status = askdocs.status()
        assert status["ready"]
        assert "site" not in status["parts"]
        assert status["docs"] == site
        done = askdocs.cli("ask", "How do I descale the coffee machine?", "--json")
        answered = json.loads(done.stdout)
        assert "40 ml" in answered["answer"]
        assert answered["sources"][0]["url"] == f"{site}kitchen/coffee.html#descale"
