"""Adds up the usage of one answer from its chunks."""

from collections.abc import Mapping
from typing import Any

NO_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
"""The usage of an answer that called no model."""


def stated(usage: Mapping[str, Any]) -> dict[str, Any]:
    """The usage for clients: without the null fields of vLLM and LiteLLM, which OpenAI omits, and
    without the counts of caches, which tell whether somebody else has sent the same text."""
    shown = {
        name: stated(value) if isinstance(value, dict) else value
        for name, value in usage.items()
        if value is not None and "cache" not in name
    }
    return {name: value for name, value in shown.items() if value != {}}


class UsageSum:
    """Adds up llama.cpp's usage, which is per choice; other engines report one for all choices.

    llama.cpp is recognised by the `timings` beside its usage.
    """

    def __init__(self, copies: int = 1) -> None:
        """`copies`: choices per prompt, which counts once (`n`)."""
        self._copies = copies
        self._apart: dict[int, Mapping[str, Any]] = {}  # by choice; negative if no choice is named
        self._stated: dict[str, Any] | None = None

    @property
    def is_apart(self) -> bool:
        return bool(self._apart)

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Add the usage of a chunk or a complete answer, if it has one."""
        usage, timings = chunk.get("usage"), chunk.get("timings")
        if not isinstance(timings, dict):
            if isinstance(usage, dict):
                self._stated = usage
            return
        if not isinstance(usage, dict) and (usage := _of_timings(timings)) is None:
            return
        choices = chunk.get("choices")
        number = choices[0].get("index", 0) if choices else None
        if isinstance(number, int):
            self._apart[number] = usage
        elif max(self._apart, default=-1) < 0:  # otherwise it repeats the usage of its choices
            self._apart[-1 - len(self._apart)] = usage

    @property
    def total(self) -> dict[str, Any] | None:
        """The total usage. None: no usage was reported."""
        if not self._apart:
            return self._stated
        if len(self._apart) == 1:
            return dict(*self._apart.values())
        prompts: dict[int, tuple[int, int]] = {}
        completion = 0
        for number, usage in self._apart.items():
            details = usage.get("prompt_tokens_details")
            cached = details.get("cached_tokens") if isinstance(details, dict) else 0
            place = number // self._copies if number >= 0 else 0
            read = _count(usage.get("prompt_tokens")), _count(cached)
            # A prompt's first copy is read; its other copies come from the cache.
            known = prompts.get(place, read)
            prompts[place] = (max(known[0], read[0]), min(known[1], read[1]))
            completion += _count(usage.get("completion_tokens"))
        prompt = sum(tokens for tokens, _ in prompts.values())
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {
                "cached_tokens": sum(cached_tokens for _, cached_tokens in prompts.values())
            },
        }


def _of_timings(timings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Reads the usage from llama.cpp's `timings_per_token`, present in every chunk."""
    try:
        cached, read, written = (int(timings[n]) for n in ("cache_n", "prompt_n", "predicted_n"))
    except (TypeError, KeyError, ValueError):
        return None
    return {
        "prompt_tokens": cached + read,
        "completion_tokens": written,
        "total_tokens": cached + read + written,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0
