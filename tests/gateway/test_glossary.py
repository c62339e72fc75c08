"""Other names of things, as the wiki gives them."""

import pytest

from gateway.core.gateway_settings import GatewaySettings
from gateway.knowledge.search.config import SearchSettings
from gateway.knowledge.search.glossary import key, links, names, own, rephrased
from gateway.knowledge.search.index import writing
from gateway.knowledge.search.models import open_search
from gateway.knowledge.search.own_words import OwnWords
from gateway.knowledge.search.search import Search
from tests.gateway.conftest import SITE, page
from tests.gateway.test_search import Make, paths


@pytest.mark.parametrize(
    ("text", "one", "other"),
    [
        ("Our payment gateway is Stripe.", "payment gateway", "Stripe"),
        ("We use Stripe as our payment gateway.", "payment gateway", "Stripe"),
        ("Stripe is our payment gateway and takes cards.", "payment gateway", "Stripe"),
        ("Our payment gateway (Stripe) takes cards.", "payment gateway", "Stripe"),
        ("Our payment gateway, [Stripe](stripe.md), is fast.", "payment gateway", "Stripe"),
        ("Xen, also called the hypervisor, runs guests.", "Xen", "hypervisor"),
        ("The continuous integration (CI) runs.", "CI", "continuous integration"),
        ("Ask the CI (continuous integration).", "CI", "continuous integration"),
        ("PTO stands for paid time off.", "PTO", "paid time off"),
        ("# Glossary\n\n- **Payment gateway**: Stripe.", "Payment gateway", "Stripe"),
        ("# Abbreviations\n\n| PTO | paid time off |", "PTO", "paid time off"),
    ],
)
def test_the_wiki_says_what_else_a_thing_is_called(text: str, one: str, other: str) -> None:
    assert [(key(a), key(b)) for a, b in names(page("a.md", text))] == [(key(one), key(other))]


@pytest.mark.parametrize(
    "text",
    [
        "Call the office (Monday to Friday).",
        "The file is our only copy.",
        "```\nOur payment gateway is Stripe.\n```",
        "| Port | 4000 |",
        "The printer (HP) is on.",
    ],
)
def test_other_sentences_give_no_names(text: str) -> None:
    assert not list(names(page("a.md", text)))


def test_links_to_other_pages_have_words() -> None:
    found = list(links(page("a.md", f"[pay](../b/), [here](#y), ![i](i.png), [out]({SITE}c/)")))
    assert found == [(f"{SITE}b/", "pay"), (f"{SITE}c/", "out")]


def test_links_to_sections_do_not_name_the_page(indexed: Make) -> None:
    index = indexed(
        slack="# Slack\n\nInvite the app.",
        threats="# Threats\n\n## Slack\n\nTokens leak.",
        security="# Security\n\nThreats by part: [Slack](../threats/#slack).",
    )
    assert not index.meanings("slack setup")


def test_a_question_is_also_searched_for_with_the_other_name(indexed: Make) -> None:
    index = indexed(
        stripe="# Stripe\n\nRefunds take five days.",
        cash="# Cash desk\n\nRefunds are paid at once.",
        about="# Shop\n\nOur payment gateway is Stripe. It was chosen in 2020.",
    )
    search = Search(index, None)
    assert paths(search, "payment gateway refunds")[0] == "stripe.md"
    assert paths(search, "refunds at the desk")[0] == "cash.md"


def test_a_team_adds_words_of_its_own(indexed: Make) -> None:
    index = indexed(
        cancel="# Cancel a job\n\nCancel a job in the queue, and its machine is free.",
        list="# List the jobs\n\nA job in the list has a number and an owner.",
    )
    settings = SearchSettings(glossary={"nuke": ["cancel", "stop at once"]})
    search = open_search(index, GatewaySettings(), settings, None)
    sought = search.sought("nuke a job")
    assert paths(search, "nuke a job")[0] == "cancel.md"
    assert [(" ".join(words), by_team) for words, by_team in search.readings(sought)] == [
        ("cancel job", True),
        ("stop job", True),
    ]
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
    search = Search(index, None, own_words=OwnWords({"bricks up": ["x"], "brisk": ["restart"]}))
    assert paths(search, "brisk")[0] == "b.md"
    search = Search(index, None, own_words=OwnWords({"brisk stonn": ["restart"]}))
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


def test_the_words_of_a_link_are_another_name_of_its_page(indexed: Make) -> None:
    index = indexed(
        stripe="# Stripe\n\nRefunds take five days.",
        cash="# Cash desk\n\nRefunds are paid at once.",
        about="# Shop\n\nPay by our [payment gateway](../stripe/).",
    )
    assert index.meanings("the payment gateway?") == {"payment gatewai": {"stripe"}}
    assert paths(Search(index, None), "payment gateway refunds")[0] == "stripe.md"


def test_a_name_is_found_in_a_question_without_spaces(indexed: Make) -> None:
    index = indexed(
        stripe="# Stripe\n\n返金には五日かかります。",
        cash="# レジ\n\n今すぐ返金できます。",
        about="# 店\n\n[決済会社](../stripe/)で支払います。",
    )
    assert index.meanings("決済会社の返金は?") == {"決済 済会 会社": {"stripe"}}
    assert paths(Search(index, None), "決済会社の返金は?") == ["about.md", "stripe.md", "cash.md"]


def test_a_name_is_forgotten_with_the_page_that_gave_it(indexed: Make) -> None:
    index = indexed(stripe="# Stripe\n\nCards.", about="# Shop\n\nOur payment gateway is Stripe.")
    assert index.meanings("payment gateway")
    with writing(index.file) as writer:
        writer.put("", page("about.md", "# Shop\n\nWe sell."), "")
    assert not index.meanings("payment gateway")


def test_a_phrase_with_many_meanings_has_none(indexed: Make) -> None:
    pages = {f"p{n}": f"# Page {n} of us\n\n[settings](../p{(n + 1) % 6}/)" for n in range(6)}
    assert not indexed(**pages).meanings("settings")
