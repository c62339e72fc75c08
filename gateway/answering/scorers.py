"""Clients of scoring models that estimate how likely a passage supports a sentence.

`chat` requests one token after the messages that led to the answer, whose pages the engine has in
its prefix cache. `rerank` is the format of Cohere and Jina, which vLLM, TEI and llama.cpp support;
`score` and `classify` are vLLM's: https://docs.vllm.ai/en/latest/models/pooling_models/.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import httpx

from core.errors import AskdocsError
from gateway.answering.claims import THRESHOLD
from gateway.answering.grounding.neutral import neutral
from gateway.answering.grounding.prompt import Message
from gateway.answering.judge import SUFFIX, Judge
from gateway.api.endpoints import CHAT
from gateway.settings import ENGINE, GatewaySettings
from gateway.upstream.engine import Engine
from gateway.upstream.salt import salted

Judges = Literal["chat", "rerank", "score", "classify"]

QUESTION = """Is this statement supported by the documentation above?

Statement: {}

Answer with one word, yes or no. It is no if any part of it is not there: a number, a name, a\
 condition, a negation."""
# Maximum sentences to score concurrently.
AT_ONCE = 8
# The number of most likely tokens to search for the answer.
TOP = 10
_SUPPORTED, _NOT = ("yes", "ja", "oui", "true"), ("no", "nein", "non", "false")


class Endpoint:
    """A model behind one of these endpoints. Call `close` when done."""

    beside = False

    def __init__(
        self,
        url: str,
        model: str | None = None,
        key: str | None = None,
        judges: Judges = "chat",
        threshold: float = 0.5,
        name: str = ENGINE,
    ) -> None:
        """`url` is the base URL with /v1. `model` None: the first model that it lists."""
        self.name = name
        self.threshold = threshold
        self._url = url.rstrip("/")
        self._model = model
        self._judges = judges
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers["Connection"] = "close"  # llama.cpp announces keep-alive, but closes the connection
        self._http = httpx.AsyncClient(headers=headers, timeout=httpx.Timeout(30, connect=2))
        self._engine = Engine(url, key, model)

    async def close(self) -> None:
        await self._http.aclose()
        await self._engine.close()

    async def scores(
        self,
        sentences: Sequence[str],
        passages: Sequence[str],
        prefix: Sequence[Message],
        salt: str = "",
    ) -> list[float]:
        """Returns 0 to 1 per sentence. Raises AskdocsError, httpx.HTTPError."""
        if self._judges == "score":
            body = {"text_1": list(passages), "text_2": list(sentences)}
            data = _list(await self._post(f"{self._url}/score", body), "data", len(sentences))
            return [_number(row.get("score")) for row in data]
        if self._judges == "classify":
            pairs = [
                f"{passage}\n\n{sentence}"
                for passage, sentence in zip(passages, sentences, strict=True)
            ]
            root = self._url.removesuffix("/v1")
            reply = await self._post(f"{root}/classify", {"input": pairs})
            # The last class means supported, in models with one class and with two.
            return [
                _number((row.get("probs") or [None])[-1])
                for row in _list(reply, "data", len(sentences))
            ]
        turns = asyncio.Semaphore(AT_ONCE)

        async def scored(sentence: str, passage: str) -> float:
            async with turns:
                if self._judges == "rerank":
                    return await self._reranked(sentence, passage)
                return await self._answered(sentence, prefix, salt)

        return list(await asyncio.gather(*map(scored, sentences, passages)))

    async def _reranked(self, sentence: str, passage: str) -> float:
        body = {"query": sentence, "documents": [passage]}
        (row,) = _list(await self._post(f"{self._url}/rerank", body), "results", 1)
        return _number(row.get("relevance_score"))

    async def _answered(self, sentence: str, prefix: Sequence[Message], salt: str) -> float:
        question = {"role": "user", "content": QUESTION.format(neutral(sentence.strip()))}
        body: dict[str, Any] = {
            "messages": [*prefix, question],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": TOP,
        }
        body = await salted(CHAT.path, body, salt, self._engine)
        reply = await self._post(f"{self._url}/chat/completions", body)
        try:
            first = reply["choices"][0]["logprobs"]["content"][0]
            top = first.get("top_logprobs") or [first]
            likely = {row["token"]: math.exp(float(row["logprob"])) for row in top}
        except (KeyError, IndexError, TypeError, ValueError):
            raise AskdocsError(f"{self._url} returns no token probabilities") from None
        return _yes(likely)

    async def _post(self, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
        model = self._model or await self._first()
        reply = await self._http.post(url, json={"model": model, **body})
        if reply.status_code != 200:
            raise AskdocsError(f"{url} answers {reply.status_code}: {reply.text[:200]}")
        try:
            answer = reply.json()
        except ValueError:
            raise AskdocsError(f"{url} does not answer with JSON") from None
        if not isinstance(answer, dict):
            raise AskdocsError(f"{url} does not answer with an object")
        return answer

    async def _first(self) -> str:
        reply = await self._http.get(f"{self._url}/models")
        try:
            self._model = str(reply.json()["data"][0]["id"])
        except (ValueError, KeyError, IndexError, TypeError):
            raise AskdocsError(f"{self._url} lists no model") from None
        return self._model


def load(settings: GatewaySettings, env: Mapping[str, str]) -> Endpoint | Judge | None:
    """Loads the checker in the settings. Raises AskdocsError: the file is not a judge."""
    name = settings.checker
    if name is None:
        return None
    if name.endswith(SUFFIX):
        return Judge(Path(name).expanduser(), THRESHOLD)
    if name == ENGINE:
        key = settings.engine_key.get_secret_value() if settings.engine_key else None
        return Endpoint(
            settings.engine_url, settings.engine_model, key, threshold=settings.checker_threshold
        )
    entry = settings.models[name]
    assert entry.url is not None
    threshold = settings.checker_threshold if entry.threshold is None else entry.threshold
    key = env.get(entry.key_env) if entry.key_env else None
    return Endpoint(entry.url, entry.model, key, entry.judges, threshold, name)


def _yes(likely: Mapping[str, float]) -> float:
    """The share of yes among yes and no; 0.5 if the model says neither."""
    likelihood = {"yes": 0.0, "no": 0.0}
    for token, probability in likely.items():
        word = token.strip(" \n\t\"'*.Ġ▁").lower()
        for name, words in (("yes", _SUPPORTED), ("no", _NOT)):
            if word in words:
                likelihood[name] += probability
    total = likelihood["yes"] + likelihood["no"]
    return likelihood["yes"] / total if total else 0.5


def _list(reply: Mapping[str, Any], name: str, count: int) -> list[dict[str, Any]]:
    """The objects of a reply, in request order. Raises AskdocsError."""
    rows = reply.get(name)
    if not isinstance(rows, list) or len(rows) != count:
        raise AskdocsError(f"the checker did not return {count} {name}")
    return sorted(rows, key=lambda row: int(row.get("index", 0)))


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise AskdocsError(f"the checker returned {value!r} instead of a score")
    return float(value)
