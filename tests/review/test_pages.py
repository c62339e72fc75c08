"""The pages of the review, over HTTP."""

import csv
import io
import re
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from tests.gateway.conftest import page as made
from tests.review.conftest import PORTS, Start, ask
from widget.review.clusters import Sorter
from widget.review.reviews import Reviews
from widget.service.store import Store
from wiki.index.index import build
from wiki.pages.page import Page, Section

ANN, BOB = {"x-person": "ann"}, {"x-person": "bob"}
SIGN_IN = {"person_header": "x-person", "reviewers": ("ann", "bob")}
FORM = {
    "version": "0",
    "question": "How do I print?",
    "answer": "Press **Ctrl+P**.",
    "page": "ports.md",
    "section": "",
    "action": "approve",
}


@pytest.fixture
def index(tmp_path: Path) -> Path:
    sections = (Section("", "", (), "# Ports"), Section("The gateway's", "g", (), "It is 4000."))
    build(tmp_path / "index.db", [Page("ports.md", "Ports", PORTS["url"], sections)])
    return tmp_path / "index.db"


def post(client: TestClient, who: dict[str, str] = ANN, **changes: str) -> httpx.Response:
    form = {name: value for name, value in {**FORM, **changes}.items() if value != "-"}
    return client.post("/review/1", data=form, headers=who)


def test_an_answer_is_approved_and_the_question_leaves_the_queue(
    start: Start, store: Store, index: Path
) -> None:
    client = start(**SIGN_IN, index=index)
    done = post(client, page=PORTS["url"], section="The gateway's")
    assert (done.status_code, done.headers["location"]) == (303, "1?did=approve")
    draft = Reviews(store.engine).current(1).draft
    assert (draft.page, draft.section) == ("ports.md", "The gateway's")
    assert "How do I print?" not in client.get("/review", headers=ANN).text
    page = client.get("/review/1?did=approve", headers=ANN).text
    assert "approved by ann" in page
    assert "<strong>Ctrl+P</strong>" in page
    everything = client.get("/review?state=all", headers=ANN).text
    assert "How do I print?" in everything


def test_a_page_and_a_section_that_the_wiki_has_not_are_refused_with_the_text_kept(
    start: Start, store: Store, index: Path
) -> None:
    client = start(**SIGN_IN, index=index)
    for changes, says in (
        ({"page": "prots.md"}, "The wiki has no page"),
        ({"section": "The box's"}, "ports.md has no section"),
        ({"answer": ""}, "Write an answer first"),
    ):
        refused = post(client, **changes)
        assert refused.status_code == 422
        assert says in refused.text
        assert "Press **Ctrl+P**." in refused.text or "answer" in changes
    assert Reviews(store.engine).current(1).version == 0


def test_the_later_of_two_writers_sees_both_texts(start: Start, store: Store) -> None:
    client = start(**SIGN_IN)
    assert post(client, action="save").status_code == 303
    late = post(client, BOB, answer="Use the <menu>.")
    assert late.status_code == 409
    assert "ann has changed this in the meantime" in late.text
    assert "Press **Ctrl+P**." in late.text
    assert "Use the &lt;menu&gt;." in late.text
    assert Reviews(store.engine).current(1).draft.answer == "Press **Ctrl+P**."
    version = re.search(r'name="version" value="(\d+)"', late.text)
    assert version
    assert post(client, BOB, version=version[1]).status_code == 303


def test_a_second_person_approves(start: Start, store: Store) -> None:
    client = start(**SIGN_IN, second_approval=True)
    post(client)
    assert "Another person must approve it" in client.get("/review/1?did=approve", headers=ANN).text
    assert post(client, version="1").status_code == 422
    assert post(client, BOB, version="1").status_code == 303
    assert Reviews(store.engine).current(1).approved == ("ann", "bob")
    listed = client.get("/review?state=approved", headers=ANN).text
    assert "How do I print?" in listed


def test_a_change_is_undone_by_its_button(start: Start, store: Store) -> None:
    client = start(**SIGN_IN)
    post(client, action="save")
    post(client, action="dismiss", version="1")
    form = {"version": "2", "to": "1", "action": "undo"}
    assert client.post("/review/1", data=form, headers=BOB).status_code == 303
    current = Reviews(store.engine).current(1)
    assert (current.state, current.who, current.draft.answer) == ("open", "bob", FORM["answer"])
    page = client.get("/review/1", headers=ANN).text
    assert page.count(">Back to this<") == 2
    assert "Undo this change" in page


def test_the_preview_is_rendered_as_readers_see_it_and_is_safe(start: Start, index: Path) -> None:
    client = start(**SIGN_IN, index=index)
    text = "**Yes** <img src=x onerror=alert(1)> [a](javascript:alert(1)) [b](../keys/)"
    shown = client.post("/review/preview", data={**FORM, "answer": text}, headers=ANN).text
    assert "<strong>Yes</strong>" in shown
    assert "<img" not in shown
    assert 'href="javascript' not in shown
    assert 'href="https://wiki.example.com/keys/"' in shown
    unanswerable = client.post(
        "/review/preview", data={**FORM, "unanswerable": "on"}, headers=ANN
    ).text
    assert "docs do not answer" in unanswerable


def test_pages_are_found_by_words_path_and_address_with_their_sections(
    start: Start, index: Path
) -> None:
    client = start(**SIGN_IN, index=index)
    for text in ("port", "Gateway", "ports.md"):
        found = client.get("/review/pages", params={"page": text}, headers=ANN).text
        assert '<option value="ports.md">Ports</option>' in found
    for text in ("ports.md", PORTS["url"]):
        found = client.get("/review/pages", params={"page": text}, headers=ANN).text
        assert '<option value="The gateway&#39;s"></option>' in found


def test_filters_narrow_the_queue(start: Start, store: Store) -> None:
    ask(
        store, "Where is the 100% menu?", channel="slack", alias="hr", vote="down", state="answered"
    )
    Sorter(store.engine).sort()
    client = start(**SIGN_IN)
    for query, shown in (
        ("channel=slack", "menu"),
        ("alias=hr", "menu"),
        ("kind=down", "menu"),
        ("words=100%25+MENU", "menu"),
        ("kind=refused", "print"),
        ("words=rint", "print"),
    ):
        rows = re.findall(r'scope="row"><a href="review/\d+">(.*?)</a>', _queue(client, query))
        assert len(rows) == 1, query
        assert shown in rows[0]
    assert "Nothing here" in _queue(client, "words=_rint")
    assert "Nothing here" in _queue(client, "state=approved")


def _queue(client: TestClient, query: str) -> str:
    answer = client.get(f"/review?{query}", headers=ANN)
    assert answer.status_code == 200
    return answer.text


def test_what_readers_wrote_is_text_everywhere(start: Start, store: Store) -> None:
    evil = '"><script>alert(1)</script>'
    ask(
        store,
        f"=cmd|' /C calc'!A0 {evil}",
        outcome={"pages": [{"title": evil, "url": "https://wiki.example.com/x"}]},
        page=f"https://wiki.example.com/{evil}",
        vote="down",
        reasons=("incomplete",),
        text=evil,
        quote=evil,
    )
    ask(store, "How?", outcome={"pages": [{"title": "x", "url": "javascript:alert(1)"}]})
    Sorter(store.engine).sort()
    client = start(**SIGN_IN)
    for path in ("", "/1", "/2", "/3", "/gaps", "/words", "/analytics"):
        page = client.get(f"/review{path}", headers=ANN)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert 'href="javascript' not in page.text
        assert not re.search(r'<[^>]* (style|on\w+)="', page.text)


def test_the_gaps_are_a_sheet_without_formulas(start: Start, store: Store) -> None:
    ask(store, '=HYPERLINK("http://evil")', outcome={"pages": [PORTS]})
    Sorter(store.engine).sort()
    client = start(**SIGN_IN)
    sheet = client.get("/review/gaps.csv", headers=ANN)
    assert sheet.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(sheet.text.removeprefix("\ufeff"))))
    assert rows[0][:2] == ["question", "asked"]
    assert {row[0] for row in rows[1:]} == {"How do I print?", '\'=HYPERLINK("http://evil")'}
    assert all(row[-2] == PORTS["url"] for row in rows[1:])


def test_a_question_is_taken_out_of_its_cluster_by_its_button(start: Start, store: Store) -> None:
    other = ask(store, "How do I print")
    third = ask(store, "How do I print it?")
    Sorter(store.engine).sort()
    client = start(**SIGN_IN)
    before = client.get("/review/1", headers=ANN).text
    assert before.count("Not the same question</button>") == 3
    moved = client.post("/review/1/apart", data={"question": third}, headers=ANN)
    assert (moved.status_code, moved.headers["location"]) == (303, "../1?did=apart")
    assert "How do I print it?" in client.get("/review/2", headers=ANN).text
    assert other not in client.get("/review/2", headers=ANN).text


def test_the_next_question_of_a_conversation_stands_beside_a_refusal(
    start: Start, store: Store
) -> None:
    minute = 1 / 24 / 60
    ask(store, "Does it have a tray?", conversation="talk", days=10 * minute)
    ask(store, "Where is the <paper>?", conversation="talk", days=8 * minute, state="answered")
    ask(store, "And the ink?", conversation="talk", days=2 * minute, state="answered")
    ask(store, "Whose is it?", conversation="other", days=9 * minute, state="answered")
    Sorter(store.engine).sort()
    client = start(**SIGN_IN)
    pages = [client.get(f"/review/{cluster}", headers=ANN).text for cluster in range(1, 6)]
    [page] = [page for page in pages if "<h1>Does it have a tray?</h1>" in page]
    assert re.findall("Asked next: (.*)</p>", page) == ["Where is the &lt;paper&gt;?"]
    assert "".join(pages).count("Asked next") == 1


def test_a_writer_sees_why_the_pages_of_a_question_were_found(
    start: Start, store: Store, tmp_path: Path
) -> None:
    text = '<a id="gateway"></a>\n\nThe gateway [listens](hens.md) on 4000.'
    ports = f"# Ports\n\nEach part has one.\n\n## Gateway\n\n{text}"
    hens = "# Hens\n\nA hen lays eggs."
    pages = [made(f"{name}.md", text) for name, text in (("ports", ports), ("hens", hens))]
    build(tmp_path / "index.db", pages)
    asked = ask(store, "gateway <ports>")
    Sorter(store.engine).sort()
    client = start(**SIGN_IN, index=tmp_path / "index.db")
    shown = _cluster_of(client, "gateway")
    [link] = re.findall(rf'href="(\d+/why\?question={asked})"', shown)
    page = client.get(f"/review/{link}", headers=ANN)
    assert page.status_code == 200
    assert "<h1>gateway &lt;ports&gt;</h1>" in page.text
    [row] = re.findall("<tr>.*</tr>", page.text.partition("<tbody>")[2])
    title, passage, share, meaning, *_, moved, readers = re.findall(
        "<t[hd][^>]*>(.*?)</t[hd]>", row
    )
    assert title.startswith('<a href="https://')
    assert title.endswith("Ports</a> › Gateway")
    assert (passage, share, meaning) == ("The gateway listens on 4000.", "100%", "–")
    assert (moved, readers) == ("–", "everybody")
    assert client.get("/review/1/why?question=nobody's", headers=ANN).status_code == 404
    assert "/why?" not in start(**SIGN_IN).get("/review/1", headers=ANN).text  # without an index


def _cluster_of(client: TestClient, words: str) -> str:
    [found] = re.findall(
        r'href="review/(\d+)"', client.get(f"/review?words={words}", headers=ANN).text
    )
    return client.get(f"/review/{found}", headers=ANN).text


def test_what_is_not_there_is_said_in_a_page(start: Start) -> None:
    client = start(**SIGN_IN)
    gone = client.get("/review/77", headers=ANN)
    assert gone.status_code == 404
    assert "no cluster 77" in gone.text
    assert client.post("/review/77", data=FORM, headers=ANN).status_code == 404
    for path in ("99999999999", "0", "9" * 30):
        assert client.get(f"/review/{path}", headers=ANN).status_code == 404, path
    assert client.get("/review?words=%00&state=x&kind=y&start=z", headers=ANN).status_code == 200
    assert client.post("/review/1/apart", data={"question": "\0"}, headers=ANN).status_code == 404
    broken = client.post("/review/1", content=b"version=\xff", headers=ANN)
    assert broken.status_code == 422
    assert post(client, version="x").status_code == 303  # 0: nobody has worked on it
