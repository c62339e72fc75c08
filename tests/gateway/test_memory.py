"""The answered-question memory, on made-up questions: directions of topics with noise."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from gateway.knowledge.search import calibration, memory
from gateway.knowledge.search.calibration import Calibration, calibrate
from gateway.knowledge.search.memory import AnswerMemory, Votes, combine
from gateway.knowledge.search.rows import StoredAnswer
from gateway.knowledge.search.vectors import Floats

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOPICS = 12
NUMBERS = {f"{topic}.md": topic for topic in range(TOPICS)}


def questions(each: int, noise: float = 0.1, seed: int = 0) -> tuple[list[int], Floats]:
    """Topics and vectors [each * TOPICS, 64] of length 1."""
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(TOPICS, 64))
    topics = [topic for topic in range(TOPICS) for _ in range(each)]
    vectors = centres[topics] / 8 + noise * chance.normal(size=(len(topics), 64))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return topics, vectors.astype(np.float32)


def answers(pages: Sequence[int], vectors: Floats) -> list[StoredAnswer]:
    return [
        StoredAnswer(f"id{n}", f"question {n}", (f"{page}.md",), "a model", vector)
        for n, (page, vector) in enumerate(zip(pages, vectors, strict=True))
    ]


def by_chance(question: str, vector: Floats) -> list[tuple[int, float]]:
    """All pages in an order that says nothing, but for a question it is always the same."""
    seed = int(1e6 * abs(float(vector[0])))
    order = np.random.default_rng(seed).permutation(TOPICS)
    return [(int(page), 1.0 - place / 20) for place, page in enumerate(order)]


def measured(pages: Sequence[int], vectors: Floats) -> Calibration:
    return calibrate(answers(pages, vectors), NUMBERS, "a model", by_chance, NOW)


def test_most_votes_go_to_the_page_that_answered_such_questions() -> None:
    topics, vectors = questions(10)
    found = AnswerMemory(vectors, [[topic] for topic in topics])
    votes = found.votes(vectors[35])
    assert votes.shares[topics[35]] == 1.0
    assert all(0 < share <= 1 for share in votes.shares.values())
    assert votes.known == set(range(TOPICS))


def test_answers_that_are_left_out_neither_vote_nor_make_a_page_known() -> None:
    topics, vectors = questions(10)
    found = AnswerMemory(vectors, [[topic] for topic in topics])
    votes = found.votes(vectors[35], np.array([n for n, topic in enumerate(topics) if topic == 3]))
    assert 3 not in votes.shares
    assert votes.known == set(range(TOPICS)) - {3}
    some = found.votes(vectors[35], np.arange(30, 39))
    assert 3 in some.known


def test_a_single_answer_is_a_memory() -> None:
    _, vectors = questions(1)
    assert AnswerMemory(vectors[:1], [[7]]).votes(vectors[3]).known == {7}


def test_votes_lift_a_page() -> None:
    text = [(1, 0.9), (2, 0.8), (3, 0.7)]
    votes = Votes({3: 1.0, 1: 0.2}, {1, 2, 3})
    assert combine(text, votes, 2.0) == [(3, 0.9), (1, 0.8), (2, 0.7)]


def test_a_page_that_the_text_does_not_find_is_found_by_votes() -> None:
    text = [(1, 0.9), (2, 0.8)]
    assert combine(text, Votes({9: 1.0}, {1, 2, 9}), 2.0) == [(9, 0.9), (1, 0.8), (2, 0.8)]


def test_where_the_text_finds_nothing_votes_find_nothing() -> None:
    assert combine([], Votes({9: 1.0}, {9}), 2.0) == []


def test_a_page_that_has_answered_nothing_keeps_its_place() -> None:
    chance = np.random.default_rng(1)
    for _ in range(200):
        pages = [int(n) for n in chance.permutation(30)[:20]]
        text = list(zip(pages, sorted(chance.random(20), reverse=True), strict=True))
        known = {int(n) for n in chance.permutation(40)[:15]}
        shares = {page: float(chance.random()) for page in known if chance.random() < 0.7}
        ranked = combine(text, Votes(shares, known), float(chance.choice([0.5, 3.0])))
        assert sorted(page for page, _ in ranked) == sorted(set(pages) | set(shares))
        for place, page in enumerate(pages):
            if page not in known:
                assert ranked[place][0] == page
        scores = [score for _, score in ranked]
        assert scores == sorted(scores, reverse=True)


def test_a_memory_that_helps_is_on() -> None:
    found = measured(*questions(10))
    assert found.is_on
    assert found.votes["1"] > found.text["1"] + 0.5
    assert (found.answers, found.asked, found.pages) == (120, 120, TOPICS)


def test_too_few_answers_leave_it_off() -> None:
    topics, vectors = questions(2)
    found = measured(topics, vectors)
    assert not found.is_on
    assert (found.answers, found.asked) == (24, 0)


def test_no_answers_leave_it_off() -> None:
    assert not calibrate([], NUMBERS, "a model", by_chance, NOW).is_on


def test_answers_by_chance_leave_it_off() -> None:
    for seed in range(3):
        _, vectors = questions(15, seed=seed)
        pages = np.random.default_rng(seed).integers(0, TOPICS, len(vectors))
        assert not measured([int(page) for page in pages], vectors).is_on


def test_answers_by_chance_from_a_popular_page_leave_it_off() -> None:
    for seed in range(3):
        _, vectors = questions(15, seed=seed)
        chance = np.random.default_rng(seed)
        popular = chance.choice(TOPICS, len(vectors), p=[0.45, *[0.05] * (TOPICS - 1)])
        found = measured([int(page) for page in popular], vectors)
        assert found.votes["5"] > found.text["5"]
        assert not found.is_on


def test_questions_that_are_nearly_the_same_do_not_vouch_for_each_other() -> None:
    chance = np.random.default_rng(3)
    _, different = questions(10, noise=0.3)
    pages = [int(page) for page in chance.integers(0, TOPICS, len(different))]
    repeated = np.repeat(different, 4, axis=0) + 0.01 * chance.normal(size=(480, 64))
    repeated /= np.linalg.norm(repeated, axis=1, keepdims=True)
    found = measured(np.repeat(pages, 4).tolist(), repeated.astype(np.float32))
    assert found.asked == 120
    assert not found.is_on


def test_the_same_answers_are_measured_the_same() -> None:
    assert measured(*questions(10)) == measured(*questions(10))


def test_only_answers_of_the_same_model_that_name_a_page_of_the_wiki_can_vote() -> None:
    _, vectors = questions(1)
    given = [
        StoredAnswer("a", "a", ("1.md", "gone.md"), "a model", vectors[0]),
        StoredAnswer("b", "b", ("gone.md",), "a model", vectors[1]),
        StoredAnswer("c", "c", ("2.md",), "another model", vectors[2]),
        StoredAnswer("d", "d", ("2.md",)),
    ]
    (one,) = memory.usable(given, NUMBERS, "a model")
    assert (one.id, one.paths) == ("a", ("1.md",))


def test_what_was_measured_is_stored_and_read() -> None:
    found = measured(*questions(10))
    assert calibration.load(found.dump()) == found
    assert calibration.load(None) is None
    assert calibration.load('{"of": "another askdocs"}') is None
    assert calibration.load("no JSON") is None
