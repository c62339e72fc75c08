"""The study that fits what a passage loses for being brief and for its page's size."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from eval.studies.passages import Question, build
from eval.studies.ranking import RankedPassages, ask, fit, left_out, main, shown
from gateway.knowledge.search import embed, passage_order, ranking
from gateway.knowledge.search.index import Index
from gateway.knowledge.search.search import Search


def drawn(seed: int, brief: float, large: float, questions: int = 300) -> list[RankedPassages]:
    """Questions whose right passage is drawn with these weights."""
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(questions):
        features = chance.normal(0, [0.1, 1.0, 1.0], (8, 3))
        logits = features @ [20.0, brief, large] + chance.gumbel(size=8)
        found.append(RankedPassages(features, np.arange(8) == logits.argmax()))
    return found


def test_the_weights_that_made_the_data_are_found() -> None:
    scale, brief, large = fit(drawn(1, -2.0, -1.0, 1000))
    assert abs(scale - 20) < 5
    assert abs(brief + 2) < 0.4
    assert abs(large + 1) < 0.4


def test_a_wiki_is_measured_with_weights_of_the_others() -> None:
    alike = [drawn(1, -2.0, -1.0), drawn(2, -2.0, -1.0)]
    before, after = left_out(alike, 1, 1), left_out(alike, 1, 3)
    assert len(before) == len(after) == 600
    assert sum(after) > sum(before) + 100
    # Nothing is learnt of a wiki from itself: its opposite makes it worse.
    opposite = [drawn(1, -2.0, -1.0), drawn(2, 2.0, 1.0)]
    assert sum(left_out(opposite, 1, 3)) < sum(left_out(opposite, 1, 1))


def test_wikis_whose_questions_have_one_file_name_have_an_index_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["ranking", "--keep", str(tmp_path / "keep")]
    for name in ("one", "two"):
        docs = tmp_path / name / "docs"
        docs.mkdir(parents=True)
        (docs / "page.md").write_text(f"# Printer\n\nPrinter {name} prints.\n")
        questions = tmp_path / name / "qa_pairs.jsonl"
        questions.write_text(
            json.dumps({"question": f"printer {name}", "words": [f"{name} prints"]})
        )
        argv += ["--wiki", f"{docs}={questions}"]
    monkeypatch.setattr(sys, "argv", argv)
    for module, name in ((ranking, "OF_BRIEF"), (ranking, "OF_LARGE"), (passage_order, "OF_PAIRS")):
        monkeypatch.setattr(module, name, getattr(module, name))  # main() sets them
    main()
    printed = capsys.readouterr().out
    assert "right among the first 1, pairs, too: 1.000 -> 1.000" in printed


def test_the_passages_of_a_question_have_their_features(tmp_path: Path) -> None:
    embedder = embed.load()
    assert embedder is not None
    (tmp_path / "a.md").write_text(
        "# Printer\n\n## Test\n\nA test printer.\n\n## Trip\n\nA train leaves."
    )
    build(tmp_path, tmp_path / "index.db", embedder)
    index = Index(tmp_path / "index.db")
    found = ask(Search(index, embedder), Question("test printer", ("a test",), frozenset()))
    index.close()
    assert found.features.shape == (2, 4)
    # Three words of thirty; three passages, with that of the title; its one pair of words.
    right = [math.log(31 / 4), math.log(3 / 30), 1.0]
    assert found.features[found.right][0, 1:] == pytest.approx(right)
    assert found.features[~found.right][0, 3] == 0
    assert shown([found], np.array([1.0, 0.0, 0.0, 0.0]), 1) == [1.0]
