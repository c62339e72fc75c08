"""Versions of a review: approval, conflicts, history, undo."""

import threading

import pytest

from tests.review.conftest import ask, queue_of
from widget.review.clusters import Sorter
from widget.review.queue import Wanted
from widget.review.reviews import Action, Conflict, Draft, Review, Reviews, Unfit
from widget.service.store import Store, Unknown
from wiki.rights import EVERYTHING

DRAFT = Draft("How do I print?", "Press Ctrl+P.", "print.md", "Printing")


def cluster(store: Store) -> int:
    ask(store, "how to print")
    Sorter(store.engine).sort()
    return queue_of(store).items(Wanted(), EVERYTHING)[0][0].cluster


def test_each_change_is_a_version_with_who_and_when(both: Store) -> None:
    reviews, one = Reviews(both.engine), cluster(both)
    assert reviews.current(one) == Review(one, 0, Draft())
    reviews.change(one, 0, "ann", "save", Draft("How do I print?", "Press"))
    reviews.change(one, 1, "bob", "approve", DRAFT)
    reviews.change(one, 2, "ann", "dismiss")
    found = reviews.history(one)
    assert [(v.version, v.who, v.action, v.state) for v in found] == [
        (3, "ann", "dismiss", "dismissed"),
        (2, "bob", "approve", "approved"),
        (1, "ann", "save", "open"),
    ]
    assert found[0].draft == found[1].draft == DRAFT
    assert found[1].approved == ("bob",)
    assert all(v.at is not None for v in found)


def test_the_later_of_two_changes_is_reported_and_writes_nothing(both: Store) -> None:
    reviews, one = Reviews(both.engine), cluster(both)
    reviews.change(one, 0, "ann", "save", DRAFT)
    with pytest.raises(Conflict, match="ann has changed this in the meantime") as caught:
        reviews.change(one, 0, "bob", "save", Draft("Mine"))
    assert caught.value.current.draft == DRAFT
    assert len(reviews.history(one)) == 1


def test_of_many_changes_at_once_one_wins(both: Store) -> None:
    reviews, one = Reviews(both.engine), cluster(both)
    outcomes: list[str] = []

    def change(who: str) -> None:
        try:
            outcomes.append(reviews.change(one, 0, who, "save", Draft(who)).who)
        except Conflict:
            outcomes.append("")

    threads = [threading.Thread(target=change, args=(f"w{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [who for who in outcomes if who]
    assert len(outcomes) == 6
    assert [v.who for v in reviews.history(one)] == winners
    assert len(winners) == 1


@pytest.mark.parametrize(
    ("draft", "says"),
    [
        (Draft("", "a", "p.md"), "question first"),
        (Draft("q", "", "p.md"), "Write an answer"),
        (Draft("q", "a", ""), "Choose the page"),
        (Draft("q", "a" * 4001, "p.md"), "4,001"),
    ],
)
def test_what_is_missing_is_said_before_it_is_approved(
    store: Store, draft: Draft, says: str
) -> None:
    reviews, one = Reviews(store.engine), cluster(store)
    with pytest.raises(Unfit, match=says):
        reviews.change(one, 0, "ann", "approve", draft)
    assert reviews.current(one).version == 0


def test_unanswerable_needs_neither_answer_nor_page(store: Store) -> None:
    reviews, one = Reviews(store.engine), cluster(store)
    draft = Draft("Who am I?", answerable=False)
    assert reviews.change(one, 0, "ann", "approve", draft).state == "approved"


def test_a_second_person_approves_what_the_first_has_proposed_and_not_something_else(
    store: Store,
) -> None:
    reviews, one = Reviews(store.engine, second_approval=True), cluster(store)
    assert reviews.change(one, 0, "ann", "approve", DRAFT).state == "proposed"
    with pytest.raises(Unfit, match="another person"):
        reviews.change(one, 1, "ann", "approve", DRAFT)
    other = Draft("How do I print?", "Press Ctrl+Q.", "print.md")
    assert reviews.change(one, 1, "bob", "approve", other).approved == ("bob",)
    done = reviews.change(one, 2, "ann", "approve", other)
    assert (done.state, done.approved) == ("approved", ("bob", "ann"))
    assert [review.cluster for review in reviews.approved()] == [one]
    assert reviews.change(one, 3, "ann", "save", DRAFT).state == "open"
    assert reviews.approved() == []


def test_undo_is_a_version_too_and_does_not_skip_the_second_person(store: Store) -> None:
    alone, one = Reviews(store.engine), cluster(store)
    alone.change(one, 0, "ann", "approve", DRAFT)
    alone.change(one, 1, "bob", "save", Draft("spoilt"))
    back = alone.undo(one, 2, "cyd", 1)
    assert (back.version, back.who, back.action) == (3, "cyd", "undo")
    assert (back.state, back.draft, back.approved) == ("approved", DRAFT, ("ann",))
    both = Reviews(store.engine, second_approval=True)
    assert both.undo(one, 3, "cyd", 1).state == "proposed"
    assert both.undo(one, 4, "cyd", 0).draft == Draft()
    with pytest.raises(Unknown, match="no version 9"):
        both.undo(one, 5, "cyd", 9)
    with pytest.raises(Conflict):
        both.undo(one, 1, "cyd", 1)


def test_texts_are_kept_as_the_check_of_datasets_likes_them(store: Store) -> None:
    reviews, one = Reviews(store.engine), cluster(store)
    draft = Draft(" How? \r\n", "One \r\ntwo\x07  \r\n\r\n", " a.md ", "b\n c")
    kept = reviews.change(one, 0, "ann", "save", draft).draft
    assert kept == Draft("How?", "One\ntwo", "a.md", "b c")


@pytest.mark.parametrize("action", ["save", "approve", "dismiss"])
def test_a_cluster_that_is_gone_is_said_to_be(store: Store, action: Action) -> None:
    with pytest.raises(Unknown, match="no cluster 77"):
        Reviews(store.engine).change(77, 0, "ann", action, DRAFT)
