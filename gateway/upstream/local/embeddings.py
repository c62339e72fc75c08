"""`/v1/embeddings`, answered by the model in this process.

https://platform.openai.com/docs/api-reference/embeddings
"""

import base64
from typing import Any

import numpy as np
import orjson

from gateway.upstream.local.models import EMBEDDINGS, EmbeddingThread, Local, refused
from wiki.index.embed import SIZE, Vectors, unit

INPUTS = 2048  # texts per request, as at OpenAI


def model(reader: EmbeddingThread) -> Local:
    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        texts = _texts(request)
        if (size := request.get("dimensions")) not in (None, SIZE):
            text = f"dimensions must be {SIZE} (it is {size}), which this model requires"
            raise refused("dimensions", text)
        is_list = isinstance(request["input"], list)
        data, tokens = [], 0
        for number, text in enumerate(texts):
            windows = await reader.windows(f"input[{number}]" if is_list else "input", text)
            tokens += sum(map(len, windows))
            vector = await embedded(reader, windows)
            shown = _shown(vector, request.get("encoding_format"))
            item = {"object": "embedding", "index": number, "embedding": shown}
            # Serialise one by one: all 2,048 at once would block the event loop for 60 ms.
            data.append(orjson.Fragment(orjson.dumps(item)))
        return {
            "object": "list",
            "data": data,
            "model": EMBEDDINGS,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    return Local(EMBEDDINGS, "/embeddings", "embedding", answer)


async def embedded(reader: EmbeddingThread, windows: list[list[int]]) -> Vectors:
    """The vector of a text, [384], of length 1.

    For a text longer than a window, it is the mean of the windows' vectors, weighted by length:
    https://cookbook.openai.com/examples/embedding_long_inputs
    """
    means = [unit((await reader.read(window)).mean(axis=0)) for window in windows]
    return unit(np.average(means, axis=0, weights=[len(window) for window in windows]))


def _texts(request: dict[str, Any]) -> list[str]:
    """Raises ApiError 400."""
    given = request["input"]
    texts: list[Any] = given if isinstance(given, list) else [given]
    if not all(isinstance(text, str) for text in texts):
        raise refused(
            "input",
            "input has token ids of another model: send text (in LangChain,"
            " check_embedding_ctx_length=False)",
        )
    if len(texts) > INPUTS:
        raise refused("input", f"input has {len(texts):,} texts: send at most {INPUTS:,} at once")
    return texts


def _shown(vector: Vectors, encoding: str | None) -> str | list[float]:
    small = vector.astype("<f4")
    if encoding == "base64":
        return base64.b64encode(small.tobytes()).decode()
    numbers: list[float] = small.tolist()
    return numbers
