"""Which questions become one cluster, with the embedder that is shipped."""

import threading

import pytest
import sqlalchemy as sa

from core import audit, database
from tests.review.conftest import ask, queue_of
from widget.review.clusters import Sorter
from widget.review.queue import Wanted
from widget.review.reviews import Draft, Reviews
from widget.review.tables import cluster_table, member_table
from widget.service.store import Store, Unknown, Vote
from wiki.rights import EVERYTHING

UNSURE = {"caution": True}


def clusters(store: Store) -> dict[str, int]:
    with database.reading(store.engine) as connection:
        rows = connection.execute(sa.select(member_table.c.question, member_table.c.cluster))
        return {str(row.question): int(row.cluster) for row in rows}


def test_the_same_question_in_other_words_is_one_cluster(both: Store) -> None:
    first = ask(both, "The difference between IMAP and POP3")
    other = ask(both, "imap vs pop3")
    equal = ask(both, "IMAP vs POP3")
    send, receive = ask(both, "Can't send message"), ask(both, "Cannot receive messages")
    assert Sorter(both.engine).sort() == 5
    found = clusters(both)
    assert found[first] == found[other] == found[equal]
    assert len({found[first], found[send], found[receive]}) == 3
    late = ask(both, "What is the difference between IMAP and POP3?")
    assert Sorter(both.engine).sort() == 1
    assert clusters(both)[late] == found[first]


def test_only_what_is_a_concern_is_sorted(store: Store) -> None:
    fine = ask(store, "How?", state="answered", answer="So.", confidence=0.9)
    liked = ask(store, "Why?", state="answered", answer="So.", outcome=UNSURE, vote="up")
    ask(store, "Broken?", state="failed")
    unsure = ask(store, "Where?", state="answered", answer="So.", outcome=UNSURE)
    down = ask(store, "Who?", state="answered", answer="So.", confidence=0.9, vote="down")
    for verdict, vote in (("supported", ""), ("none", ""), ("unsupported", "up")):
        sure = {"state": "answered", "answer": "So.", "confidence": 0.9}
        ask(store, f"And {verdict}?", **sure, verdict=verdict, vote=vote)  # type: ignore[arg-type]
    sorter = Sorter(store.engine)
    assert sorter.sort() == 2
    assert clusters(store).keys() == {unsure, down}
    store.vote(fine, Vote("down", ("wrong",)), "v")
    assert sorter.sort() == 1
    store.vote(down, Vote(""), "v")
    items, count = queue_of(store).items(Wanted(), EVERYTHING)
    assert {item.question for item in items} == {"Where?", "How?"}
    assert count == 2
    assert liked not in clusters(store)


def test_a_claim_that_is_not_supported_is_a_reason_to_look(both: Store) -> None:
    for verdict in ("unsupported", "contradicted"):
        ask(both, "Which port?", state="answered", answer="9.", confidence=0.9, verdict=verdict)
    ask(both, "Which host?", verdict="unsupported")  # refused
    # Below any usual threshold, and without a caution: its wiki has a lower one.
    ask(both, "Which name?", state="answered", confidence=0.01, verdict="none")
    Sorter(both.engine).sort()
    items, _ = queue_of(both).items(Wanted(kind="unsupported"), EVERYTHING)
    assert [(item.question, item.asked, item.unsupported) for item in items] == [
        ("Which port?", 2, 2)
    ]
    assert {item.question for item in queue_of(both).items(Wanted(), EVERYTHING)[0]} == {
        "Which port?",
        "Which host?",
    }


def test_processes_that_sort_at_once_find_the_same_clusters(both: Store) -> None:
    topics = ("printing", "calendars", "the address book", "passwords", "spam", "drafts")
    for _ in range(5):
        for topic in topics:
            ask(both, f"How does it work with {topic}?")
    sorters = [Sorter(both.engine) for _ in range(3)]
    threads = [threading.Thread(target=sorter.sort) for sorter in sorters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = clusters(both)
    assert len(found) == 30
    assert len(set(found.values())) == len(topics)


def test_a_question_that_does_not_belong_is_taken_out_with_its_equals(store: Store) -> None:
    for question in ("IMAP vs POP3", "The difference between IMAP and POP3"):
        stays = ask(store, question)
    wrong, equal = ask(store, "imap vs. pop3"), ask(store, "IMAP vs POP3!")
    sorter = Sorter(store.engine)
    sorter.sort()
    before = clusters(store)
    assert len(set(before.values())) == 1
    made = sorter.apart(wrong, before[wrong], "ann")
    after = clusters(store)
    assert after[wrong] == after[equal] == made
    assert after[stays] == before[stays] != made
    (line,) = audit.lines(store.engine)
    assert (line.who, line.action, line.target) == (
        "ann",
        "review.apart",
        f"/review/{before[wrong]}",
    )
    # At least those two; the same words stand in the first question, too.
    assert line.details == {"to": made, "questions": list(after.values()).count(made)}
    with pytest.raises(Unknown, match="no question 'gone'"):
        sorter.apart("gone", before[stays], "ann")
    with pytest.raises(Unknown, match=f"is in cluster {before[stays]} any more"):
        sorter.apart(wrong, before[stays], "ann")  # it is in another cluster
    assert clusters(store) == after


def test_forgetting_leaves_no_cluster_behind_but_what_a_writer_wrote(store: Store) -> None:
    ask(store, "What is Jo's salary?", visitor="jo")
    ask(store, "Where is the canteen?", visitor="jo")
    sorter = Sorter(store.engine)
    sorter.sort()
    items, _ = queue_of(store).items(Wanted(), EVERYTHING)
    kept = next(item for item in items if "canteen" in item.question)
    written = Draft("Where is the canteen?", "On the ground floor.", "office.md")
    Reviews(store.engine).change(kept.cluster, 0, "ann", "approve", written)
    assert store.forget(visitor="jo") == 2
    sorter.sort()
    with database.reading(store.engine) as connection:
        left = connection.execute(sa.select(cluster_table.c.id)).scalars().all()
    assert left == [kept.cluster]
    assert Reviews(store.engine).current(kept.cluster).draft == written
    again = ask(store, "Where's the canteen?")
    new = ask(store, "What is Bo's favourite colour?")
    sorter.sort()
    found = clusters(store)
    assert found[again] == kept.cluster
    assert found[new] > max(item.cluster for item in items)


def test_without_the_embedder_words_decide(store: Store) -> None:
    same = [ask(store, text) for text in ("How do I print a letter?", "printing letters", "Print!")]
    Sorter(store.engine, lambda: None).sort()
    found = clusters(store)
    assert found[same[0]] == found[same[1]] != found[same[2]]
