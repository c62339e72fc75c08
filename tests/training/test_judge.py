"""The pairs that a judge of claims is trained on, and what a training changes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.knowledge.search.embed import tokenizer_file
from tests import starting
from tests.training.test_finetune import python
from training.encoders import pairs, rewrite

__all__ = ["python"]
ANSWERS = Path(__file__).parents[1] / "answers"
PAGE = ["The cache is read by the server.", "The queue is 50 jobs long.", "A worker may wait."]
WIKI = """# Server

## Start

If the cache is empty, the server reads all pages from the disk before it answers.
The server must be started by an administrator who may read the settings.
By default, a worker waits 30 seconds before it stops, and then it can be started again.
Backups are not written unless the disk has 5 GB of free space.

## Stop

The server can be stopped at any time without losing a question.
Some workers may need a minute until they have answered the last question.
"""


@pytest.mark.parametrize(
    ("way", "sentence", "results"),
    [
        (rewrite.negated, "The cache is empty.", {"The cache is not empty."}),
        (rewrite.negated, "It does not start.", {"It start.", "It does not stop."}),
        (rewrite.raised, "A worker may wait.", {"A worker will wait.", "Every worker may wait."}),
        (rewrite.mixed, "It has 14 jobs.", {"It has 50 jobs."}),
        (rewrite.misplaced, "It runs on Windows.", {"It runs on Linux.", "It runs on macOS."}),
        (rewrite.disordered, "Stop it, then wait here.", {"Wait here, then stop it."}),
    ],
)
def test_a_mistake_changes_what_a_sentence_says(way: Any, sentence: str, results: set[str]) -> None:
    made = {way(sentence, PAGE, Random(seed)) for seed in range(60)}
    assert results <= made


def test_who_does_what_is_exchanged_and_an_order_of_words_is_not() -> None:
    sentence = "The cache is read by the server."
    assert rewrite._activated(sentence, Random()) == "The server reads the cache."
    assert rewrite._exchanged(sentence, PAGE, Random()) == "The cache reads the server."
    turned = rewrite._turned("If it is full, the server stops.", Random())
    assert turned == "The server stops if it is full."


def made(monkeypatch: pytest.MonkeyPatch, out: Path, *words: str) -> list[dict[str, Any]]:
    monkeypatch.setattr(sys, "argv", ["pairs", *words, "--out", str(out)])
    pairs.main()
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_a_documentation_becomes_right_sentences_beside_wrong_twins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiki = tmp_path / "wiki"
    wiki.mkdir()
    (wiki / "server.md").write_text(WIKI)
    groups = made(monkeypatch, tmp_path / "pairs.jsonl", "--docs", str(wiki))
    assert len(groups) >= 3
    for group in groups:
        right, wrong = group["claims"]
        assert (right["supported"], wrong["supported"]) == (True, False)
        assert right["text"] != wrong["text"]
        assert wrong["text"] not in right["passage"]
        assert right["passage"].startswith("Server ")


def test_labelled_answers_and_written_claims_have_the_same_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--answers", str(ANSWERS / "own_docs.jsonl"), "--docs", str(ANSWERS / "wiki")]
    answers = made(monkeypatch, tmp_path / "answers.jsonl", *words)
    written = made(monkeypatch, tmp_path / "written.jsonl", "--written", "--split", "test")
    for groups in (answers, written):
        claims = [claim for group in groups for claim in group["claims"]]
        assert {claim["supported"] for claim in claims} == {True, False}
        assert all(claim["passage"] and 0 <= claim["rules"] <= 1 for claim in claims)
    assert len(written) < len(made(monkeypatch, tmp_path / "all.jsonl", "--written"))


def test_a_folder_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="gone"):
        made(monkeypatch, tmp_path / "out", "--docs", str(tmp_path / "gone"))


TRAINING = """
import sys
from pathlib import Path
import torch
from training.encoders import encoder, judge
base = Path(sys.argv[1])
torch.set_num_threads(1)
torch.manual_seed(0)
tokenizer = encoder.tokenizer_of(base, judge.TOKENS)
items = judge.read(Path(sys.argv[2]))
claims = [claim for item in items for claim in item]
model = judge.Judge(base)
def gap():
    scores = judge.scored(model, tokenizer, claims)
    right, wrong = ([s for s, c in zip(scores, claims) if c.supported is is_right]
                    for is_right in (True, False))
    return sum(right) / len(right) - sum(wrong) / len(wrong)
before = gap()
for seed in range(4):
    judge.train(model.train(), tokenizer, list(items), judge.RATE, seed)
print("gap", before, gap(), end=" ")
known = [claim._replace(rules=0.5) for claim in claims]
judge.weigh(model, tokenizer, known)
print(*(float(number) for number in model.scale))
"""


def run(python: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(starting.REPO), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [python, *words], cwd=starting.REPO, env=env, capture_output=True, text=True
    )


@pytest.mark.slow
def test_a_short_training_moves_right_sentences_above_wrong_ones(
    python: Path, tmp_path: Path
) -> None:
    file = tmp_path / "pairs.jsonl"
    claims = [
        {"text": "The server is on.", "passage": "The server is on.", "supported": True},
        {"text": "The server is not on.", "passage": "The server is on.", "supported": False},
    ]
    file.write_text(json.dumps({"kind": "negation", "claims": claims}) + "\n")
    done = run(python, "-c", TRAINING, str(tokenizer_file().parent), str(file))
    assert done.returncode == 0, done.stderr
    numbers = done.stdout.partition("gap ")[2].split()
    before, after, beside = float(numbers[0]), float(numbers[1]), float(numbers[-2])
    assert after > before
    assert beside > 0  # of a judge that is right


@pytest.mark.slow
def test_a_line_that_is_no_pair_is_named_by_its_number(python: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"claims": []}\n{"claims": [{"text": "It is on."}]}\n')
    words = ["-m", "training.encoders.judge", str(file), "--base", str(tokenizer_file().parent)]
    done = run(python, *words, "--out", str(tmp_path / "judge.onnx"))
    assert done.returncode == 1
    assert "pairs.jsonl:2: no line of training/encoders/pairs.py" in done.stderr


HELD = """
import sys
from pathlib import Path
from training.encoders.judge import held

for claim in held(Path(sys.argv[1])):
    print(claim.text)
"""


@pytest.mark.slow
def test_each_claim_counts_once_beside_the_rules(python: Path, tmp_path: Path) -> None:
    file = tmp_path / "held.jsonl"
    texts = {"It is on.": True, "It is not on.": False, "It is never on.": False}
    claims: list[dict[str, Any]] = [
        {"text": text, "passage": "It is on.", "supported": supported}
        for text, supported in texts.items()
    ]
    file.write_text(json.dumps({"claims": claims}) + "\n")
    without = run(python, "-c", HELD, str(file))
    assert "held.jsonl: no claim has a score of the rules: " in without.stderr
    file.write_text(json.dumps({"claims": [{**claim, "rules": 0.5} for claim in claims]}) + "\n")
    assert sorted(run(python, "-c", HELD, str(file)).stdout.splitlines()) == sorted(texts)
