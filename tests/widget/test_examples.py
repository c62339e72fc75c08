"""The questions of an empty box, from the wiki's own headings."""

import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from core import database
from tests.widget.conftest import WIKI, Box
from tests.widget.stand_in import Reply, answer
from widget.box.examples import Examples
from widget.service.store import Answered, NewQuestion, Store
from wiki.index.index import build, writing
from wiki.pages.page import Page, Section

HTMX = {"hx-request": "true", "sec-fetch-site": "same-origin"}
BODY = "Here stands in some sentences what the heading above says, and enough of it to answer."


GERMAN = "Hier steht in einigen Sätzen, was die Überschrift oben sagt, und genug für eine Antwort."


def page(path: str, title: str, *headings: str, body: str = BODY) -> Page:
    sections = [Section(h, "a", (h,), f"## {h}\n\n{body}") for h in headings]
    return Page(path, title, f"{WIKI}/{path}", (Section("", "", (), f"# {title}"), *sections))


@pytest.fixture
def index(tmp_path: Path) -> Path:
    pages = [
        page("zebra.md", "Zebra crossings", "How do I cross at a zebra?"),
        page("install.md", "Install it", "Install the tool? How do I `install` the tool? {#how}"),
        page("deep/er/printing.md", "Printing", "How do I print in colour?", "Why?"),
        page("deep/er/fax.md", "Fax machines", "Sending", "How to send a fax"),
        page("deep/er/setup.md", "Installing", "Installing the tool"),
        page("deep/er/pens.md", "Pens and pencils", "Use cases", "2. Order new pencils"),
        page("deep/er/keys.md", "The keys", "Rotating keys"),
        page("deep/er/list.md", "All about it", "Create a list", body="[Create a list](x.md) " * 9),
        page("genindex.md", "General index", "How do I find everything?"),
        page("changelog.md", "Changes", "What changed in version two?"),
        page("empty.md", "Empty", "What stands here?", body=""),
    ]
    build(tmp_path / "index.db", pages)
    return tmp_path / "index.db"


def test_headings_that_ask_or_say_what_to_do_are_offered_and_no_question_twice(index: Path) -> None:
    assert Examples(index).get(6) == [
        "Install the tool?",
        "How do I cross at a zebra?",
        "How do I send a fax?",
        "How do I rotate keys?",
        "How do I print in colour?",
    ]
    assert len(Examples(index).get(2)) == 2


def test_a_wiki_in_another_language_offers_its_headings(tmp_path: Path) -> None:
    pages = [
        page("start.md", "Start", "Benutzer anlegen", "Wie melde ich mich an?", body=GERMAN),
        page("druck.md", "Drucken", "Papier nachlegen", body=GERMAN),
        page("zh.md", "插件", "如何安装插件？"),
    ]
    build(tmp_path / "index.db", pages)
    assert Examples(tmp_path / "index.db").get(4) == [
        "Wie melde ich mich an?",
        "如何安装插件？",
        "Papier nachlegen",
        "Benutzer anlegen",
    ]


def test_a_page_that_is_closed_is_offered_no_longer(tmp_path: Path) -> None:
    file = tmp_path / "index.db"
    tea, pay = (
        page("tea.md", "Tea", "How do I get tea?"),
        page("pay.md", "Pay", "How do I get paid?"),
    )
    with writing(file) as writer:
        for one in (tea, pay):
            writer.put("wiki", one, "1", ())
    with closing(Examples(file)) as examples:
        assert examples.get(4) == ["How do I get paid?", "How do I get tea?"]
        with writing(file) as writer:
            writer.regroup("wiki", "pay.md", (frozenset({"hr"}),), "1")
        assert examples.get(4) == ["How do I get tea?"]


def test_a_refusal_suggests_questions_of_near_pages_that_share_a_word(
    box: Callable[..., Box], index: Path
) -> None:
    with closing(Examples(index)) as examples:
        assert examples.near("When was the zebra painted?", 2) == ["How do I cross at a zebra?"]
        assert examples.near("How do I bake a cake?", 2) == []
        assert examples.near("How do I cross at a zebra?", 2) == []
        assert examples._examples == [], "a refusal waits for no list of examples"
        assert Examples(None).near("zebra", 2) == []
    refused = Reply(chunks=answer("No.", refused=True, pages=[]))
    running = box(refused, index=index)
    token = httpx.post(f"{running.url}/token", data={"page": WIKI}).json()["token"]
    form = {"question": "When was the zebra painted?", "page": WIKI, "token": token}
    asked = httpx.post(f"{running.url}/asks", data=form, headers=HTMX).text
    (id,) = set(re.findall(r"asks/([\w-]+)/events", asked))
    done = httpx.get(f"{running.url}/asks/{id}/events", timeout=60).text
    assert 'data-edit="How do I cross at a zebra?"' in done


def test_without_an_index_there_are_none_and_nothing_fails(tmp_path: Path) -> None:
    assert Examples(None).get(4) == []
    assert Examples(tmp_path / "none.db").get(4) == []


def offered(box: Box, **params: str) -> list[str]:
    text = httpx.get(f"{box.url}/box", params=params).text
    return re.findall(r'name="question" value="(.*?)"', text)


def test_the_empty_box_offers_them_where_nobody_named_others(
    box: Callable[..., Box], index: Path
) -> None:
    running = box(Reply(), index=index)
    assert offered(running)[:1] == ["Install the tool?"]
    assert len(offered(running)) == 4
    assert offered(running, examples="Mine?") == ["Mine?"]
    assert offered(box(Reply(), index=index, examples=("Ours?",))) == ["Ours?"]


def test_headings_fill_up_what_too_few_readers_asked(
    box: Callable[..., Box], index: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'q.db'}"
    running = box(Reply(), index=index, database_url=url, examples=("Ours?", "asked"))
    engine = database.open(url)
    store = Store(engine)
    for question, caution in (("How do I cross at a zebra?", False), ("Is it closed?", True)):
        for visitor in ("one", "another"):
            id = f"{question} {visitor}"
            store.asked(NewQuestion(id, question, id, visitor=visitor))
            store.answered(id, Answered("answered", outcome={"caution": caution}))
    engine.dispose()
    assert offered(running) == [
        "Ours?",
        "How do I cross at a zebra?",
        "Install the tool?",
        "How do I send a fax?",
    ]
    assert offered(running, examples="Mine? | asked")[:3] == [
        "Mine?",
        "Ours?",
        "How do I cross at a zebra?",
    ]
