"""The review shows nothing of an answer to who may not read the pages that it stands on."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.access import past_readers
from tests.gateway.conftest import page
from tests.review.conftest import Start, ask, queue_of, unindexed
from widget.review import analytics, digest, gaps, weeks
from widget.review.clusters import Sorter
from widget.review.queue import Wanted
from widget.review.reviews import Draft, Reviews
from widget.review.rows import CLOSED, LeftOut, pull
from widget.review.wiki import ReviewIndex
from widget.service import store as stores
from widget.service.store import Answered, Store
from wiki import rights
from wiki.index.writer import writing
from wiki.rights import EVERYTHING, PUBLIC, Reader

HR = Reader(frozenset({"hr"}))
READERS = '[["hr"]]'


def closed(store: Store, question: str, conversation: str = "") -> str:
    id = ask(store, question, state="refused")
    store.answered(id, Answered("refused", readers=READERS))
    return id


def test_a_cluster_with_an_answer_for_some_is_shown_to_them_alone(both: Store) -> None:
    ask(both, "Where is tea?", state="refused")
    closed(both, "What is the severance?")
    Sorter(both.engine).sort()
    queue = queue_of(both)
    today = datetime.now(UTC).date()
    for reader, count in ((EVERYTHING, 2), (HR, 2), (PUBLIC, 1)):
        items, found = queue.items(Wanted(), reader)
        assert (len(items), found, queue.counts(reader)["open"]) == (count, count, count)
        assert (
            len(gaps.find(both.engine, weeks.monday(today), 2, reader, unindexed(both)).gaps)
            == count
        )
        measured = analytics.measure(both.engine, today - timedelta(days=2), today, reader)
        assert measured.total.asked == count
        opened = [queue.may_open(item.cluster, reader) for item in items]
        assert all(opened)
    hidden = {item.cluster for item in queue.items(Wanted(), HR)[0]} - {
        item.cluster for item in queue.items(Wanted(), PUBLIC)[0]
    }
    assert not any(queue.may_open(cluster, PUBLIC) for cluster in hidden)


def test_an_answer_needs_what_the_turns_before_it_needed(store: Store) -> None:
    first = stores.NewQuestion("first-question", "What is the severance?", "talk")
    store.asked(first)
    store.answered(first.id, Answered("answered", "98,765", readers=READERS))
    then = stores.NewQuestion("second-question", "And in francs?", "talk")
    store.asked(then)
    store.answered(then.id, Answered("answered", "About as many."))
    assert store.get(then.id).answered.readers == READERS


@pytest.mark.parametrize("is_closed", [False, True])
def test_training_data_leave_out_what_not_everybody_may_read(store: Store, is_closed: bool) -> None:
    if is_closed:
        closed(store, "What is the severance?")
    else:
        ask(store, "What is the severance?", state="refused")
    Sorter(store.engine).sort()
    cluster = queue_of(store).items(Wanted(), EVERYTHING)[0][0].cluster
    draft = Draft("What is the severance?", "98,765 euros.", "pay.md")
    Reviews(store.engine).change(cluster, 0, "ada", "approve", draft)
    rows = list(pull(store.engine, unindexed(store)))
    assert all(isinstance(row, LeftOut) and row.why == CLOSED for row in rows) == is_closed


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Two wikis that have the same paths: one for everybody, and one of HR."""
    file = tmp_path / "index.db"
    with writing(file) as writer:
        for path in ("index.md", "tea.md"):
            writer.put("a", page(path, "# Tea\n\nAt four.\n"), "1", ())
        for path in ("index.md", "pay.md"):
            writer.put("b", page(path, "# Pay\n\n98,765.\n"), "1", (frozenset({"hr"}),))
    return file


def test_drafts_need_the_rights_of_all_pages_of_their_path(index: Path, store: Store) -> None:
    with closing(ReviewIndex(index, store.engine)) as wiki:
        for name in ("pay.md", "index.md", page("pay.md", "# Pay\n").url, "gone.md"):
            assert wiki.closed(["tea.md", name, ""], PUBLIC) == [name]
            assert wiki.closed([name], HR) == ["gone.md"] * (name == "gone.md")
            assert wiki.closed([name], EVERYTHING) == []


def test_without_an_index_drafts_that_name_a_page_are_closed_once_a_page_has_groups(
    store: Store,
) -> None:
    wiki = ReviewIndex(None, store.engine)
    past_readers.record(store.engine, {(rights.EVERY, "[]")})
    assert wiki.closed(["pay.md"], HR) == []
    past_readers.record(store.engine, {("https://wiki.example.com/pay/", READERS)})
    assert wiki.closed(["", "pay.md"], HR) == ["pay.md"]
    assert wiki.closed(["pay.md"], EVERYTHING) == []
    past_readers.record(store.engine, {(rights.EVERY, "[]")})
    assert wiki.closed(["pay.md"], HR) == []


@pytest.mark.parametrize("kept", [True, False])
def test_an_answer_from_a_closed_page_stays_closed_whoever_asked(
    start: Start, store: Store, index: Path, kept: bool
) -> None:
    client = start(
        index=index, person_header="x-person", groups_header="x-groups", reviewers=("hr", "eng")
    )
    hr = {"x-person": "hr", "x-groups": "hr"}
    form = {"question": "How do I print?", "answer": "98,765 euros.", "page": "pay.md"}
    wrote = client.post("/review/1", data={**form, "version": "0", "action": "approve"}, headers=hr)
    assert wrote.status_code == 303
    if not kept:  # retention deletes the question, and with it what says who may read the answer
        store.forget(before=datetime.now(UTC) + timedelta(days=1))
        Sorter(store.engine).tidy()
    for headers, status in ((hr, 200), ({"x-person": "eng"}, 404)):
        shown = client.get("/review/1", headers=headers)
        assert (shown.status_code, "98,765" in shown.text) == (status, status == 200)
    eng = {"x-person": "eng"}
    for path in ("/review/{}", "/review/{}/apart"):  # as one that is not there
        hidden, missing = (
            client.request("POST" if "apart" in path else "GET", path.format(n), headers=eng)
            for n in (1, 9)
        )
        assert hidden.text == missing.text.replace("cluster 9", "cluster 1")
    taken = client.post("/review/1", data={"version": "1", "action": "reopen"}, headers=eng)
    assert taken.status_code == 404
    with closing(ReviewIndex(index, store.engine)) as wiki:
        (row,) = pull(store.engine, wiki)
    assert isinstance(row, LeftOut)
    assert row.why == CLOSED
    # A version before the last one shows its text in the history, too.
    moved = {**form, "page": "tea.md", "answer": "At four.", "version": "1", "action": "save"}
    assert client.post("/review/1", data=moved, headers=hr).status_code == 303
    assert client.get("/review/1", headers=eng).status_code == 404


def test_the_wording_of_a_draft_is_as_closed_as_its_page(
    start: Start, store: Store, index: Path
) -> None:
    client = start(
        index=index, person_header="x-person", groups_header="x-groups", reviewers=("hr", "eng")
    )
    hr, eng = {"x-person": "hr", "x-groups": "hr"}, {"x-person": "eng"}
    form = {"question": "Is 98,765 net?", "answer": "Yes.", "page": "pay.md"}
    saved = client.post("/review/1", data={**form, "version": "0", "action": "save"}, headers=hr)
    assert saved.status_code == 303
    for path in ("/review", "/review?state=all", "/review/gaps", "/review/gaps.csv"):
        assert "98,765" in client.get(path, headers=hr).text
        assert "98,765" not in client.get(path, headers=eng).text
    with closing(ReviewIndex(index, store.engine)) as wiki:
        weekly = gaps.find(store.engine, weeks.monday(datetime.now(UTC).date()), 2, PUBLIC, wiki)
    assert "98,765" not in digest.text_of(weekly)
