"""Does a sentence stand on the page, and what the gate lets through."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.prompt import REFUSAL
from gateway.answering.grounding.support import SentenceGate, Support
from tests.gateway.conftest import page

PAGE = page(
    "backup.md",
    "# Backup\n\nThe server keeps 14 backups in the folder `/var/backups`. It makes one every night"
    " at 03:30. Each one has 1500 files, see https://docs.example.com/v12 for more.\n\n"
    "## Restore\n\nRun `restore --from DATE` on the server. It stops the database first.\n\n"
    "## Schedule {#plan}\n\nThe schedule is in [settings](settings.md#times).",
)
LEAST = 0.6


def support(question: str = "How many?") -> Support:
    def idf(stems: Iterable[str]) -> dict[str, float]:
        return dict.fromkeys(stems, 1.0)

    return Support([Excerpt(PAGE, PAGE.sections, 1)], question, idf)


def gated(*parts: str, question: str = "How many?", cut: bool = False) -> tuple[str, SentenceGate]:
    gate = SentenceGate(support(question), LEAST)
    out = "".join([gate.feed(part) for part in parts]) + gate.close(cut)
    return out, gate


@pytest.mark.parametrize(
    "sentence",
    [
        "The server keeps 14 backups.",
        "There are 14 backups in the folder `/var/backups`.",
        "A backup has 1500 files.",
        "It runs every night at 03:30.",
        "See https://docs.example.com/v12 for more.",
        "Run `restore --from DATE` on the server.",
        "The schedule is in [settings](settings.md#times).",
        "Yes.",
    ],
)
def test_what_the_page_says_is_supported(sentence: str) -> None:
    assert support().of(sentence) >= LEAST


@pytest.mark.parametrize(
    "sentence",
    [
        "The server keeps 15 backups.",
        "The server keeps 50 backups.",
        "The server keeps 150 backups.",
        "A backup has 500 files.",
        "It makes one every night at 03:31.",
        "It makes one every night at 3:30.",
        "The server keeps backups in the folder `/var/backup2`.",
        "Run `restore --all` on the server.",
        "Run restore --force on the server.",
        "The server keeps backups, see https://evil.example.com/.",
        "The server keeps backups, see https://docs.example.com/v1.",
        "The schedule is in [settings](https://evil.example.com).",
        "The schedule is in [settings](other.md).",
    ],
)
def test_an_invented_number_address_or_code_word_is_not_supported(sentence: str) -> None:
    assert support().of(sentence) == 0.0


def test_a_number_from_the_question_may_be_said_again() -> None:
    assert support("Are 99 backups kept?").of("The server keeps backups, not 99.") >= LEAST


def test_other_content_is_not_supported() -> None:
    assert support().of("Kangaroos jump over wooden fences.") == 0.0


def test_words_of_the_question_prove_nothing() -> None:
    asked = "Do kangaroos jump over the server?"
    assert support(asked).of("Kangaroos jump over wooden fences.") < LEAST
    assert support(asked).of("The server keeps backups in wooden fences.") < LEAST


def test_a_sentence_of_nothing_but_the_question_is_measured_by_it() -> None:
    assert support("backups server?").of("Backups, server.") == 1.0
    assert support("kangaroos jump?").of("Kangaroos jump.") == 0.0


def test_words_from_passages_far_apart_do_not_add_up() -> None:
    far = page(
        "far.md",
        "# T\n\n" + "Red apples grow.\n\n" + "Nothing is here.\n\n" * 6 + "Blue whales swim.",
    )
    measured = Support(
        [Excerpt(far, far.sections, 1)], "?", lambda stems: dict.fromkeys(stems, 1.0)
    )
    assert measured.of("Red apples grow.") == 1.0
    assert measured.of("Red apples swim, blue whales grow.") <= LEAST


def test_without_pages_nothing_of_content_is_supported() -> None:
    bare = Support([], "?", lambda stems: dict.fromkeys(stems, 1.0))
    assert bare.of("Backups.") == 0.0
    assert bare.best_section("Backups.") is None


def test_the_best_section_is_the_one_that_an_answer_rests_on() -> None:
    for answer, anchor in (
        ("It stops the database first.", "restore"),
        ("The server keeps 14 backups every night.", "backup"),
        ("The schedule is in settings.", "plan"),
    ):
        best = support().best_section(answer)
        assert best is not None
        assert best[1].anchor == anchor


def test_a_supported_answer_passes_unchanged() -> None:
    text = "The server keeps 14 backups.\n\nIt makes one every night at 03:30."
    out, gate = gated(text)
    assert out == gate.passed == text
    assert not gate.refused
    assert not gate.stopped


def test_the_first_unsupported_sentence_ends_the_answer() -> None:
    out, gate = gated("The server keeps 14 backups. Kangaroos jump. It stops the database first.")
    assert out == "The server keeps 14 backups. "
    assert gate.stopped
    assert not gate.refused
    assert gate.feed("The server keeps 14 backups.") == ""


def test_an_answer_that_begins_unsupported_never_begins() -> None:
    out, gate = gated("Kangaroos jump over fences. The server keeps 14 backups.")
    assert out == ""
    assert gate.refused


def test_a_sentence_goes_out_only_when_it_is_complete() -> None:
    gate = SentenceGate(support(), LEAST)
    assert gate.feed("The server keeps 14 backups") == ""
    assert gate.feed(".") == ""
    assert gate.feed(" It") == "The server keeps 14 backups. "


def test_a_repeated_sentence_ends_the_answer() -> None:
    once = "The server keeps 14 backups. "
    out, gate = gated(once + "It stops the database first. " + once * 5)
    assert out == once + "It stops the database first. "
    assert gate.stopped
    assert not gate.refused


CODE = """Run this on each server:

```
{
  "keep": 14
}
{
  "keep": 14
}
```

The server keeps 14 backups.

```
{
}
```"""


def gated_on(written: str, *chunks: str, cut: bool = False) -> tuple[str, SentenceGate]:
    read = page("code.md", f"# Code\n\n{written}")
    gate = SentenceGate(
        Support([Excerpt(read, read.sections, 1)], "?", lambda said: dict.fromkeys(said, 1.0)),
        LEAST,
    )
    return "".join(map(gate.feed, chunks)) + gate.close(cut), gate


def test_lines_that_code_has_twice_do_not_end_the_answer() -> None:
    out, gate = gated_on(CODE, CODE)
    assert out == gate.passed == CODE
    assert not gate.stopped


def test_a_loop_in_code_ends_the_answer_and_closes_the_code() -> None:
    out, gate = gated_on(CODE, '```\n{\n  "keep": 14\n}\n' + '{\n  "keep": 14\n}\n' * 9)
    assert gate.stopped
    assert out.count("keep") < 4
    assert out.endswith("\n```")


@pytest.mark.parametrize("cut", [False, True])
def test_code_that_an_answer_ends_in_is_closed(cut: bool) -> None:
    written = "1. Run this:\n\n   ~~~~sh\n   keep 14\n   keep 15 in the end"
    out, gate = gated_on(written, written, cut=cut)
    assert out == gate.passed
    assert out.endswith("\n   keep 14\n   ~~~~" if cut else " in the end\n   ~~~~")


def test_what_is_refused_in_code_closes_it() -> None:
    out, gate = gated_on(CODE, '```\n{\n  "keep": 14\n', "kangaroos jump\n", "}\n```")
    assert gate.stopped
    assert out == '```\n{\n  "keep": 14\n```'


def test_code_in_a_line_opens_none() -> None:
    out, _ = gated_on(CODE, "```keep```\n\nThe server keeps 14 backups.")
    assert out == "```keep```\n\nThe server keeps 14 backups."


@pytest.mark.parametrize(
    "text",
    [
        REFUSAL,
        REFUSAL.lower(),
        f"Sorry, {REFUSAL} But here is more.",
        f"{REFUSAL}\nMore.",
        "I don\u2019t have **enough** information to answer that.",
        "\u201cI do not have enough information to answer this question.\u201d",
    ],
)
def test_the_models_own_refusal_is_said_in_the_exact_words(text: str) -> None:
    out, gate = gated(text)
    assert out == REFUSAL
    assert gate.refused
    assert gate.stopped


def test_a_page_with_the_words_of_the_refusal_does_not_make_an_answer_of_it() -> None:
    read = page("form.md", "# Form\n\nHave enough information to answer each question.")
    support = Support([Excerpt(read, read.sections, 1)], "?", lambda said: dict.fromkeys(said, 1.0))
    gate = SentenceGate(support, LEAST)
    assert gate.feed("I don\u2019t have enough information to answer that. ") == REFUSAL
    assert gate.refused


def test_a_refusal_after_an_answer_is_left_away() -> None:
    out, gate = gated(f"The server keeps 14 backups. {REFUSAL}")
    assert out == "The server keeps 14 backups. "
    assert not gate.refused


def test_half_a_sentence_at_the_greatest_length_is_left_away_unless_it_is_all() -> None:
    assert gated("The server keeps 14 backups. It makes one every", cut=True)[0] == (
        "The server keeps 14 backups. "
    )
    assert gated("The server keeps 14 backups in the", cut=True)[0] == (
        "The server keeps 14 backups in the"
    )


def test_an_empty_answer_is_a_refusal() -> None:
    for text in ("", " \n"):
        out, gate = gated(text)
        assert not out.strip()
        assert gate.refused


PIECES = st.sampled_from(
    [
        "The server keeps 14 backups. ",
        "It makes one every night at 03:30.",
        "It stops the database first!\n\n",
        "Kangaroos jump. ",
        "The server keeps 15 backups. ",
        "The server does this:\n\n",
        "- Run `restore --from DATE` on the server\n",
        "1. The schedule",
        "```\n",
        REFUSAL,
        " ",
        "\n",
        ":",
        ". ",
        "e.g. ",
        '"',
    ]
)


@given(st.lists(PIECES, max_size=8).map("".join), st.data(), st.booleans())
def test_in_whatever_chunks_an_answer_comes_the_same_goes_out(
    text: str, data: st.DataObject, cut: bool
) -> None:
    places = data.draw(st.lists(st.integers(0, len(text)), max_size=12).map(sorted))
    chunks = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    whole, one = gated(text, cut=cut)
    parts, many = gated(*chunks, cut=cut)
    # Of two spaces behind the last sentence the second one may come too late to go out.
    assert parts.rstrip() == whole.rstrip()
    assert (many.refused, many.stopped) == (one.refused, one.stopped)


def test_an_answer_says_what_the_prompt_wrote_another_way_as_the_page_does() -> None:
    read = page("turns.md", "# Turns\n\nA turn of the template ends with `<|im_end|>`, always.")
    excerpts = [Excerpt(read, read.sections, 1)]
    gate = SentenceGate(Support(excerpts, "?", lambda said: dict.fromkeys(said, 1.0)), LEAST)
    assert gate.feed("A turn ends with `&lt;|im_end|>`. ") == "A turn ends with `<|im_end|>`. "
