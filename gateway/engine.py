"""A client of the engine behind the gateway: what it serves, how long texts are, how fast it reads.

Works with llama.cpp's server, vLLM, and any other OpenAI-compatible server; what only some of them
tell (context length, token counts) is estimated for the others, and said to be.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from gateway.errors import AskdocsError

# English is about four characters a token; three overestimates the count, which is the safe side.
CHARACTERS_PER_TOKEN = 3.0


async def estimate(text: str) -> int:
    """Tokens of `text` where no engine can be asked: rather too many than too few."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


@dataclass(frozen=True)
class EngineModel:
    """A model at the engine."""

    id: str
    context: int | None
    """Tokens that prompt and answer may have together; None when the engine does not tell."""


class Engine:
    """HTTP client of one engine. Use it in one event loop, and `close` it there."""

    def __init__(self, url: str, key: str | None = None, model: str | None = None) -> None:
        """`url` is the base URL of the OpenAI API, with /v1. `model` None: the first one listed."""
        self.url = url.rstrip("/")
        self._root = self.url.removesuffix("/v1")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # llama.cpp announces keep-alive on a stream and then closes the connection; a new
        # connection per request costs 0.1 ms on one machine and never meets a closed one.
        headers["Connection"] = "close"
        # An engine is next door: one that takes no connection at once is away, and a request that
        # has another place to go to should not wait for it.
        connect = 2.0 if self.url.startswith("https:") else 0.2
        self._patient = httpx.Timeout(600, connect=connect)
        self._brief = httpx.Timeout(5, connect=connect)
        self._http = httpx.AsyncClient(headers=headers, timeout=self._patient)
        self._wanted = model
        self._model: EngineModel | None = None
        self._kind: str | None = None

    async def close(self) -> None:
        await self._http.aclose()

    async def is_ready(self) -> bool:
        """Does the engine list its models now, and is it not still loading one?"""
        try:
            health = await self._http.get(f"{self._root}/health", timeout=self._brief)
            if health.status_code >= 500:
                return False
            models = await self._http.get(f"{self.url}/models", timeout=self._brief)
        except httpx.HTTPError:
            return False
        return models.status_code == 200

    async def model(self) -> EngineModel:
        """The model that is asked.

        Raises:
            AskdocsError: the engine cannot be reached, or does not serve the model.
        """
        if self._model is None:
            self._model = await self._find_model()
        return self._model

    @property
    def known(self) -> EngineModel | None:
        """The model, if the engine has told it already."""
        return self._model

    async def kind(self) -> str:
        """llama.cpp, vllm or other. Raises httpx.HTTPError, AskdocsError: the engine is away."""
        if self._kind is None:
            self._kind = await self._find_kind()
        return self._kind

    async def count(self, text: str) -> int:
        """Tokens of `text` without any added ones: by the engine's tokenizer, else estimated."""
        await self.kind()
        if self._kind == "llama.cpp":
            reply = await self._post("/tokenize", {"content": text, "add_special": False})
            return len(reply["tokens"])
        if self._kind == "vllm":
            model = (await self.model()).id
            asked = {"model": model, "prompt": text, "add_special_tokens": False}
            return int((await self._post("/tokenize", asked))["count"])
        return await estimate(text)

    async def count_prompt(self, request: Mapping[str, Any]) -> int | None:
        """Tokens of the prompt of a chat (`messages`) or completion (`prompt`) request.

        With the chat template and all that it adds; None when the engine cannot tell.

        Raises:
            httpx.HTTPError: the engine is away, or its template refuses the messages.
        """
        await self.kind()
        chat = {k: request[k] for k in ("messages", "tools") if k in request}
        prompt = request.get("prompt")
        if not (chat.get("messages") or isinstance(prompt, str)):
            return None
        if self._kind == "llama.cpp":
            if chat:
                prompt = (await self._post("/apply-template", chat))["prompt"]
            asked = {"content": prompt, "add_special": True, "parse_special": True}
            return len((await self._post("/tokenize", asked))["tokens"])
        if self._kind == "vllm":
            asked = {"model": (await self.model()).id, **(chat or {"prompt": prompt})}
            return int((await self._post("/tokenize", asked))["count"])
        return None

    async def read(self, messages: list[dict[str, Any]]) -> int:
        """Let the engine read a prompt (one token is generated), and return the prompt's tokens.

        Raises:
            httpx.HTTPError: the engine did not answer with 200.
        """
        asked = {
            "model": (await self.model()).id,
            "messages": messages,
            "max_tokens": 1,
            "temperature": 0,
        }
        reply = await self._http.post(f"{self.url}/chat/completions", json=asked)
        reply.raise_for_status()
        return int(reply.json()["usage"]["prompt_tokens"])

    async def constraint(self, grammar: str) -> dict[str, Any]:
        """The fields of a request that bind the answer to a GBNF grammar.

        Empty for an empty grammar, and for an engine that has no grammars.

        Raises:
            httpx.HTTPError: the engine is away.
        """
        if not grammar:
            return {}
        await self.kind()
        if self._kind == "llama.cpp":
            return {"grammar": grammar}
        if self._kind == "vllm":
            return {"structured_outputs": {"grammar": grammar}}
        return {}

    async def measure_prefill(self, words: int = 700) -> float:
        """Tokens per second that the engine reads now, from one prompt that no cache knows.

        Reading slows down as prompts grow (attention looks back at all of it): `words` is near the
        length of a page for that reason.
        """
        stamp = time.time_ns()
        text = " ".join(f"item {(stamp + 7919 * n) % 99_991}" for n in range(words // 3))
        began = time.monotonic()
        tokens = await self.read([{"role": "user", "content": text}])
        return tokens / (time.monotonic() - began)

    async def listed(self) -> list[str]:
        """The models that the engine lists now. Raises AskdocsError when it cannot be reached."""
        return [model["id"] for model in await self._list()]

    async def _list(self) -> list[dict[str, Any]]:
        try:
            reply = await self._http.get(f"{self.url}/models", timeout=self._brief)
            reply.raise_for_status()
            models = reply.json()["data"]
            return [model for model in models if isinstance(model["id"], str)]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise AskdocsError(
                f"no OpenAI-compatible engine answers at {self.url} ({error!r}): start it, or"
                " correct --engine-url (it ends with /v1)"
            ) from None

    async def _find_model(self) -> EngineModel:
        listed = await self._list()
        names = [model["id"] for model in listed]
        wanted = self._wanted or (names[0] if names else None)
        if wanted is None or wanted not in names:
            raise AskdocsError(
                f"the engine at {self.url} does not serve {wanted!r}; it has {', '.join(names)}:"
                " name one of them with --model"
            )
        entry = next(model for model in listed if model["id"] == wanted)
        return EngineModel(wanted, entry.get("max_model_len") or await self._slot_context())

    async def _slot_context(self) -> int | None:
        """llama.cpp tells the context of one slot in /props."""
        try:
            reply = await self._http.get(f"{self._root}/props", timeout=self._brief)
            return int(reply.json()["default_generation_settings"]["n_ctx"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return None

    async def _find_kind(self) -> str:
        # An engine that is away is no other kind of engine: the error passes, and is not kept.
        asked = {"content": "a", "add_special": False}
        try:
            reply = await self._http.post(f"{self._root}/tokenize", json=asked, timeout=self._brief)
            if reply.status_code == 200 and "tokens" in reply.json():
                return "llama.cpp"
            asked = {"model": (await self.model()).id, "prompt": "a"}
            reply = await self._http.post(f"{self._root}/tokenize", json=asked, timeout=self._brief)
            if reply.status_code == 200 and "count" in reply.json():
                return "vllm"
        except ValueError:
            pass  # it answers something else than JSON
        return "other"

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        reply = await self._http.post(f"{self._root}{path}", json=body)
        reply.raise_for_status()
        return reply.json()
