"""The lists that the bundled reranker is trained on."""

import json
import sys
from pathlib import Path

import pytest

from training.encoders import lists

TOPICS = ("printer", "coffee", "travel", "badge", "laptop", "parking", "phone", "desk")
ACTS = ("Order a new", "Return the old")
TEXT = (
    "{0} {1}: ask the {1} team in the hall on floor two. " + "Name your room and your number. " * 3
)


def test_lists_have_questions_with_scores_and_headings_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs, out = tmp_path / "wiki", tmp_path / "lists.jsonl"
    docs.mkdir()
    for topic in TOPICS:
        parts = [f"## {act} {topic}\n\n{TEXT.format(act.split()[-1], topic)}" for act in ACTS]
        (docs / f"{topic}.md").write_text("\n\n".join([f"# About {topic}", *parts]))
    questions = tmp_path / "questions.jsonl"
    rows = (
        {"question": "get a coffee", "words": ["coffee team"], "context_doc": "coffee.md"},
        {"question": "feed the whale", "answerable": False},
    )
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["--wiki", f"{docs}={questions}", "--out", str(out), "--keep", str(tmp_path / "keep")]
    monkeypatch.setattr(sys, "argv", ["lists", *words])
    lists.main()
    asked, *headings = map(json.loads, out.read_text().splitlines())
    assert asked["question"] == "get a coffee"  # one that the wiki does not answer teaches nothing
    assert len(asked["texts"]) == len(asked["scores"]) == len(asked["right"])
    assert any("coffee team" in text for text, right in _pairs(asked) if right)
    assert not any("coffee team" in text for text, right in _pairs(asked) if not right)
    assert {row["question"] for row in headings} == {f"{a} {t}" for a in ACTS for t in TOPICS}
    for row in headings:
        assert row["scores"] is None
        assert row["right"] == [True] + [False] * (len(row["texts"]) - 1)
        assert f"{row['question'].split()[-1]} team" in row["texts"][0]
    # Some have lost their heading, and so have the passages beside them.
    lost = [row for row in headings if row["question"] not in row["texts"][0]]
    assert 0 < len(lost) < len(headings)
    assert not any(act in text for act in ACTS for row in lost for text in row["texts"])


def _pairs(row: dict[str, list[str]]) -> "zip[tuple[str, str]]":
    return zip(row["texts"], row["right"], strict=True)
