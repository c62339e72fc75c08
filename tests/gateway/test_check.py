"""Claims of answers: where sentences end, what claims something, what the pages support."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.scoring import check as measuring
from gateway.answering.check import Check
from gateway.answering.claims import Claim, drafts, refuses, summary
from gateway.answering.confidence import CAUTION, confidence
from gateway.answering.evidence import EvidenceText
from gateway.answering.facts import Fact, facts, numbers
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.plain import plain
from gateway.answering.sentences import complete, split
from tests.gateway.conftest import page
from wiki.pages.page import Page

FOLDER = Path(__file__).parents[1] / "answers"

PAGE = page(
    "backup.md",
    "# Backup\n\n## Make one\n\n"
    "Run `askdocs backup --out DIR`. It keeps 14 backups for 90 days.\n\n"
    "## Restore\n\n- Stop the server first.\n- Restoring does not change the settings.\n\n"
    "| option | meaning |\n|---|---|\n| `--only` | a part |\n| `--dry-run` | look first |\n\n"
    "Open **Tools > Save As\\.\\.\\.** in version 2\\.5 and wait two hours.",
)


def check(text: str, asked: str = "", before: Page | None = None) -> list[Claim]:
    async def found() -> list[Excerpt]:
        assert before is not None
        return [Excerpt(before, before.sections, 1)]

    checking = Check(
        [Excerpt(PAGE, PAGE.sections, 1)],
        lambda stems: dict.fromkeys(stems, 1.0),
        asked=asked,
        before=found if before else None,
    )
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
        Fact("code", "x y"),
        Fact("option", "--force"),
        Fact("address", "a.example/b"),
        Fact("label", "save as"),
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
        ("Run `askdocs backup --encrypt`.", "unsupported", "code: askdocs backup --encrypt"),
        ("Open **Tools > Save As...** in version 2.5.", "supported", ""),
        ("Open **Tools > Merge all** in version 2.5.", "unsupported", "label: merge all"),
        ("The moon is made of green cheese.", "unsupported", "words"),
        ("Certainly!", "none", ""),
        ("Follow these steps:", "none", ""),
        ("The documentation doesn't say how long it takes.", "none", "refusal"),
    ],
)
def test_a_sentence_is_compared_with_its_passage(text: str, verdict: str, reason: str) -> None:
    (claim,) = check(text)
    assert (claim.verdict, claim.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("text", "asked", "verdict"),
    [
        ("Your 500 GB are kept as 14 backups for 90 days.", "Does it keep 500 GB?", "supported"),
        ("Your 500 GB are kept as 15 backups for 90 days.", "Does it keep 500 GB?", "contradicted"),
        # What was asked for is no evidence of an answer.
        ("You can encrypt it with `--cipher`.", "Can I encrypt it with `--cipher`?", "unsupported"),
    ],
)
def test_facts_of_the_question_are_neither_invented_nor_evidence(
    text: str, asked: str, verdict: str
) -> None:
    assert check(text, asked)[0].verdict == verdict


def test_the_pages_of_the_turn_before_support_a_follow_up() -> None:
    text = "The server listens on port 8443, set by `listen_port`."
    before = page("ports.md", "# Ports\n\nThe server listens on port 8443: `listen_port` sets it.")
    (alone,), (followed,) = check(text), check(text, before=before)
    assert alone.verdict in ("unsupported", "contradicted")
    assert (followed.verdict, followed.source) == (
        "supported",
        before.section_url(before.sections[0]),
    )


def test_the_check_goes_on_without_the_pages_of_the_turn_before() -> None:
    async def away() -> list[Excerpt]:
        raise OSError("the index is away")

    checking = Check(
        [Excerpt(PAGE, PAGE.sections, 1)], lambda stems: dict.fromkeys(stems, 1.0), before=away
    )
    (claim,) = asyncio.run(checking.claims("It keeps 14 backups for 90 days."))
    assert claim.verdict == "supported"


@pytest.mark.parametrize(
    ("said", "has"),
    [
        ("`Strg`+`Umschalt`+`J`", "Press `Ctrl` + `Shift` + `J`."),
        ("`tool restore FILE --only index --dry-run`", "`tool restore --dry-run`, `--only index`"),
        ("`C:\\Users\\<Benutzer>\\Mail`", "`C:\\Users\\<your name>\\Mail`"),
        ("six more months", "for an additional six months"),
        ("10 GiB", "10 GB"),
        ("**Sync & Storage**", "the Sync and Storage page"),
        ("version 31.2", "31.2.0"),
        ("sieben Tage", "7 days"),
        ("5 días", "cinco días"),
        ("thirty seconds", "30 s"),
    ],
)
def test_a_fact_is_found_in_another_spelling(said: str, has: str) -> None:
    assert [fact for fact in facts(said) if not EvidenceText(has).has(fact)] == []


@pytest.mark.parametrize(
    ("said", "has"),
    [
        ("`tool restore --force`", "`tool restore --dry-run`"),
        ("`Ctrl`+`J`", "`Ctrl` + `K`"),
        ("10 GB", "10 MB"),
    ],
)
def test_a_fact_that_differs_is_not(said: str, has: str) -> None:
    assert [fact for fact in facts(said) if not EvidenceText(has).has(fact)] != []


def test_bold_that_names_an_item_is_no_label() -> None:
    assert facts("- **Less mail**: click **Save**") == [Fact("label", "save")]


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
        ("The pages do not say so. Please ask your administrator.", True),
        ("Dazu kann ich nichts finden, das geht aus den Seiten nicht hervor.", True),
        ("Je n'ai pas trouvé d'information à ce sujet.", True),
        ("It keeps 14 backups. Run it nightly. The page doesn't say how large they are.", False),
        ("Restoring does not change the settings.", False),
        ("1 means that all was read except for the pages that are listed as not read.", False),
        ("The pages don't say how long it takes. For a part set the `--only` option.", False),
    ],
)
def test_a_refusal_in_plain_phrases_is_known_and_a_half_answer_is_none(
    answer: str, is_refusal: bool
) -> None:
    assert refuses(drafts(answer)) is is_refusal


NEGATIONS = """
If the page is not found, check the address.
The server does not start when the port is in use.
You can't delete an account from the app.
The article number is not shown to customers.
Pages that are not published do not appear in the search.
The documentation folder must not contain spaces.
No information is sent to third parties.
I recommend that you don't delete the folder.
Context menus do not work there.
The guide wizard doesn't ask for a password.
Sections without a heading are not indexed.
There is no limit for the size of a document.
The text is not encrypted at rest.
Documents are not shared unless you say so.
The source code is not included in the package.
Die Seiten werden nicht zwischengespeichert.
Nothing is deleted from the wiki when you do this.
The manual mode does not have a timer.
This text field cannot be empty.
The information is not stored on the server.
"""


@pytest.mark.parametrize("sentence", NEGATIONS.strip().splitlines())
def test_a_sentence_that_denies_something_of_the_product_is_a_claim(sentence: str) -> None:
    assert not refuses(drafts(sentence))
    assert [draft.claims for draft in drafts(sentence)] == [True]


def test_confidence_falls_with_each_marked_claim_and_is_none_without_claims() -> None:
    good = "It keeps 14 backups for 90 days. Run `askdocs backup --out DIR`."
    bad = "It keeps 15 backups for 80 days."
    sure, doubtful = confidence(check(good)), confidence(check(bad))
    assert sure is not None
    assert doubtful is not None
    assert sure > CAUTION > doubtful
    assert confidence(check("Certainly!")) is None


def test_answers_to_a_wiki_that_nothing_was_fitted_on_are_checked_as_well_as_they_were() -> None:
    answers = measuring.read(FOLDER / "own_docs.jsonl")
    checked = asyncio.run(measuring.check(answers, measuring.LabelledPages(FOLDER / "wiki")))
    found = measuring.measures(checked)
    assert found["auc"] > 0.75
    assert found["false_alarms"].value < 0.05
    assert found["good_unmarked"].value >= 0.85
    assert found["wrong_marked"].value >= 0.4
    assert found["refusals_recognised"].value >= 0.6
    assert found["partial_not_refused"].value == 1
    assert found["hallucinations_caught"].value >= 0.75
    assert found["wrong_by_kind"]["number"].value >= 0.6
    assert found["wrong_by_kind"]["invented_option"].value >= 0.6
    right = [one for one in checked if one.answer.kind in ("good", "partial") and not one.refused]
    sure = [confidence(one.claims) for one in right]
    assert sum(value is not None and value < CAUTION for value in sure) <= 0.1 * len(right)
