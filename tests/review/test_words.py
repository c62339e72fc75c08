"""Pairs of words that writers type: stored, used and refused."""

import html
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from httpx import Response
from starlette.testclient import TestClient

from core import audit
from tests.gateway.conftest import page
from tests.review.conftest import Start
from widget.review.wiki import ReviewIndex
from widget.service.store import Store
from wiki.index.writer import writing
from wiki.rights import Reader
from wiki.search import glossary_table
from wiki.search.glossary import MOST_WORDS, Glossary, Pair
from wiki.search.glossary_table import BadPair, add, pair_of, remove

ANN = {"x-person": "ann"}
SIGN_IN = {"person_header": "x-person", "groups_header": "x-groups", "reviewers": ("ann", "hr")}
BIN = Pair("bin", "discard edits")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    file = tmp_path / "index.db"
    with writing(file) as writer:
        writer.put(
            "a", page("discard.md", "# Discard\n\nTo discard edits, press Restore."), "1", ()
        )
        pay = page("pay.md", "# Severance\n\nSeverance is 98,765 euros for each of us.")
        writer.put("a", pay, "1", (frozenset({"hr"}),))
    return file


@pytest.fixture
def wiki(index: Path, store: Store) -> Iterator[ReviewIndex]:
    with closing(ReviewIndex(index, store.engine)) as wiki:
        yield wiki


def test_an_explanation_has_only_pages_that_its_writer_may_read(wiki: ReviewIndex) -> None:
    pages = {}
    for groups in ((), ("hr",)):
        found = wiki.explain("Severance of us", "", Reader(frozenset(groups)))
        assert found
        pages[groups] = [(page["path"], page["readers"]) for page in found["pages"]]
    assert ("pay.md", "hr") in pages[("hr",)]
    assert "pay" not in repr(pages[()])


def post(client: TestClient, action: str, word: str = BIN.word, other: str = BIN.other) -> Response:
    form = {"word": word, "other": other, "action": action}
    return client.post("/review/words", data=form, headers=ANN)


def test_a_pair_counts_while_a_writer_wants_it(start: Start, store: Store, index: Path) -> None:
    client = start(**SIGN_IN, index=index)
    words = Glossary({"bin": ["trash"]})

    def used() -> list[str]:
        glossary_table.follow(words, store.engine)
        return list(words.names("")["bin"])

    assert used() == ["trash"]
    assert post(client, "add", " BIN ", "Discard\tedits").headers["location"] == "words?did=add"
    assert used() == ["trash", "discard edit"]
    shown = client.get("/review/words?did=add", headers=ANN).text
    assert re.search(r'scope="row">bin</th><td>discard edits</td><td>ann</td>', shown)
    assert "within two seconds" in shown
    assert post(client, "add").headers["location"] == "words?did=nothing"
    post(client, "remove")
    assert used() == ["trash"]
    assert post(client, "remove").headers["location"] == "words?did=nothing"
    post(client, "add")
    assert used() == ["trash", "discard edit"]
    assert [(line.who, line.action, line.target) for line in audit.lines(store.engine)] == [
        ("ann", f"word.{action}", "bin: discard edits") for action in ("add", "remove", "add")
    ]


def test_only_reviewers_decide_on_the_page_itself(start: Start, store: Store) -> None:
    client = start(**SIGN_IN)
    form = {"word": "bin", "other": "discard", "action": "add"}
    for headers, status in (
        ({}, 401),
        ({"x-person": "eve"}, 403),
        ({**ANN, "sec-fetch-site": "cross-site"}, 403),
    ):
        assert client.post("/review/words", data=form, headers=headers).status_code == status
        assert glossary_table.added(store.engine) == []
    assert client.get("/review/words", headers={"x-person": "eve"}).status_code == 403


def test_what_is_no_pair_is_refused_with_the_text_kept(start: Start, store: Store) -> None:
    client = start(**SIGN_IN)
    for word, other, says in (
        ("bin", "one two three four five", "is not a name of 1 to 4 words"),
        ("the", "bin", "is not a name"),
        ("<script>", "\0", "is not a name"),
        ("edit", "edits", "are the same to the search"),
        ("x" * 101, "bin", "is not a name"),
    ):
        refused = post(client, "add", word, other)
        assert refused.status_code == 422
        assert says in html.unescape(refused.text)
        assert f'value="{html.escape(word)}"' in refused.text
        assert "<script>" not in refused.text.replace("<script src", "")
    assert post(client, "explode").status_code == 422
    assert glossary_table.added(store.engine) == []


def test_the_limits_count_the_settings_and_the_database_together(both: Store) -> None:
    settings = {"kill": ["cancel", "stop"], **{f"word{n}": ["x1"] for n in range(MOST_WORDS - 2)}}
    for pair, says in (
        (Pair("kill", "cancel"), "already means 'cancel' in the settings"),
        (Pair("kill", "terminate"), ""),
        (Pair("kill", "end"), "kill' already means cancel, stop, terminate"),
        (Pair("bin", "discard"), ""),
        (Pair("nuke", "discard"), "has 500 words, which is the most"),
    ):
        if says:
            with pytest.raises(BadPair, match=says):
                add(both.engine, pair, "ann", settings)
        else:
            assert add(both.engine, pair, "ann", settings)
    words = Glossary({**settings, "more": ["y1"]})  # written into the file later
    glossary_table.follow(words, both.engine)
    assert (list(words.names("")["kill"]), "bin" in words.names("")) == (
        ["cancel", "stop", "termin"],
        False,
    )


def test_a_decision_is_stored_as_a_whole_or_not_at_all(
    both: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise RuntimeError

    add(both.engine, BIN, "ann")
    with monkeypatch.context() as patch:
        patch.setattr(audit, "record", killed)
        for pair in (BIN, Pair("nuke", "discard")):
            with pytest.raises(RuntimeError):
                (remove if pair == BIN else add)(both.engine, pair, "ann")
    assert [one.pair for one in glossary_table.added(both.engine)] == [BIN]


def test_writers_who_decide_at_once_take_turns(both: Store) -> None:
    pairs = [pair_of(f"word{n}", "discard") for n in range(8)] * 2
    with ThreadPoolExecutor(8) as pool:
        changed = list(pool.map(lambda pair: add(both.engine, pair, "ann"), pairs))
    assert changed.count(True) == 8
    assert len(glossary_table.added(both.engine)) == len(audit.lines(both.engine)) == 8
