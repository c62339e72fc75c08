"""What of a model's answer goes out, and what it cites."""

import contextlib

import pytest

from gateway.answer import Choice, say
from gateway.grounding.cite import Citations
from gateway.grounding.excerpt import Excerpt
from gateway.grounding.prompt import REFUSAL
from gateway.grounding.support import SentenceGate, Support
from tests.gateway.conftest import SITE, page

PAGE = page(
    "guide/backup.md",
    "# Backup\n\n## Where\n\nThe server keeps 14 backups.\n\n"
    "## Restore\n\nIt stops the database first, see [settings](../settings.md#stop).",
)


def choice(quoting: bool = False) -> Choice:
    excerpts = [Excerpt(PAGE, PAGE.sections, 1)]
    support = Support(excerpts, "?", lambda said: dict.fromkeys(said, 1.0))
    return Choice(SentenceGate(support, 0.6, quoting), Citations(support))


def said(*parts: str, cut: bool = False) -> tuple[str, Choice]:
    one = choice()
    text = "".join([one.feed(part) for part in parts]) + one.close(cut)
    return text, one


def test_an_answer_of_two_sections_cites_both_where_they_stand() -> None:
    text, one = said(" The server keeps ", "14 backups. It stops the", " database first.\n\n")
    text = text.rstrip()
    assert text == "The server keeps 14 backups. It stops the database first."
    spans = one.spans(len(text))
    assert [text[span.start : span.end] for span in spans] == [
        "The server keeps 14 backups. ",
        "It stops the database first.",
    ]
    assert [section.anchor for _, section in one.sections()] == ["restore", "where"]


def test_a_link_works_from_anywhere() -> None:
    text, one = said("It stops the database first, see [settings](../settings.md#stop).")
    assert f"]({SITE}guide/settings.md#stop)" in text
    assert one.spans(len(text))[-1].end == len(text)


def test_what_never_begins_is_the_refusal_and_cites_nothing() -> None:
    for parts in (["Kangaroos jump over fences."], [""], [REFUSAL], [" \n"]):
        text, one = said(*parts)
        assert text == REFUSAL
        assert one.spans(len(text)) == []
        assert one.sections() == []


def test_half_a_sentence_at_the_greatest_length_is_left_away() -> None:
    text, one = said("The server keeps 14 backups. It stops the", cut=True)
    assert text == "The server keeps 14 backups. "
    assert one.spans(len(text.rstrip()))[-1].end == len(text.rstrip())


def test_probabilities_are_kept_until_the_client_is_told() -> None:
    one = choice()
    tokens = [{"token": word, "logprob": -1.0 * n} for n, word in enumerate(("The", " server"))]
    one.hear({"content": tokens[:1]})
    one.hear(None)
    one.hear({"content": tokens[1:]})
    assert one.tell() == {"content": tokens}
    assert one.tell() == {"content": []}


def test_the_probability_is_of_the_first_sentence() -> None:
    one = choice()
    one.hear({"content": [{"token": "The server keeps 14 backups. ", "logprob": -2.0}]})
    one.hear({"content": [{"token": "It stops the database first.", "logprob": -8.0}]})
    one.feed("The server keeps 14 backups. It stops the database first.")
    assert one.logprob == -2.0


def test_what_is_said_to_a_full_disk_stops_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr("sys.stdout", full)
        for _ in range(3):
            say("answered in 0.2 s")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()
