"""LoRA adapters on a running vLLM: loads, verifies and unloads them without a restart.

An adapter's name permanently identifies one folder (`docs@v7`): vLLM may reuse cached prompts of an
earlier adapter with the same name (its issue 42125).

vLLM's CPU build silently answers base model requests that share a batch with an adapter's from the
content of its last adapter slot (its pull requests 48421, 49656). So one slot must stay empty, and
each load is checked: every model is queried alone, then all at once, and must answer the same.
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from core.errors import AskdocsError

FILES = ("adapter_config.json", "adapter_model.safetensors")
# The prompt of the check: a short beginning, followed by the same token repeatedly, so that all
# models' answers can be compared token by token. Any model has a token 300.
PROMPT = "The team's wiki says that the printer is on floor"
TOKEN = 300
TOKENS = 8
# Mean difference of log-probabilities, in nats, that counts as rounding: rounding caused up to 0.06
# in a batch with bf16 weights on a CPU (research/notebook.md). Adapters that differ by less are
# not distinguished.
TOLERANCE = 0.15

# The number of slots, and the sets of adapters that ran together at some time since the start.
_INFO = re.compile(r"^vllm:lora_requests_info\{(.*)\} ", re.MULTILINE)
_LABEL = re.compile(r'(max_lora|running_lora_adapters)="([^"]*)"')

Entry = dict[str, Any]
Logprobs = list[float]


async def load(url: str, key: str | None, name: str, folder: Path, *, gpu: bool = True) -> None:
    """Serve the adapter in `folder`, in PEFT's format, as the model `name`.

    The engine reads the folder itself. Does nothing if the engine serves exactly that already.

    Args:
        url: base URL of vLLM's OpenAI API, with /v1.
        key: its API key, if it requires one.
        name: the model's name, which permanently identifies this adapter.
        folder: path on the engine's machine.
        gpu: whether it is the GPU build. The CPU build never frees the slot of an unloaded adapter,
            so the number of different adapters until its restart is limited.

    Raises:
        AskdocsError: there is no adapter or no free slot, the engine rejects it, or answers
            wrongly with it; it is not loaded then.
    """
    folder = _whole(folder)
    async with _Client(url, key) as engine:
        there = await engine.listed()
        if there.get(name) == folder:
            return
        if name in there:
            raise AskdocsError(
                f"{name}: the engine serves it from {there[name]} already, and a name identifies "
                "one adapter: choose another name"
            )
        await engine.make_sure_of_a_place(name, set(there), gpu)
        body = {"lora_name": name, "lora_path": str(folder)}
        await engine.post("/load_lora_adapter", body, f"does not load {name} from {folder}")
        try:
            await engine.check()
        except BaseException:
            with suppress(AskdocsError):  # the engine is down, and the adapter with it
                await engine.unload(name)
            raise


async def unload(url: str, key: str | None, name: str) -> None:
    """Unload an adapter, if it is loaded. No request may be using it.

    Raises:
        AskdocsError: the engine cannot be reached.
    """
    async with _Client(url, key) as engine:
        if name in await engine.listed():
            await engine.unload(name)


async def effect(url: str, key: str | None, name: str, base: str) -> float:
    """The effect of an adapter on its base model: mean difference of the log-probabilities of the
    check's tokens, in nats.

    Raises:
        AskdocsError: the engine does not serve both models.
    """
    async with _Client(url, key) as engine:
        scores = [await engine.scored(model) for model in (name, base)]
    if scores[0] is None or scores[1] is None:
        raise AskdocsError(f"the engine at {url} does not serve {name} and {base}: load them")
    return _distance(scores[0], scores[1])


def mixed_up(alone: Mapping[str, Logprobs], beside: Mapping[str, Logprobs]) -> list[str]:
    """The models whose answers change when others run in the same batch.

    An answer is another model's if its distance from the model's own answer exceeds half the
    distance to the next model's, unless rounding explains it.
    """
    wrong = []
    for name, own in alone.items():
        others = [_distance(own, other) for key, other in alone.items() if key != name]
        allowed = max(TOLERANCE, min(others, default=0.0) / 2)
        if not _distance(own, beside[name]) <= allowed:  # NaN is wrong, too
            wrong.append(name)
    return wrong


class _Client:
    """HTTP client of one vLLM."""

    def __init__(self, url: str, key: str | None) -> None:
        self._url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # A busy CPU takes a minute for a few tokens of each adapter.
        timeout = httpx.Timeout(600, connect=2)
        self._http = httpx.AsyncClient(headers=headers, timeout=timeout, trust_env=False)

    async def __aenter__(self) -> "_Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def listed(self) -> dict[str, Path]:
        """The adapters that it serves now, with their folders."""
        return {e["id"]: Path(e["root"]) for e in await self._models() if e.get("parent")}

    async def unload(self, name: str) -> None:
        await self.post("/unload_lora_adapter", {"lora_name": name}, f"does not unload {name}")

    async def make_sure_of_a_place(self, name: str, there: set[str], gpu: bool) -> None:
        """Raises AskdocsError: one more adapter would leave no slot empty."""
        reply = await self._get(f"{self._url.removesuffix('/v1')}/metrics")
        states = [dict(_LABEL.findall(labels)) for labels in _INFO.findall(reply.text)]
        if not states:
            return  # no adapter has run yet: the check decides
        places = int(states[0]["max_lora"]) - 1
        taken = set(there)
        if not gpu:
            # An adapter that is loaded again takes another slot.
            taken |= {
                adapter
                for labels in states
                for adapter in labels["running_lora_adapters"].split(",")
                if adapter
            }
        if len(taken) >= places:
            fix = "unload one" if gpu else "restart it, because a CPU frees no adapter slot before"
            raise AskdocsError(
                f"{name}: the engine at {self._url} has {places} adapter slots, used by"
                f" {', '.join(sorted(taken))}: {fix}, or start it with more ([up] adapters)"
            )

    async def check(self) -> None:
        """Raises AskdocsError: a model answers differently in a batch with others."""
        names = [entry["id"] for entry in await self._models()]
        alone = {name: await self.scored(name) for name in names}
        beside = dict(zip(names, await asyncio.gather(*map(self.scored, names)), strict=True))
        wrong = mixed_up(
            {name: logprobs for name, logprobs in alone.items() if logprobs and beside[name]},
            {name: logprobs for name, logprobs in beside.items() if logprobs},
        )
        if wrong:
            raise AskdocsError(
                f"the engine at {self._url} confuses its models: in concurrent requests, "
                f"{', '.join(wrong)} answers as another model; restart it with more adapter slots "
                "([up] adapters, one less than vLLM's --max-loras), or with none, to serve "
                "merged versions"
            )

    async def scored(self, model: str) -> Logprobs | None:
        """The model's log-probabilities of TOKENS tokens after PROMPT; None: it has been
        unloaded."""
        body = {
            "model": model,
            "prompt": PROMPT,
            "allowed_token_ids": [TOKEN],
            "max_tokens": TOKENS,
            "ignore_eos": True,
            "temperature": 0,
            "logprobs": 1,
        }
        reply = await self._ask("/completions", body)
        if reply.status_code == 404:
            return None
        if reply.status_code != 200:
            raise AskdocsError(
                f"the engine at {self._url} does not answer as {model}: {_reason(reply)}"
            )
        logprobs: Logprobs = reply.json()["choices"][0]["logprobs"]["token_logprobs"]
        return logprobs

    async def _models(self) -> list[Entry]:
        models: list[Entry] = (await self._get(f"{self._url}/models")).json()["data"]
        return models

    async def post(self, path: str, body: Mapping[str, Any], failed: str) -> None:
        """Raises AskdocsError: the engine cannot be reached, or the request fails."""
        reply = await self._ask(path, body)
        if reply.status_code == 404 and '"error"' not in reply.text:
            raise AskdocsError(
                f"the engine at {self._url} does not accept adapters: start vLLM with [up] "
                "adapters above"
                " 0, or serve a merged version"
            )
        if reply.status_code != 200:
            raise AskdocsError(f"the engine at {self._url} {failed}: {_reason(reply)}")

    async def _ask(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        try:
            return await self._http.post(f"{self._url}{path}", json=body)
        except httpx.HTTPError as error:
            raise self._away(error) from None

    async def _get(self, url: str) -> httpx.Response:
        try:
            reply = await self._http.get(url)
            reply.raise_for_status()
        except httpx.HTTPError as error:
            raise self._away(error) from None
        return reply

    def _away(self, error: httpx.HTTPError) -> AskdocsError:
        return AskdocsError(
            f"no engine answers at {self._url} ({error!r}): start it, and try again"
        )


def _whole(folder: Path) -> Path:
    """The folder's path for the engine. Raises AskdocsError: it contains no adapter."""
    if missing := [file for file in FILES if not (folder / file).is_file()]:
        raise AskdocsError(
            f"{folder}: is not an adapter: {missing[0]} is missing; name the folder that training "
            "wrote"
        )
    return folder.resolve()


def _distance(one: Logprobs, other: Logprobs) -> float:
    """Mean absolute difference, in nats."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


def _reason(reply: httpx.Response) -> str:
    """The engine's error message."""
    try:
        text = str(reply.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        text = reply.text
    return " ".join(text.split())[:300]
