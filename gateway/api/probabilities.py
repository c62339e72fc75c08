"""Converts llama.cpp's token probabilities for `/v1/completions` from the form of a chat to
OpenAI's.

https://platform.openai.com/docs/api-reference/completions/object
"""

from typing import Any


class Probabilities:
    """Converts the probabilities of one response."""

    def __init__(self) -> None:
        self._ends: dict[int, int] = {}  # by choice: characters of its text so far

    def settle(self, choice: dict[str, Any]) -> None:
        """Convert the probabilities of a choice, or of a chunk of it."""
        logprobs = choice.get("logprobs")
        content = logprobs.get("content") if isinstance(logprobs, dict) else None
        if not isinstance(content, list):
            return
        tokens = [token for token in content if isinstance(token, dict)]
        number = choice.get("index", 0)
        offsets, end = [], self._ends.get(number, 0)
        for token in tokens:
            offsets.append(end)
            end += len(_text(token))
        self._ends[number] = end
        choice["logprobs"] = {
            "tokens": [_text(token) for token in tokens],
            "token_logprobs": [token.get("logprob") for token in tokens],
            "top_logprobs": [
                {_text(other): other.get("logprob") for other in token.get("top_logprobs") or ()}
                for token in tokens
            ],
            "text_offset": offsets,
        }


def _text(token: dict[str, Any]) -> str:
    return str(token.get("token", ""))
