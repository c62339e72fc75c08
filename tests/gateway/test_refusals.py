"""Refusals, half-answers and answers in words that the rules were not written for.

`tests/answers/README.md` says how they were written, `docs/results/notebook.md` how many were
recognised at the first try.
"""

import json
from pathlib import Path

import pytest

from gateway.answering import refusals
from gateway.answering.claims import drafts, refuses
from gateway.answering.grounding import wording

FOLDER = Path(__file__).parents[1] / "answers" / "refusals"


@pytest.mark.parametrize("language", ["en", "de", "fr", "es"])
def test_refusals_are_known_and_half_answers_are_none(language: str) -> None:
    lines = (FOLDER / f"{language}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    for kind, least in (("refusal", 0.97), ("partial", 0.97), ("good", 0.97)):
        answers = [row["answer"] for row in rows if row["kind"] == kind]
        wrong = [text for text in answers if refuses(drafts(text)) != (kind == "refusal")]
        assert len(wrong) <= (1 - least) * len(answers), wrong


@pytest.mark.parametrize("sentence", wording.REFUSALS)
def test_the_refusal_that_the_prompt_asks_for_is_known_in_every_language(sentence: str) -> None:
    assert refuses(drafts(sentence))
    assert not refuses(drafts("バックアップは14個まで保存されます。"))


@pytest.mark.parametrize(
    ("sentence", "gap", "claim"),
    [
        ("The pages do not say how long it takes.", True, False),
        ("The pages do not say how long it takes, but it runs at night.", True, True),
        ("Although the pages do not state a port, the server listens on 8443.", True, True),
        ("The pages describe teams, but not spaces.", True, False),
        ("They only deal with teams.", False, False),
        ("Please ask your administrator.", False, False),
        ("Open the page and choose Copy.", False, True),
        ("Die Dokumentation nennt keine Frist, Backups laufen aber nachts.", True, True),
    ],
)
def test_a_sentence_may_have_a_gap_and_a_claim(sentence: str, gap: bool, claim: bool) -> None:
    assert (refusals.gaps(sentence), refusals.asserts(sentence)) == (gap, claim)


@pytest.mark.parametrize(
    ("of_sources", "of_product"),
    [
        ("The documentation does not list them.", "The activity log does not list them."),
        ("The pages do not mention drafts.", "Public pages do not mention drafts."),
        ("This is not mentioned in the docs.", "This name is not mentioned in the log."),
        ("The page does not mention views.", "The page history does not mention views."),
        ("There are no details about guests.", "Guests get no details about guests."),
        ("Search history in Acme isn't addressed.", "A file in use is not moved."),
        ("It can't be read from the article.", "It can't be read from the disk."),
        ("No value is given.", "If no value is given, the default applies."),
        ("Im Kontext steht kein Wert.", "Im Protokoll steht kein Wert."),
        ("Les pages ne le disent pas.", "La liste des pages ne le contient pas."),
    ],
)
def test_what_sources_lack_is_a_gap_and_what_a_product_lacks_is_none(
    of_sources: str, of_product: str
) -> None:
    assert (refusals.gaps(of_sources), refusals.gaps(of_product)) == (True, False)


def test_a_pronoun_may_stand_for_the_sources_that_the_sentence_before_names() -> None:
    after_pages = drafts("The documentation covers plans. It does not list their prices.")
    after_product = drafts("The export has all plans. It does not list their prices.")
    assert [draft.refuses for draft in after_pages] == [False, True]
    assert [draft.refuses for draft in after_product] == [False, False]


@pytest.mark.parametrize(
    "answer",
    [
        "Give the page a short title.",
        "Enter a short name for the section and press Save.",
        "Click Missing pages to see them.",
        "Open the page outside the app.",
        "Set the scope of the guide to Team.",
        "Ignore the page that opens.",
        "Die Seite ist offen für alle.",
        "Choisissez un cadre pour la page.",
    ],
)
def test_an_answer_with_a_word_of_refusals_is_none(answer: str) -> None:
    [draft] = drafts(answer)
    assert draft.claims
    assert not refuses([draft])


def test_of_a_clause_without_end_a_hundred_words_are_read() -> None:
    assert len(refusals.tokens("no " * 100_000)) == refusals.LONGEST
    assert refusals.gaps("no page says " * 100_000)
