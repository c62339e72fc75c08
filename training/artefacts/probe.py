"""Probes whether an engine serves exactly this version, by comparison with reference answers.

A version's probes.json contains the answers of base model plus adapter to a dozen questions
(training/artefacts/reference.py). Any engine with OpenAI's API and log-probabilities is asked the
same, with prompts as token ids and as messages:

- log-probabilities of relevant tokens match the reference's within a tolerance;
- the likeliest token is the reference's wherever it leads by more than the tolerance;
- the adapter's effect is preserved: a base model without it has none of the effect, a merge with a
  wrong scale another share;
- the chat template is the same: messages have as many tokens as in training, and the same answer.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import AskdocsError
from wiki.sources.sync import Progress

FILE = "probes.json"
TOP = 20
MATTERS = math.log(0.01)
"""Minimum log-probability of a relevant reference token."""
TIMEOUT = 300.0  # seconds per question; the first may wait for the engine's warm-up


class Limits(NamedTuple):
    """Tolerances for an engine."""

    furthest: float
    """Maximum |difference| of any relevant log-probability, nats."""
    mean: float
    """Maximum mean of these differences."""
    share: float
    """Maximum |1 - share of the adapter's effect|."""


# By bits per weight. About twice the values of SmolLM2-135M (research/notebook.md), which as a
# small model is more sensitive to rounding than larger ones: 16 bits in vLLM, which also computes
# in bf16, the others in llama.cpp. Real errors exceed them: wrongly rotated q and k differ by 5.1
# and 1.45.
LIMITS = {16: Limits(0.6, 0.1, 0.1), 8: Limits(0.8, 0.15, 0.2), 4: Limits(2.0, 0.5, 0.4)}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProbePoint(_Strict):
    """The reference's likeliest tokens after part of an answer, and the base model's view of
    them."""

    after: int
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    base: tuple[float, ...]


class Probe(_Strict):
    """A question: its messages, their token ids, and the beginning of an answer."""

    messages: list[dict[str, Any]]
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    places: tuple[ProbePoint, ...]


class Probes(_Strict):
    """The content of probes.json; files of older versions have further fields."""

    model_config = ConfigDict(extra="ignore")

    dtype: str
    """The reference's dtype: float32 or bfloat16."""
    seed: int
    probes: tuple[Probe, ...]


class ProbeResult(NamedTuple):
    """An engine's results."""

    furthest: float
    mean: float
    share: float
    """Share of the adapter's effect that is present: 1 all, 0 none."""
    clear: int
    """Places where the reference is sure of its token."""
    agreed: int
    """Those of them where the engine chose the same token."""
    problems: tuple[str, ...]
    """Why it failed; empty if it passed."""

    @property
    def passed(self) -> bool:
        return not self.problems

    def facts(self) -> dict[str, Any]:
        """Facts for a manifest."""
        numbers = {name: round(getattr(self, name), 4) for name in ("furthest", "mean", "share")}
        return {**self._asdict(), **numbers, "problems": list(self.problems)}


def read(file: Path) -> Probes:
    """Read a version's probes. Raises AskdocsError: they are missing or invalid."""
    try:
        return Probes.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        raise AskdocsError(
            f"{file}: no such file, so there are no probes: train the version again"
        ) from None
    except (OSError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise AskdocsError(f"{file}: cannot be read ({first}): verify the version") from None


def ask(
    url: str,
    model: str,
    probes: Probes,
    limits: Limits,
    progress: Progress,
    key: str | None = None,
) -> ProbeResult:
    """Probe an engine.

    Args:
        url: its base URL, with /v1.
        model: the name of the probed model at the engine.
        probes: the version's probes.
        limits: the tolerances.
        progress: see `Progress`.
        key: the engine's API key, if required.

    Raises:
        AskdocsError: the engine does not answer, or its response is unsuitable.
    """
    problems: list[str] = []
    pairs: list[tuple[float, float, float]] = []
    clear = agreed = 0
    base, headers = f"{url.rstrip('/')}/", {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=base, headers=headers, timeout=TIMEOUT) as client:
        for number, probe in enumerate(probes.probes):
            progress("probing", number, len(probes.probes))
            for place in probe.places:
                logprobs = _completion(client, model, [*probe.prompt, *probe.answer[: place.after]])
                pairs += _pairs(place, logprobs)
                if place.logprobs[0] - place.logprobs[1] > limits.furthest:
                    clear += 1
                    agreed += max(logprobs, key=logprobs.__getitem__) == place.tokens[0]
            tokens, logprobs = _chat(client, model, probe.messages)
            if tokens != len(probe.prompt):
                problems.append(
                    f"chat template: the messages of probe {number + 1} are {tokens} tokens here,"
                    f" {len(probe.prompt)} in training: start the engine with the version's"
                    " adapter/chat_template.jinja (vLLM: --chat-template)"
                )
            elif (off := _furthest(_pairs(probe.places[0], logprobs))) > limits.furthest:
                problems.append(
                    f"chat template: probe {number + 1} differs by {off:.2f} as messages"
                    f" (limit {limits.furthest})"
                )
    progress("probing", len(probes.probes), len(probes.probes))
    differences = [abs(engine - reference) for engine, reference, _ in pairs]
    result = ProbeResult(
        furthest=max(differences),
        mean=sum(differences) / len(differences),
        share=share(pairs),
        clear=clear,
        agreed=agreed,
        problems=tuple(problems[:1]),
    )
    return result._replace(problems=(*result.problems, *judged(result, limits)))


def judged(result: ProbeResult, limits: Limits) -> Iterator[str]:
    """A problem for each exceeded limit."""
    if math.isnan(result.share):
        yield "adapter: its effect is too small to distinguish from the base model"
    elif abs(1 - result.share) > limits.share:
        yield (
            f"adapter: {result.share:.0%} of its effect is preserved (limit "
            f"{1 - limits.share:.0%} to {1 + limits.share:.0%})"
        )
    if result.furthest > limits.furthest:
        yield f"log-probability: off by {result.furthest:.2f} (limit {limits.furthest})"
    if result.mean > limits.mean:
        yield f"log-probabilities: off by {result.mean:.3f} on average (limit {limits.mean})"
    if result.agreed < result.clear:
        yield f"likeliest token: differs at {result.clear - result.agreed} of {result.clear}"


def _pairs(place: ProbePoint, logprobs: dict[int, float]) -> list[tuple[float, float, float]]:
    """Log-probabilities of the relevant tokens in engine, reference and base. A token that the
    engine does not list gets its lowest listed log-probability."""
    least = min(logprobs.values())
    return [
        (logprobs.get(token, min(least, reference)), reference, base)
        for token, reference, base in zip(place.tokens, place.logprobs, place.base, strict=True)
        if reference >= MATTERS
    ]


def _furthest(pairs: list[tuple[float, float, float]]) -> float:
    return max(abs(engine - reference) for engine, reference, _ in pairs)


def share(pairs: list[tuple[float, float, float]]) -> float:
    """The share of the adapter's effect in the engine, by least squares.

    `pairs` are log-probabilities of engine, reference and base. NaN: the adapter has no effect.
    """
    way = sum((reference - base) ** 2 for _, reference, base in pairs)
    gone = sum((engine - base) * (reference - base) for engine, reference, base in pairs)
    return gone / way if way else math.nan


def _completion(client: httpx.Client, model: str, prompt: list[int]) -> dict[int, float]:
    """Log-probabilities of the next token."""
    _, logprobs = _post(client, "completions", model, {"prompt": prompt, "logprobs": TOP})
    return logprobs


def _chat(
    client: httpx.Client, model: str, messages: list[dict[str, Any]]
) -> tuple[int, dict[int, float]]:
    """The number of tokens of messages, and log-probabilities of the answer's first token."""
    body = {"messages": messages, "logprobs": True, "top_logprobs": TOP}
    return _post(client, "chat/completions", model, body)


def _listed(logprobs: dict[str, Any]) -> dict[int, float]:
    if "top_logprobs" in logprobs:  # raw prompt; llama.cpp differs
        return {_id(token): value for token, value in logprobs["top_logprobs"][0].items()}
    return {
        candidate["id"] if "id" in candidate else _id(candidate["token"]): candidate["logprob"]
        for candidate in logprobs["content"][0]["top_logprobs"]
    }


def _id(token: str) -> int:
    return int(token.removeprefix("token_id:"))


def _post(
    client: httpx.Client, path: str, model: str, body: dict[str, Any]
) -> tuple[int, dict[int, float]]:
    """The number of prompt tokens, and log-probabilities of the likeliest next tokens."""
    url = f"{client.base_url}{path}"
    fixed = {"model": model, "max_tokens": 1, "temperature": 0, "return_tokens_as_token_ids": True}
    try:
        response = client.post(path, json={**fixed, **body})
    except httpx.HTTPError as error:
        raise AskdocsError(f"{url}: no answer ({error!r}): is the engine running?") from None
    if response.status_code != 200:
        raise AskdocsError(
            f"{url}: {response.status_code} {response.text[:200]!r}: the engine must serve"
            f" {model} and give log-probabilities"
        )
    try:
        answer = response.json()
        logprobs = _listed(answer["choices"][0]["logprobs"])
        tokens = int(answer["usage"]["prompt_tokens"])
    except (ValueError, LookupError, TypeError):
        logprobs = {}
    if not logprobs:
        raise AskdocsError(
            f"{url}: {response.text[:200]!r} is not the answer of an engine with "
            "log-probabilities: probe llama.cpp or vLLM"
        )
    return tokens, logprobs
