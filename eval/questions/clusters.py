"""Groups rows that must stay together: a model that has learned one knows the answers to the
others."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence

from eval.questions.rows import Row
from wiki.pages.words import stems, words


def clusters(rows: Sequence[Row]) -> list[list[Row]]:
    """Group rows with the same `cluster`, or with questions of (almost) the same words."""
    same: list[Iterable[Hashable]] = [
        [("cluster", row.cluster)] if row.cluster else [] for row in rows
    ]
    word_keys = [("words", *words(row.question)) for row in rows]
    similar = alike([frozenset(stems(row.question)) for row in rows])
    return joined(
        rows,
        [[*same_keys, words] for same_keys, words in zip(same, word_keys, strict=True)],
        similar,
    )


def joined(
    rows: Sequence[Row],
    keys: Sequence[Iterable[Hashable]],
    pairs: Iterable[tuple[int, int]] = (),
) -> list[list[Row]]:
    """Group rows, in the order of each group's first row.

    Args:
        rows: the rows to group.
        keys: each row's keys; rows that share a key are in the same group.
        pairs: indices of two rows in the same group.
    """
    parent = list(range(len(rows)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = place = parent[parent[place]]
        return place

    first: dict[Hashable, int] = {}
    for place, having in enumerate(keys):
        for key in having:
            parent[root(place)] = root(first.setdefault(key, place))
    for left, right in pairs:
        parent[root(left)] = root(right)
    groups: dict[int, list[Row]] = defaultdict(list)
    for place, row in enumerate(rows):
        groups[root(place)].append(row)
    return list(groups.values())


def near(
    questions: Sequence[frozenset[str]], groups: Sequence[Hashable]
) -> Iterator[tuple[int, int]]:
    """For each question and each group, a question of the group that shares four fifths of their
    combined words; in its own group, an earlier one. Yields the indices of both."""
    distinct = {
        question_words: place for place, question_words in enumerate(dict.fromkeys(questions))
    }
    first: list[dict[Hashable, int]] = [{} for _ in distinct]
    for number, (question_words, group) in enumerate(zip(questions, groups, strict=True)):
        first[distinct[question_words]].setdefault(group, number)
    # Only the first one of each group: thousands of similar questions have millions of pairs.
    similar: list[dict[Hashable, int]] = [{} for _ in distinct]
    for pair in alike(list(distinct)):
        for place, other in (pair, pair[::-1]):
            for group, number in first[other].items():
                similar[place][group] = min(number, similar[place].get(group, number))
    every = list(dict.fromkeys(groups))
    for number, (question_words, mine) in enumerate(zip(questions, groups, strict=True)):
        own = distinct[question_words]
        for group in every:
            other = first[own].get(group, number)
            if other == number:
                other = similar[own].get(group, number)
            if other < number or (group != mine and other != number):
                yield number, other


def alike(questions: Sequence[frozenset[str]]) -> Iterator[tuple[int, int]]:
    """Pairs of questions that share four fifths of their combined words; of equal ones, the first
    stands for all.

    If two sets are that similar and one has n words, they share one of its n // 5 + 1 rarest words
    (at most n // 5 may be missing), so only these are looked up.
    """
    usual = Counter(word for question_words in questions for word in question_words)
    having: dict[str, list[int]] = defaultdict(list)
    first: dict[frozenset[str], int] = {}
    for place, question_words in enumerate(questions):
        # Do not compare thousands of copies of a question with each other.
        if question_words and (other := first.setdefault(question_words, place)) != place:
            yield other, place
            continue
        rarest = sorted(question_words, key=lambda word: (usual[word], word))[
            : len(question_words) // 5 + 1
        ]
        for other in {there for word in rarest for there in having[word]}:
            if 5 * len(question_words & questions[other]) >= 4 * len(
                question_words | questions[other]
            ):
                yield other, place
        for word in rarest:
            having[word].append(place)
