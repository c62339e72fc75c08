"""The engine's prefix cache hit rate, from the gateway's metrics."""

from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.metrics import PREFIX

_ASKED = PREFIX + "engine_prompt_tokens"
_FOUND = PREFIX + "engine_cached_tokens"
_PROMPTS = PREFIX + "tokens_total"
_CACHED = PREFIX + "cached_tokens_total"


def read(gateway: str) -> dict[str, Any] | None:
    """The gateway's view of the prefix cache; None if it does not answer.

    `requests` counts client requests since the gateway's start, `engines` everything that each
    engine processed since its own start, prefilled pages included. A hit rate is None before the
    first prompt.
    """
    try:
        # The gateway is local: bypass a proxy from the environment.
        reply = httpx.get(f"{gateway}/metrics", timeout=5, trust_env=False)
        reply.raise_for_status()
    except httpx.HTTPError:
        return None
    requests = {"prompt_tokens": 0, "cached_tokens": 0}
    engines: dict[str, dict[str, int]] = {}
    for family in text_string_to_metric_families(reply.text):
        for sample in family.samples:
            value = int(sample.value)
            if sample.name == _PROMPTS and sample.labels["kind"] == "prompt":
                requests["prompt_tokens"] += value
            elif sample.name == _CACHED:
                requests["cached_tokens"] += value
            elif sample.name in (_ASKED, _FOUND):
                of = engines.setdefault(sample.labels["model"], {})
                of["prompt_tokens" if sample.name == _ASKED else "cached_tokens"] = value
    return {
        "requests": _rated(requests),
        "engines": {model: _rated(counts) for model, counts in sorted(engines.items())},
    }


def summary(facts: dict[str, Any]) -> str:
    """A one-line summary."""
    parts = [f"requests {_share(facts['requests'])}"]
    parts += [f"model {model}: {_share(counts)}" for model, counts in facts["engines"].items()]
    return "; ".join(parts)


def _rated(counts: dict[str, int]) -> dict[str, Any]:
    prompt_tokens = counts["prompt_tokens"]
    return {
        **counts,
        "hit_rate": round(counts["cached_tokens"] / prompt_tokens, 4) if prompt_tokens else None,
    }


def _share(counts: dict[str, Any]) -> str:
    if counts["hit_rate"] is None:
        return "no requests yet"
    return f"{counts['hit_rate']:.0%} of {counts['prompt_tokens']:,} prompt tokens"
