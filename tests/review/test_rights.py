"""The review shows nothing of an answer to who may not read the pages that it stands on."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.rights import EVERYTHING, PUBLIC, Reader
from tests.review.conftest import ask
from widget import store as stores
from widget.review import analytics, gaps, weeks
from widget.review.clusters import Sorter
from widget.review.queue import Queue, Wanted
from widget.review.rows import CLOSED, LeftOut, pull
from widget.store import Answered, Store

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
    queue = Queue(both.engine)
    today = datetime.now(UTC).date()
    for reader, count in ((EVERYTHING, 2), (HR, 2), (PUBLIC, 1)):
        items, found = queue.items(Wanted(), reader)
        assert (len(items), found, queue.counts(reader)["open"]) == (count, count, count)
        assert len(gaps.find(both.engine, weeks.monday(today), 2, reader).gaps) == count
        measured = analytics.measure(both.engine, today - timedelta(days=2), today, reader)
        assert measured.total.asked == count
        opened = [queue.may_open(item.cluster, reader) for item in items]
        assert all(opened)
    hidden = {item.cluster for item in queue.items(Wanted(), HR)[0]} - {
        item.cluster for item in queue.items(Wanted(), PUBLIC)[0]
    }
    assert not any(queue.may_open(cluster, PUBLIC) for cluster in hidden)


def test_an_answer_needs_what_the_turns_before_it_needed(store: Store) -> None:
    first = stores.Asked("first-question", "What is the severance?", "talk")
    store.asked(first)
    store.answered(first.id, Answered("answered", "98,765", readers=READERS))
    then = stores.Asked("second-question", "And in francs?", "talk")
    store.asked(then)
    store.answered(then.id, Answered("answered", "About as many."))
    assert store.get(then.id).answered.readers == READERS


@pytest.mark.parametrize("is_closed", [False, True])
def test_training_data_leave_out_what_not_everybody_may_read(store: Store, is_closed: bool) -> None:
    from widget.review.reviews import Draft, Reviews

    if is_closed:
        closed(store, "What is the severance?")
    else:
        ask(store, "What is the severance?", state="refused")
    Sorter(store.engine).sort()
    cluster = Queue(store.engine).items(Wanted(), EVERYTHING)[0][0].cluster
    draft = Draft("What is the severance?", "98,765 euros.", "pay.md")
    Reviews(store.engine).change(cluster, 0, "ada", "approve", draft)
    rows = list(pull(store.engine))
    assert all(isinstance(row, LeftOut) and row.why == CLOSED for row in rows) == is_closed
