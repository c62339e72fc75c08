"""A client of the engine: its models, token counts and prefill speed.

Works with llama.cpp's server, vLLM, and any other OpenAI-compatible server. Values that only some
of them report (context length, token counts) are estimated for the others, and marked as estimates.
"""

import asyncio
import math
import re
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Generic, NamedTuple, TypeVar

import httpx
import orjson

from core.errors import AskdocsError
from core.sse import events
from gateway.http.asgi import retrieved
from gateway.upstream import bounds

# English has about four characters per token; three overestimates the count, which is safer.
CHARACTERS_PER_TOKEN = 3.0
PARTING = -1  # not a token of any model
# Texts that are counted concurrently. httpx scans all waiting requests whenever one finishes: with
# some hundreds, for many cold pages, that alone took a core for minutes.
AT_ONCE = 16
_AWAY = (502, 503, 504)

T = TypeVar("T")


def estimated(text: str) -> int:
    """Estimates the tokens of `text` without an engine: rather too many than too few."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


async def estimate(text: str) -> int:
    """Async version of `estimated`, in place of an engine's count."""
    return estimated(text)


async def estimates(texts: Sequence[str]) -> list[int]:
    """Like `estimate`, for many texts."""
    return [await estimate(text) for text in texts]


class PromptRead(NamedTuple):
    """A prompt that the engine has prefilled."""

    tokens: int
    cached: int
    """The tokens of these that were cached; 0 also if the engine does not report them."""


class Slot(NamedTuple):
    """A slot of llama.cpp, which holds a prompt."""

    id: int
    task: int
    """The number of the last task that used it; task numbers ascend. -1: none did."""
    tokens: int
    """The tokens of the held prompt."""


class PrefixCache(NamedTuple):
    """The engine's cached share of all prompts since it was started."""

    asked: int
    """Tokens of prompts."""
    found: int
    """The tokens of these that were cached."""


class PrefillCount(NamedTuple):
    """The prompt tokens that the engine has read since it was started, without cached ones."""

    tokens: int
    seconds: float


# The engines' metric names: llama.cpp counts the tokens that it read, without cached ones.
_READ = "llamacpp:prompt_tokens_total"
_FOUND = "llamacpp:prompt_tokens_cached_total"
_VLLM_ASKED = "vllm:prefix_cache_queries_total"
_VLLM_FOUND = "vllm:prefix_cache_hits_total"
_SECONDS = "llamacpp:prompt_seconds_total"
_VLLM_SECONDS = "vllm:request_prefill_time_seconds_sum"
_NAMES = "|".join((_READ, _FOUND, _VLLM_ASKED, _VLLM_FOUND, _SECONDS, _VLLM_SECONDS))
_SAMPLE = re.compile(rf"^({_NAMES})(?:\{{.*\}})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class EngineModel:
    """A model of the engine."""

    id: str
    context: int | None
    """The maximum tokens of prompt and answer together; None if the engine does not report it."""


@dataclass(frozen=True)
class Abilities:
    """A model's capabilities beyond reading and writing text."""

    media: frozenset[str] | None = None
    """A subset of vision, audio and video; None if the engine does not report it."""
    tools: bool | None = None
    """Can it call tools? None if the engine does not report it."""
    echo: bool = True
    """Does the engine return the prompt on request? llama.cpp ignores the field."""


TRIES = 5  # connection attempts while this process is held up
LATE_S = 0.01  # a timer's maximum delay while this process is not held up


class _Transport(httpx.AsyncHTTPTransport):
    """Retries connecting while this process itself is held up, and limits the answers."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._response(request)
        bounds.limit(response)
        return response

    async def _response(self, request: httpx.Request) -> httpx.Response:
        patience = request.extensions["timeout"]["connect"]
        for _ in range(TRIES - 1):
            began = time.monotonic()
            try:
                return await super().handle_async_request(request)
            except httpx.ConnectTimeout:
                # A late timer shows that this process lacked CPU time, not the engine.
                if time.monotonic() - began < patience + LATE_S:
                    raise
        return await super().handle_async_request(request)


class _Once(Generic[T]):
    """Looks up a value once for all callers; repeats the look-up if it failed."""

    def __init__(self, find: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._find = find
        self._finding: asyncio.Task[T] | None = None
        self.found: T | None = None

    async def __call__(self) -> T:
        if self.found is None:
            if self._finding is None or self._finding.done():
                self._finding = asyncio.create_task(self._find())
                self._finding.add_done_callback(retrieved)  # all callers may have been cancelled
            self.found = await asyncio.shield(self._finding)
        return self.found


class Engine:
    """HTTP client of one engine. Use it in one event loop, and `close` it there."""

    def __init__(self, url: str, key: str | None = None, model: str | None = None) -> None:
        """`url` is the base URL of the OpenAI API, with /v1. `model` None: the first listed
        model."""
        self.url = url.rstrip("/")
        self._root = self.url.removesuffix("/v1")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # llama.cpp announces keep-alive on a stream and then closes the connection; a new
        # connection per request costs 0.1 ms on one machine and is never stale.
        headers["Connection"] = "close"
        headers["Accept-Encoding"] = bounds.ACCEPTED
        # Engines are nearby: one that does not accept a connection at once is down, and a request
        # with other candidates should not wait for it.
        connect = 2.0 if self.url.startswith("https:") else 0.2
        self._patient = httpx.Timeout(600, connect=connect)
        self._brief = httpx.Timeout(5, connect=connect)
        self._counting = httpx.Timeout(30, connect=connect)
        self._http = httpx.AsyncClient(
            headers=headers, timeout=self._patient, transport=_Transport()
        )
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._wanted = model
        self._model = _Once(self._find_model)
        self._kind = _Once(self._find_kind)
        self._abilities = _Once(self._find_abilities)

    async def close(self) -> None:
        await self._http.aclose()

    async def is_ready(self) -> bool:
        """Does the engine list its models now, with none still loading?"""
        try:
            health = await self._http.get(f"{self._root}/health", timeout=self._brief)
            if health.status_code >= 500 and not await self._has_healthy_replica():
                return False
            models = await self._http.get(f"{self.url}/models", timeout=self._brief)
        except httpx.HTTPError:
            return False
        return models.status_code == 200

    async def _has_healthy_replica(self) -> bool:
        """vLLM's router answers 503 to /health as soon as one of its engines is down."""
        ready = await self._http.get(f"{self._root}/readiness", timeout=self._brief)
        return ready.status_code == 200

    async def model(self) -> EngineModel:
        """The model that requests use.

        Raises:
            AskdocsError: the engine cannot be reached, or does not serve the model.
        """
        return await self._model()

    @property
    def known(self) -> EngineModel | None:
        """The model, if it is known already."""
        return self._model.found

    async def kind(self) -> str:
        """llama.cpp, vllm or other. Raises httpx.HTTPError, AskdocsError: the engine is
        unavailable."""
        return await self._kind()

    async def abilities(self) -> Abilities:
        """Raises httpx.HTTPError, AskdocsError: the engine is unavailable."""
        return await self._abilities()

    async def count(self, text: str) -> int:
        """Tokens of `text` without added ones: by the engine's tokenizer, or else estimated."""
        kind = await self.kind()
        if kind == "llama.cpp":
            reply = await self._post("/tokenize", {"content": text, "add_special": False})
            return len(reply["tokens"])
        if kind == "vllm":
            model = (await self.model()).id
            body = {"model": model, "prompt": text, "add_special_tokens": False}
            return int((await self._post("/tokenize", body))["count"])
        return await estimate(text)

    async def counts(self, texts: Sequence[str]) -> list[int]:
        """Like `count`, for many texts: in one request if the engine supports it, else
        concurrently.

        A page of 40,000 tokens in 700 paragraphs takes llama.cpp 0.3 s in one request.
        """
        if len(texts) > 1 and await self.kind() == "llama.cpp":
            # It accepts token IDs between texts, and returns them: an invalid ID separates them.
            mixed = [part for text in texts for part in (text, PARTING)]
            body = {"content": mixed, "add_special": False, "parse_special": False}
            tokens: list[int] = (await self._post("/tokenize", body))["tokens"]
            ends = [-1, *(place for place, token in enumerate(tokens) if token == PARTING)]
            if len(ends) == len(texts) + 1:
                return [end - start - 1 for start, end in pairwise(ends)]
        counting = [asyncio.create_task(self.count(text)) for text in texts]
        try:
            return list(await asyncio.gather(*counting))
        finally:
            for task in counting:  # if one failed, cancel the others
                task.cancel()

    async def count_prompt(self, request: Mapping[str, Any]) -> int | None:
        """Tokens of the prompt of a chat (`messages`) or completion (`prompt`) request.

        Includes the chat template and its additions; None if the engine cannot count.

        Raises:
            httpx.HTTPError: the engine is unavailable, or its template rejects the messages.
        """
        kind = await self.kind()
        chat = {k: request[k] for k in ("messages", "tools") if k in request}
        prompt = request.get("prompt")
        if not (chat.get("messages") or isinstance(prompt, str)):
            return None
        if kind == "llama.cpp":
            if chat:
                prompt = (await self._post("/apply-template", chat))["prompt"]
            body = {"content": prompt, "add_special": True, "parse_special": True}
            return len((await self._post("/tokenize", body))["tokens"])
        if kind == "vllm":
            body = {"model": (await self.model()).id, **(chat or {"prompt": prompt})}
            return int((await self._post("/tokenize", body))["count"])
        return None

    async def read(self, messages: list[dict[str, Any]]) -> PromptRead:
        """Prefill a prompt (one token is generated).

        Raises:
            httpx.HTTPError: the engine did not answer with 200.
        """
        body: dict[str, Any] = {
            "model": (await self.model()).id,
            "messages": messages,
            "max_tokens": 1,
            "temperature": 0,
        }
        if await self.kind() != "llama.cpp":
            reply = await self._http.post(f"{self.url}/chat/completions", json=body)
            reply.raise_for_status()
            return _read(_parsed(reply)["usage"])
        # It reads to the end even if the client disconnects, unless the answer is a stream.
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        usage: Any = None
        async with self._http.stream("POST", f"{self.url}/chat/completions", json=body) as reply:
            reply.raise_for_status()
            async for data in events(reply.aiter_bytes()):
                if data.startswith("{"):
                    usage = orjson.loads(data).get("usage") or usage
        if usage is None:
            raise httpx.RemoteProtocolError("the engine broke off during prefill")
        return _read(usage)

    async def slots(self) -> list[Slot]:
        """llama.cpp's slots, longest unused first. Raises httpx.HTTPError."""
        reply = await self._http.get(f"{self._root}/slots", timeout=self._brief)
        reply.raise_for_status()
        slots = [
            Slot(slot["id"], slot.get("id_task", -1), slot.get("n_prompt_tokens", 0))
            for slot in _parsed(reply)
        ]
        return sorted(slots, key=lambda slot: slot.task)

    async def save(self, slot: int, file: str) -> int:
        """Let llama.cpp save the KV cache of a slot to a file in its snapshot folder.

        Returns the number of tokens. Raises httpx.HTTPError: it failed, or has no such folder.
        """
        body = {"filename": file}
        reply = await self._post(f"/slots/{slot}?action=save", body)
        return int(reply["n_saved"])

    async def restore(self, slot: int, file: str) -> int:
        """The reverse of `save`. Returns the number of tokens. Raises httpx.HTTPError."""
        body = {"filename": file}
        reply = await self._post(f"/slots/{slot}?action=restore", body)
        return int(reply["n_restored"])

    async def prefix_cache(self) -> PrefixCache | None:
        """The prefix cache's counts so far; None if the engine is unavailable or does not report
        them."""
        sums = await self._sums()
        if _READ in sums and _FOUND in sums:
            return PrefixCache(int(sums[_READ] + sums[_FOUND]), int(sums[_FOUND]))
        if _VLLM_ASKED in sums and _VLLM_FOUND in sums:
            return PrefixCache(int(sums[_VLLM_ASKED]), int(sums[_VLLM_FOUND]))
        return None

    async def reading(self) -> PrefillCount | None:
        """The tokens read so far, and the time; None if unavailable or not reported."""
        sums = await self._sums()
        if _READ in sums and _SECONDS in sums:
            return PrefillCount(int(sums[_READ]), sums[_SECONDS])
        if _VLLM_ASKED in sums and _VLLM_SECONDS in sums:
            read = sums[_VLLM_ASKED] - sums.get(_VLLM_FOUND, 0)
            return PrefillCount(int(read), sums[_VLLM_SECONDS])
        return None

    async def _sums(self) -> dict[str, float]:
        """The engine's own counters, summed over labels; empty if unavailable or missing."""
        try:
            reply = await self._http.get(f"{self._root}/metrics", timeout=self._brief)
            reply.raise_for_status()
        except httpx.HTTPError:
            return {}
        sums: dict[str, float] = {}
        for name, value in _SAMPLE.findall(reply.text):
            sums[name] = sums.get(name, 0) + float(value)
        return sums

    def telling(self) -> dict[str, Any]:
        """The request fields that let the engine report usage in every chunk of a stream.

        So usage is known even if an answer is stopped early. Empty for an engine whose kind is not
        known yet, and for others than llama.cpp and vLLM; `UsageSum` reads the usage.
        """
        if self._kind.found == "llama.cpp":
            return {"timings_per_token": True}
        if self._kind.found == "vllm":
            return {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
        return {}

    async def measure_prefill(self, words: int = 700) -> float:
        """Measures the current prefill speed in tokens per second, with a prompt that no cache has.

        Reading slows down as prompts grow (attention covers the whole prompt), so `words` is close
        to the length of a page.
        """
        stamp = time.time_ns()
        text = " ".join(f"item {(stamp + 7919 * n) % 99_991}" for n in range(words // 3))
        began = time.monotonic()
        tokens = (await self.read([{"role": "user", "content": text}])).tokens
        return tokens / (time.monotonic() - began)

    async def listed(self) -> list[str]:
        """The models that the engine lists now. Raises AskdocsError if it cannot be reached."""
        return [model["id"] for model in await self._list()]

    async def _list(self) -> list[dict[str, Any]]:
        try:
            reply = await self._http.get(f"{self.url}/models", timeout=self._brief)
            reply.raise_for_status()
            models = _parsed(reply)["data"]
            return [model for model in models if isinstance(model["id"], str)]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise self._silent(error) from None

    def _silent(self, error: Exception) -> AskdocsError:
        return AskdocsError(
            f"no OpenAI-compatible engine answers at {self.url} ({error!r}): start it, or"
            " correct --engine-url (it ends with /v1)"
        )

    async def _find_model(self) -> EngineModel:
        listed = await self._list()
        names = [model["id"] for model in listed]
        wanted = self._wanted or (names[0] if names else None)
        if wanted is None or wanted not in names:
            raise AskdocsError(
                f"the engine at {self.url} does not serve {wanted!r}; it serves "
                f"{', '.join(names)}: name one of them with --model"
            )
        entry = next(model for model in listed if model["id"] == wanted)
        # vLLM reports an adapter's context at its base model.
        base = next((model for model in listed if model["id"] == entry.get("parent")), entry)
        context = entry.get("max_model_len") or base.get("max_model_len")
        return EngineModel(wanted, context or await self._slot_context())

    async def _slot_context(self) -> int | None:
        """The context of one slot, which llama.cpp reports in /props."""
        try:
            reply = await self._http.get(f"{self._root}/props", timeout=self._brief)
            return int(_parsed(reply)["default_generation_settings"]["n_ctx"])
        except (httpx.DecodingError, ValueError, KeyError, TypeError):
            return None
        except httpx.HTTPError as error:  # unavailable: do not cache it
            raise self._silent(error) from None

    async def _find_abilities(self) -> Abilities:
        """The capabilities, which llama.cpp reports in /props."""
        if await self.kind() != "llama.cpp":
            return Abilities()
        reply = await self._http.get(f"{self._root}/props", timeout=self._brief)
        reply.raise_for_status()
        try:
            props = _parsed(reply)
            media = props.get("modalities")
            tools = props.get("chat_template_caps", {}).get("supports_tools")
        except (httpx.DecodingError, AttributeError):
            return Abilities(echo=False)
        return Abilities(
            frozenset(kind for kind, can in media.items() if can)
            if isinstance(media, dict)
            else None,
            tools if isinstance(tools, bool) else None,
            echo=False,
        )

    async def _find_kind(self) -> str:
        # An engine that is down or loading its model may be of any kind: let the error pass,
        # uncached.
        try:
            if "tokens" in await self._tokenized({"content": "a", "add_special": False}):
                return "llama.cpp"
            model = (await self.model()).id
            if "count" in await self._tokenized({"model": model, "prompt": "a"}):
                return "vllm"
        except httpx.DecodingError:
            pass
        return "other"

    async def _tokenized(self, body: dict[str, Any]) -> Any:
        """The reply to a tokenize request; empty if the engine does not support it."""
        reply = await self._http.post(f"{self._root}/tokenize", json=body, timeout=self._brief)
        if reply.status_code in _AWAY:
            reply.raise_for_status()
        return _parsed(reply) if reply.status_code == 200 else {}

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        # Counting is quick; saved and restored snapshots can be large.
        if path.startswith("/slots/"):
            reply = await self._http.post(f"{self._root}{path}", json=body, timeout=self._patient)
        else:
            async with self._turns:
                reply = await self._http.post(
                    f"{self._root}{path}", json=body, timeout=self._counting
                )
        reply.raise_for_status()
        return _parsed(reply)


def _parsed(reply: httpx.Response) -> Any:
    """An object or list of an engine. Raises httpx.DecodingError: it is none, or nested too
    deeply."""
    try:
        value = orjson.loads(reply.content)
    except ValueError as error:
        raise httpx.DecodingError(f"not JSON: {error}", request=reply.request) from None
    if not isinstance(value, dict | list):
        raise httpx.DecodingError("not an object", request=reply.request)
    return value


def _read(usage: Mapping[str, Any]) -> PromptRead:
    details = usage.get("prompt_tokens_details") or {}
    return PromptRead(int(usage["prompt_tokens"]), int(details.get("cached_tokens") or 0))
