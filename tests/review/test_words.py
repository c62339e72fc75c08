"""Pairs of words: learnt from readers, tried, decided by writers, and closed as their pages are."""

import html
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from httpx import Response
from starlette.testclient import TestClient

from gateway.access.rights import EVERYTHING, Reader
from gateway.knowledge.search import decided_words
from gateway.knowledge.search.decided_words import BadPair, decide, pair_of
from gateway.knowledge.search.glossary import MOST_WORDS
from gateway.knowledge.search.own_words import OwnWords, Pair
from gateway.knowledge.search.writer import writing
from gateway.telemetry import audit
from tests.gateway.conftest import page
from tests.review.conftest import Start, ask
from widget.review import vocabulary
from widget.review.clusters import Sorter
from widget.review.proposals import Proposal, proposals
from widget.review.queue import Queue, Wanted
from widget.review.reviews import Draft, Reviews
from widget.review.vocabulary import Evidence, candidates, gather
from widget.review.wiki import ReviewIndex
from widget.service.store import Store

MINUTE = 1 / 24 / 60
ANN, HR = {"x-person": "ann"}, {"x-person": "hr", "x-groups": "hr"}
SIGN_IN = {"person_header": "x-person", "groups_header": "x-groups", "reviewers": ("ann", "hr")}
PAGES = {
    "discard": "# Discard edits\n\nTo discard edits of a file, press Restore.",
    "blame": "# Blame\n\nBlame shows the author of each line in a file.",
    "files": "# Files\n\nA file has a name and a folder. Open a file with Enter.",
    "print": "# Print\n\nPrint a file with Ctrl+P, or from the menu.",
    "sync": "# Sync\n\nSync sends a file to the server, and fetches it.",
}
BIN = Pair("bin", "discard edits")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine tries as many pairs as a quiet one."""
    monkeypatch.setattr(sys.modules[proposals.__module__], "SECONDS", 600.0)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    file = tmp_path / "index.db"
    with writing(file) as writer:
        for name, text in PAGES.items():
            writer.put("a", page(f"{name}.md", text), "1", ())
        pay = page("pay.md", "# Severance\n\nSeverance is 98,765 euros for each of us.")
        writer.put("a", pay, "1", (frozenset({"hr"}),))
    return file


@pytest.fixture
def wiki(index: Path, store: Store) -> Iterator[ReviewIndex]:
    with closing(ReviewIndex(index, store.engine)) as wiki:
        yield wiki


def asks_again(
    store: Store, visitor: str, first: str, then: str, name: str, readers: str | None = None
) -> None:
    """A reader is refused, asks in other words, and gets the answer of a page."""
    ask(store, first, visitor=visitor, days=5 * MINUTE)
    outcome = {"sources": [{"title": name, "url": page(f"{name}.md", "").url}]}
    id = ask(store, then, visitor=visitor, days=3 * MINUTE, state="answered", outcome=outcome)
    store.answered(id, replace(store.get(id).answered, readers=readers))


def bins(store: Store) -> None:
    """Two readers bin what the wiki discards."""
    asks_again(store, "v1", "How do I bin it?", "How do I discard edits?", "discard")
    asks_again(store, "v2", "Can I bin my work?", "Can I discard the edits?", "discard")


def test_what_readers_asked_again_is_proposed_with_its_effect(
    store: Store, wiki: ReviewIndex
) -> None:
    bins(store)
    # One reader alone proposes nothing, however often; nor do two whose next question is no better.
    for _ in range(9):
        asks_again(store, "v3", "Who broke this line?", "Whom to blame?", "blame")
    for visitor in ("v4", "v5"):
        ask(store, "Where is the printout?", visitor=visitor, days=5 * MINUTE)
        ask(store, "Print?", visitor=visitor, days=4 * MINUTE, state="answered", vote="down")
    assert proposals(store.engine, EVERYTHING, wiki) == [
        Proposal(BIN, 2, ("Can I bin my work?", "How do I bin it?"), 2, 0, 2)
    ]
    # What the search does already is not proposed, nor what moves nothing up.
    decide(store.engine, BIN, "add", "ann")
    assert proposals(store.engine, EVERYTHING, wiki) == []
    store.forget(before=datetime.now(UTC) + timedelta(days=1))
    assert gather(store.engine, EVERYTHING, wiki) == []


def test_votes_and_approved_reviews_propose_the_words_of_their_page(
    both: Store, index: Path
) -> None:
    source = {"title": "Blame", "url": page("blame.md", "").url}
    ask(both, "Culprit?", visitor="v1", state="answered", vote="up", outcome={"sources": [source]})
    ask(both, "Which culprit?", visitor="v2")
    Sorter(both.engine).sort()
    cluster = Queue(both.engine, ReviewIndex(None, both.engine)).items(Wanted(), EVERYTHING)[0][0]
    draft = Draft("Who changed a line?", "See blame.", "blame.md", "Blame")
    Reviews(both.engine).change(cluster.cluster, 0, "ann", "approve", draft)
    with closing(ReviewIndex(index, both.engine)) as wiki:
        found = proposals(both.engine, EVERYTHING, wiki)
        assert [(one.pair, one.before, one.after) for one in found] == [
            (("culprit", "blame"), 0, 2)
        ]
        with closing(ReviewIndex(None, both.engine)) as none:
            assert proposals(both.engine, EVERYTHING, none) == []


def test_without_the_gateways_embedding_model_pairs_are_tried_by_words(
    store: Store, wiki: ReviewIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASKDOCS_SEARCH_EMBEDDER", "/no/such/folder")
    bins(store)
    assert [one.pair for one in proposals(store.engine, EVERYTHING, wiki)] == [BIN]


def test_an_answer_that_was_approved_without_a_section_knows_the_words_of_its_whole_page(
    store: Store, index: Path
) -> None:
    with writing(index) as writer:
        text = "All ports.\n\n## Firewall\n\nA socket needs a rule."
        writer.put("a", page("ports.md", text), "1", ())
    ask(store, "Which socket is open?", visitor="v1")
    Sorter(store.engine).sort()
    with closing(ReviewIndex(index, store.engine)) as wiki:
        cluster = Queue(store.engine, wiki).items(Wanted(), EVERYTHING)[0][0].cluster
        draft = Draft("Which port is open?", "See ports.", "ports.md")
        Reviews(store.engine).change(cluster, 0, "ann", "approve", draft)
        [evidence] = gather(store.engine, EVERYTHING, wiki)
    assert "socket" in evidence.known


def test_a_phrase_is_one_word_and_pages_names_come_first() -> None:
    said = [
        ("a", "throw away local edits", "discard local edits to files"),
        ("b", "How do I throw away a file?", "How do I discard the file of edits?"),
    ]
    evidence = [Evidence(who, a, (b,), b, "Discard edits", "u") for who, a, b in said]
    found = [candidate.pair for candidate in candidates(evidence)]
    assert found[0] == ("throw away", "discard")
    assert ("throw", "discard") in found
    assert all(candidate.readers == 2 for candidate in candidates(evidence))
    assert candidates(evidence[:1] * 50) == []


def test_long_questions_and_many_of_them_are_bounded(
    store: Store, wiki: ReviewIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (" ".join(f"{letter}{n}" for n in range(5000)) for letter in "xy")
    evidence = [Evidence(who, one, (other,), "", "", "u") for who in "ab"]
    # Of each run, the phrases of up to 4 of its first 6 words.
    assert len(candidates(evidence)) == 18 * 18
    one, other = (f"{text} ".replace("9 ", "9 file ") for text in (one, other))
    evidence = [Evidence(who, one, (other,), other, "", "u") for who in "ab"]
    assert len(candidates(evidence)) == 36 * 36
    bins(store)
    assert len(gather(store.engine, EVERYTHING, wiki)) == 2
    monkeypatch.setattr(vocabulary, "EVIDENCE", 1)
    assert [one.who for one in gather(store.engine, EVERYTHING, wiki)] == ["v2"]
    monkeypatch.setattr(vocabulary, "LOOKED", 1)
    assert gather(store.engine, EVERYTHING, wiki) == []


@pytest.mark.parametrize("who", ["ann", "hr"])
def test_a_writer_sees_only_evidence_that_they_may_read(
    start: Start, store: Store, index: Path, who: str
) -> None:
    for visitor in ("v1", "v2"):
        asks_again(store, visitor, "How large is the goodbye?", "Severance?", "pay", '[["hr"]]')
    client = start(**SIGN_IN, index=index)
    shown = client.get("/review/words", headers=HR if who == "hr" else ANN).text
    assert ("everance" in shown, "goodbye" in shown) == (who == "hr", who == "hr")


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
    bins(store)
    client = start(**SIGN_IN, index=index)
    words = OwnWords({"bin": ["trash"]})

    def used() -> list[str]:
        decided_words.follow(words, store.engine)
        return list(words.names("")["bin"])

    def proposed() -> bool:
        return (
            'aria-label="Add: bin, discard edits"' in client.get("/review/words", headers=ANN).text
        )

    assert proposed()
    assert used() == ["trash"]
    assert post(client, "add", " BIN ", "Discard\tedits").headers["location"] == "words?did=add"
    assert used() == ["trash", "discard edit"]
    shown = client.get("/review/words?did=add", headers=ANN).text
    assert re.search(r'scope="row">bin</th><td>discard edits</td><td>ann</td>', shown)
    assert "within two seconds" in shown
    for action in ("add", "dismiss"):  # it was added in the meantime
        assert post(client, action).headers["location"] == "words?did=nothing"
    post(client, "remove")
    assert used() == ["trash"]
    assert not proposed()
    post(client, "add")
    assert used() == ["trash", "discard edit"]
    assert [(line.who, line.action, line.target) for line in audit.lines(store.engine)] == [
        ("ann", f"word.{action}", "bin: discard edits") for action in ("add", "remove", "add")
    ]


def test_a_dismissed_pair_is_not_proposed_again(start: Start, store: Store, index: Path) -> None:
    bins(store)
    client = start(**SIGN_IN, index=index)
    assert 'value="bin"' in client.get("/review/words", headers=ANN).text
    assert post(client, "dismiss").headers["location"] == "words?did=dismiss"
    shown = client.get("/review/words", headers=ANN).text
    assert "No proposals" in shown  # nor "bin" for "discard" alone
    assert 'value="bin"' not in shown
    assert decided_words.added(store.engine) == []
    assert [line.action for line in audit.lines(store.engine)] == ["word.dismiss"]


def test_only_reviewers_decide_on_the_page_itself(start: Start, store: Store) -> None:
    client = start(**SIGN_IN)
    form = {"word": "bin", "other": "discard", "action": "add"}
    for headers, status in (
        ({}, 401),
        ({"x-person": "eve"}, 403),
        ({**ANN, "sec-fetch-site": "cross-site"}, 403),
    ):
        assert client.post("/review/words", data=form, headers=headers).status_code == status
        assert decided_words.decided(store.engine) == set()
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
    assert decided_words.decided(store.engine) == set()


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
                decide(both.engine, pair, "add", "ann", settings)
        else:
            assert decide(both.engine, pair, "add", "ann", settings)
    words = OwnWords({**settings, "more": ["y1"]})  # written into the file later
    decided_words.follow(words, both.engine)
    assert (list(words.names("")["kill"]), "bin" in words.names("")) == (
        ["cancel", "stop", "termin"],
        False,
    )


def test_a_decision_is_stored_as_a_whole_or_not_at_all(
    both: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise RuntimeError

    decide(both.engine, BIN, "add", "ann")
    with monkeypatch.context() as patch:
        patch.setattr(audit, "record", killed)
        for pair in (BIN, Pair("nuke", "discard")):
            with pytest.raises(RuntimeError):
                decide(both.engine, pair, "remove" if pair == BIN else "add", "ann")
    assert decided_words.decided(both.engine) == {BIN}
    assert [one.pair for one in decided_words.added(both.engine)] == [BIN]


def test_the_pairs_in_use_change_together_with_their_revision() -> None:
    seen = set()

    class Watched(OwnWords):
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name != "_configured":
                seen.add((len(self.names("")), self.revision))

    words = Watched()
    words.use([BIN], 7)
    words.use([], 8)
    assert seen == {(0, 0), (1, 7), (0, 8)}


def test_writers_who_decide_at_once_take_turns(both: Store) -> None:
    pairs = [pair_of(f"word{n}", "discard") for n in range(8)] * 2
    with ThreadPoolExecutor(8) as pool:
        changed = list(pool.map(lambda pair: decide(both.engine, pair, "add", "ann"), pairs))
    assert changed.count(True) == 8
    assert len(decided_words.added(both.engine)) == len(audit.lines(both.engine)) == 8
