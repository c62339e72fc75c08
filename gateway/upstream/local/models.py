"""Models in the gateway's own process, which need no engine and no provider's key.

`minilm` computes embeddings (/v1/embeddings), `local` ranks texts by how well they answer a
question (/v1/rerank). Both use the search's embedding model. One thread serves all requests, one
window of text at a time, so that a long list does not delay other questions, and stops when its
client disconnects.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from core.errors import AskdocsError, bundled_models
from gateway.http.asgi import JSON, ApiError, dump
from wiki.index.embed import Onnx, Vectors

EMBEDDINGS = "minilm"
RERANK = "local"
# The limit of OpenAI's embedding models, and 32 times this model's window.
CONTEXT = 8192
# No language has this many characters per token; tokenizing the text to find out would take
# seconds.
CHARACTERS = 32 * CONTEXT

T = TypeVar("T")


class EmbeddingThread:
    """The embedding model, in its own thread."""

    def __init__(self, embedder: Onnx | None) -> None:
        """`embedder` None: every call raises AskdocsError."""
        self._embedder = embedder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reader")

    async def windows(self, place: str, text: str) -> list[list[int]]:
        """Tokenizes a text into windows, see `Onnx.windows`.

        Raises:
            ApiError: 400, with `place` as its param: the text is too long.
            AskdocsError: there is no model.
        """
        tokens = None
        if len(text) <= CHARACTERS:
            windows = await self.run(partial(self._model.windows, text))
            tokens = sum(map(len, windows))
            if tokens <= CONTEXT:
                return windows
        size = f"{tokens:,} tokens" if tokens else f"{len(text):,} characters"
        raise ApiError(
            400,
            f"{place} has {size}, and the model reads at most {CONTEXT:,} tokens: cut it up",
            param=place,
            code="context_length_exceeded",
        )

    async def read(self, window: list[int]) -> Vectors:
        """A vector for each token, see `Onnx.read`."""
        return await self.run(partial(self._model.read, window))

    @property
    def _model(self) -> Onnx:
        if self._embedder is None:
            raise AskdocsError(f"the embedding model is not installed: run `{bundled_models()}`")
        return self._embedder

    async def run(self, work: Callable[[], T]) -> T:
        """Runs `work` in turn, and returns its result."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class Local:
    """One of the local models."""

    name: str
    path: str
    """The endpoint that it answers, without /v1."""
    mode: str
    """Its mode, in LiteLLM's terms: embedding or rerank."""
    answer: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
    """Answers a request. Raises ApiError, or AskdocsError if there is no model."""

    async def open(self, path: str, request: dict[str, Any]) -> "Whole":
        """The response, in an engine's format. Raises as `answer`."""
        if path != self.path:
            raise ApiError(
                400,
                f"{self.name} is for /v1{self.path}; it does not answer /v1{path}",
                param="model",
                code="model_not_supported",
            )
        return Whole(dump(await self.answer(request)))


class Whole:
    """A complete response, with the interface of an engine's."""

    status = 200

    def __init__(self, body: bytes) -> None:
        self._body = body

    def header(self, name: bytes) -> bytes:
        return JSON.encode() if name == b"content-type" else b""

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._body

    def close(self) -> None:
        pass


def refused(place: str, message: str) -> ApiError:
    return ApiError(400, message, param=place)
