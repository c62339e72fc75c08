"""Token probabilities of `/v1/completions` in OpenAI's form, where llama.cpp gives those of a chat.

https://platform.openai.com/docs/api-reference/completions/object
"""

from typing import Any


class Probabilities:
    """Of one response."""

    def __init__(self) -> None:
        self._ends: dict[int, int] = {}  # by choice: characters of its text so far

    def settle(self, choice: dict[str, Any]) -> None:
        """Put those of a choice, or of a chunk of it, into the form."""
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
