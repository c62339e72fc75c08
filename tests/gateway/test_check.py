"""Claims of answers: where sentences end, what claims something, what the pages support."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval import check as measuring
from gateway.answering.check import Check
from gateway.answering.claims import Claim, drafts, refuses, summary
from gateway.answering.confidence import confidence
from gateway.answering.facts import Fact, facts, numbers
from gateway.answering.plain import plain
from gateway.answering.sentences import complete, split
from gateway.grounding.confidence import CAUTION
from gateway.grounding.excerpt import Excerpt
from tests.gateway.conftest import page

FOLDER = Path(__file__).parents[1] / "answers"

PAGE = page(
    "backup.md",
    "# Backup\n\n## Make one\n\n"
    "Run `askdocs backup --out DIR`. It keeps 14 backups for 90 days.\n\n"
    "## Restore\n\n- Stop the server first.\n- Restoring does not change the settings.\n\n"
    "| option | meaning |\n|---|---|\n| `--only` | a part |\n| `--dry-run` | look first |\n\n"
    "Open **Tools > Save As\\.\\.\\.** in version 2\\.5 and wait two hours.",
)


def check(text: str) -> list[Claim]:
    checking = Check([Excerpt(PAGE, PAGE.sections, 1)], lambda stems: dict.fromkeys(stems, 1.0))
    return asyncio.run(checking.claims(text))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It uses port 8080. Then stop it.", ["It uses port 8080. ", "Then stop it."]),
        ("1. Stop it.\n2. Start it.\n", ["1. Stop it.\n", "2. Start it.\n"]),
        ("See e.g. this. Done.", ["See e.g. this. ", "Done."]),
        ("Choose **Save As...** first. Go.", ["Choose **Save As...** first. ", "Go."]),
        ("Use `a. B`. Go.", ["Use `a. B`. ", "Go."]),
        ("It is so. [2] Next.", ["It is so. [2] ", "Next."]),
        ("# Head\n\nText.", ["# Head\n\n", "Text."]),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n", ["| a | b |\n", "|---|---|\n", "| 1 | 2 |\n"]),
        ("Run:\n\n```sh\na. B\n```\nDone.", ["Run:\n\n", "```sh\na. B\n```\n", "Done."]),
        ("A line that is\nwrapped. End.", ["A line that is\nwrapped. ", "End."]),
        ("这是。那是。", ["这是。", "那是。"]),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, sentences: list[str]) -> None:
    assert [sentence.text for sentence in split(text)] == sentences


@given(st.text(alphabet="ab.!?:1 \n|-#`*[]。", max_size=60))
def test_sentences_cover_a_text_without_gaps_and_a_stream_ends_them_alike(text: str) -> None:
    assert "".join(sentence.text for sentence in split(text)) == text
    held, passed = "", ""
    for character in text:
        held += character
        ready = complete(held)
        passed, held = passed + ready, held[len(ready) :]
    assert passed + held == text


def test_escapes_links_and_emphasis_are_not_what_a_reader_sees() -> None:
    assert plain("**Save** 0\\.5 [here](../x.md) &amp; `go`") == "Save 0.5 here & go"


def test_facts_are_numbers_with_units_addresses_options_code_and_labels() -> None:
    found = facts(
        "2. Wait 24h, run `x y` with --force, see https://a.example/b. and **Save As**. [3]"
    )
    assert set(found) == {
        Fact("number", "24 hour"),
        Fact("code", "xy"),
        Fact("option", "--force"),
        Fact("address", "a.example/b"),
        Fact("label", "saveas"),
    }
    assert facts("There are two ways.") == []
    assert {"2 hour", "2.5", "2"} <= numbers("version 2.5, two hours")


@pytest.mark.parametrize(
    ("text", "verdict", "reason"),
    [
        ("It keeps 14 backups for 90 days.", "supported", ""),
        ("It keeps 15 backups for 90 days.", "contradicted", "number: 15"),
        ("It keeps 14 backups for 90 hours.", "contradicted", "number: 90 hour"),
        ("Run `askdocs backup --out DIR`.", "supported", ""),
        ("Run `askdocs backup --encrypt`.", "unsupported", "code: askdocsbackup--encrypt"),
        ("Open **Tools > Save As...** in version 2.5.", "supported", ""),
        ("Open **Tools > Merge all** in version 2.5.", "unsupported", "label: mergeall"),
        ("The moon is made of green cheese.", "unsupported", "words"),
        ("Certainly!", "none", ""),
        ("Follow these steps:", "none", ""),
        ("The documentation doesn't say how long it takes.", "none", "refusal"),
    ],
)
def test_a_sentence_is_compared_with_its_passage(text: str, verdict: str, reason: str) -> None:
    (claim,) = check(text)
    assert (claim.verdict, claim.reason) == (verdict, reason)


def test_the_question_is_no_evidence_and_offsets_are_characters_of_the_text() -> None:
    text = "Yes.\n\n- It keeps 14 backups.\n- Ünknown 77 things are kept.\n"
    claims = check(text)
    assert [text[claim.start : claim.end] for claim in claims] == [
        "Yes.",
        "It keeps 14 backups.",
        "Ünknown 77 things are kept.",
    ]
    assert summary(claims) == claims[-1].verdict != "supported"


@pytest.mark.parametrize(
    ("answer", "is_refusal"),
    [
        ("I couldn't find anything about that in the documentation.", True),
        ("Unfortunately neither article says anything about it. Try the forum.", True),
        ("Dazu steht auf den vorliegenden Seiten nichts.", True),
        ("La documentation fournie ne décrit pas Kubernetes.", True),
        ("It keeps 14 backups. Run it nightly. The page doesn't say how large they are.", False),
        ("Restoring does not change the settings.", False),
    ],
)
def test_a_refusal_is_known_in_any_words_and_a_half_answer_is_none(
    answer: str, is_refusal: bool
) -> None:
    assert refuses(drafts(answer)) is is_refusal


def test_confidence_falls_with_each_marked_claim_and_is_none_without_claims() -> None:
    good = "It keeps 14 backups for 90 days. Run `askdocs backup --out DIR`."
    bad = "It keeps 15 backups for 80 days."
    sure, doubtful = confidence(check(good)), confidence(check(bad))
    assert sure is not None
    assert doubtful is not None
    assert sure > CAUTION > doubtful
    assert confidence(check("Certainly!")) is None


def test_answers_to_this_documentation_are_checked_as_well_as_they_were() -> None:
    wiki = measuring.Wiki(FOLDER / "wiki")
    answers = measuring.read(FOLDER / "own_docs.jsonl")
    found = measuring.measures(asyncio.run(measuring.check(answers, wiki)))
    assert found["auc"] > 0.75
    assert found["false_alarms"].value < 0.05
    assert found["good_unmarked"].value >= 0.85
    assert found["refusals_recognised"].value >= 0.95
    assert found["partial_not_refused"].value == 1
    assert found["hallucinations_caught"].value >= 0.8
    assert found["wrong_by_kind"]["number"].value >= 0.6
    assert found["wrong_by_kind"]["invented_option"].value >= 0.6
