"""A team's own words for what the wiki names otherwise."""

import pytest

from gateway.settings import GatewaySettings
from tests.gateway.test_search import Make, paths
from wiki.search.config import SearchSettings
from wiki.search.glossary import Glossary, own, rephrased
from wiki.search.models import open_search
from wiki.search.search import Search


def test_a_team_adds_words_of_its_own(indexed: Make) -> None:
    index = indexed(
        cancel="# Cancel a job\n\nCancel a job in the queue, and its machine is free.",
        list="# List the jobs\n\nA job in the list has a number and an owner.",
    )
    settings = SearchSettings(glossary={"nuke": ["cancel", "stop at once"]})
    search = open_search(index, GatewaySettings(), settings, None)
    sought = search.sought("nuke a job")
    assert paths(search, "nuke a job")[0] == "cancel.md"
    assert [" ".join(words) for words in search.readings(sought)] == ["cancel job", "stop job"]
    without = Search(index, None).find("nuke a job")[0].passages[0]
    assert search.hits(sought)[0].passages[0].words > without.words
    assert search.over(index).readings(sought) == search.readings(sought)


@pytest.mark.parametrize(
    ("question", "others"),
    [
        ("How do I NUKE a job?", ["How do I cancel a job?", "How do I stop at once a job?"]),
        ("Are jobs throwing-away, or not?", ["Are jobs Discard, or not?"]),
        ("A job in the list", []),
        (
            "nuke " * 100,
            [
                f"{'nuke ' * n}{other}{' nuke' * (99 - n)} "
                for n, other in ((0, "cancel"), (0, "stop at once"), (1, "cancel"))
            ],
        ),
        ("x " * 600 + "nuke", []),
    ],
)
def test_a_question_is_rephrased_with_the_spelling_of_the_wiki(
    question: str, others: list[str]
) -> None:
    names = own({"nuke": ["cancel", "stop at once"], "Throws away": ["Discard"]})
    assert rephrased(question, names) == others


def test_the_words_of_a_team_are_never_taken_for_misspelt_ones(indexed: Make) -> None:
    index = indexed(a="# Brick houses\n\nOf stone.", b="# Restart\n\nPress both buttons.")
    search = Search(index, None, glossary=Glossary({"bricks up": ["x"], "brisk": ["restart"]}))
    assert paths(search, "brisk")[0] == "b.md"
    search = Search(index, None, glossary=Glossary({"brisk stonn": ["restart"]}))
    assert paths(search, "brisk stonn") == ["b.md"]


@pytest.mark.parametrize(
    ("glossary", "says"),
    [
        ({"kill": []}, "kill: needs 1 to 3 other words"),
        ({"kill": ["a1", "b1", "c1", "d1"]}, "kill: needs 1 to 3 other words"),
        ({"kill": ["one two three four five six"]}, "is not a name of 1 to 4 words"),
        ({f"word{n}": ["x1"] for n in range(501)}, "has 501 words; at most 500"),
    ],
)
def test_the_glossary_of_a_team_is_bounded(glossary: dict[str, list[str]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SearchSettings(glossary=glossary)
