"""Does an engine serve this version, and nothing else? Its answers against the reference's.

probes.json of a version has what base and adapter together say to a dozen questions
(training/artefacts/reference.py). Any engine that speaks OpenAI's API and gives log-probabilities
is asked the same, with the prompts as token ids and as messages:

- log-probabilities of tokens that matter are the reference's, within a tolerance;
- the likeliest token is the reference's wherever that one is ahead by more than the tolerance;
- what the adapter changes is there once: a base without it has none of it, a merge by a wrong
  scale another part;
- messages become as many tokens as in training, and have the same answer: the chat template.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.core.errors import AskdocsError
from gateway.knowledge.sources.sync import Progress

FILE = "probes.json"
TOP = 20
MATTERS = math.log(0.01)
"""Log-probability from which on a token of the reference matters."""
TIMEOUT = 300.0  # seconds for one question; the first one of an engine may wait for its warm-up


class Limits(NamedTuple):
    """What an engine may differ by."""

    furthest: float
    """|difference| of any log-probability that matters, nats."""
    mean: float
    """The same, on average."""
    share: float
    """|1 - share of the adapter|."""


# By the bits of the weights. About twice what SmolLM2-135M showed (docs/results/notebook.md), which
# as a small model feels rounding more than larger ones: 16 bits in vLLM, which computes in bf16,
# too, the others in llama.cpp. What must fail is beyond: q and k rotated wrongly is off by 5.1 and
# 1.45.
LIMITS = {16: Limits(0.6, 0.1, 0.1), 8: Limits(0.8, 0.15, 0.2), 4: Limits(2.0, 0.5, 0.4)}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProbePoint(_Strict):
    """The reference's likeliest tokens after a part of an answer, and the base's view of them."""

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
    """The content of probes.json; those of older versions have more in them."""

    model_config = ConfigDict(extra="ignore")

    dtype: str
    """Of the reference: float32 or bfloat16."""
    seed: int
    probes: tuple[Probe, ...]


class ProbeResult(NamedTuple):
    """How an engine did."""

    furthest: float
    mean: float
    share: float
    """Of what the adapter changes, how much is there: 1 all of it, 0 none."""
    clear: int
    """Places where the reference is sure of its token."""
    agreed: int
    """Of these, where the engine took the same."""
    problems: tuple[str, ...]
    """Why it failed; empty when it passed."""

    @property
    def passed(self) -> bool:
        return not self.problems

    def facts(self) -> dict[str, Any]:
        """For a manifest."""
        numbers = {name: round(getattr(self, name), 4) for name in ("furthest", "mean", "share")}
        return {**self._asdict(), **numbers, "problems": list(self.problems)}


def read(file: Path) -> Probes:
    """The probes of a version. Raises AskdocsError: there are none, or they are not valid."""
    try:
        return Probes.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        raise AskdocsError(f"{file}: no such file: it has no probes: train it again") from None
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
        model: the name under which it serves what is probed.
        probes: of the version.
        limits: what it may differ by.
        progress: see `Progress`.
        key: the engine's API key, if it wants one.

    Raises:
        AskdocsError: it does not answer, or not as such an engine answers.
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
                    f" {len(probe.prompt)} in training"
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
    """Each limit that is not kept."""
    if math.isnan(result.share):
        yield "adapter: it changes nothing by which it could be told from the base"
    elif abs(1 - result.share) > limits.share:
        yield (
            f"adapter: {result.share:.0%} of what it changes is there"
            f" (limit {1 - limits.share:.0%} to {1 + limits.share:.0%})"
        )
    if result.furthest > limits.furthest:
        yield f"log-probability: off by {result.furthest:.2f} (limit {limits.furthest})"
    if result.mean > limits.mean:
        yield f"log-probabilities: off by {result.mean:.3f} on average (limit {limits.mean})"
    if result.agreed < result.clear:
        yield f"likeliest token: another one at {result.clear - result.agreed} of {result.clear}"


def _pairs(place: ProbePoint, logprobs: dict[int, float]) -> list[tuple[float, float, float]]:
    """Engine, reference and base on the tokens that matter. What the engine does not list has at
    most its least likely one's log-probability."""
    least = min(logprobs.values())
    return [
        (logprobs.get(token, min(least, reference)), reference, base)
        for token, reference, base in zip(place.tokens, place.logprobs, place.base, strict=True)
        if reference >= MATTERS
    ]


def _furthest(pairs: list[tuple[float, float, float]]) -> float:
    return max(abs(engine - reference) for engine, reference, _ in pairs)


def share(pairs: list[tuple[float, float, float]]) -> float:
    """How far on the way from the base to the reference the engine is, by least squares.

    `pairs` are log-probabilities of engine, reference and base. NaN: there is no way to go.
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
    """How many tokens messages are, and log-probabilities of the answer's first token."""
    body = {"messages": messages, "logprobs": True, "top_logprobs": TOP}
    return _post(client, "chat/completions", model, body)


def _listed(logprobs: dict[str, Any]) -> dict[int, float]:
    if "top_logprobs" in logprobs:  # of a prompt; llama.cpp answers as for messages, though
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
    """Tokens of the prompt, and log-probabilities of the likeliest tokens behind it."""
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
            f"{url}: {response.text[:200]!r} is no answer of an engine that gives"
            " log-probabilities: probe llama.cpp or vLLM"
        )
    return tokens, logprobs
