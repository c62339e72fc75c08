"""Assembles the chunks of a streamed answer into the complete response, and the reverse.

llama.cpp's server does not notice that the client of a whole answer has left, and goes on to its
end; of a stream it does. So its whole answers are asked for as streams.
https://platform.openai.com/docs/api-reference/chat-streaming
"""

import logging
from collections.abc import AsyncIterator
from typing import Any

import orjson

from gateway.api.usage_sum import UsageSum, stated
from gateway.core.http import DONE, ApiError, broken_off, event

log = logging.getLogger("askdocs.gateway")


async def assemble(events: AsyncIterator[str], copies: int = 1) -> bytes:
    """The whole answer, as JSON, of the `events` of a chat or a completion.

    `copies`: choices of one prompt.

    Raises:
        ApiError: the stream holds an error, or ends before its end.
    """
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    usage = UsageSum(copies)
    async for data in events:
        if data == "[DONE]":
            if usage.total is not None:
                whole["usage"] = usage.total
            whole["choices"] = [choices[number] for number in sorted(choices)]
            whole["object"] = str(whole.get("object", "")).removesuffix(".chunk")
            return orjson.dumps(whole)
        chunk = orjson.loads(data)
        if chunk is None:  # llama.cpp's, between the answers to two prompts
            continue
        if error := chunk.get("error"):
            raise _stated(error)
        usage.add(chunk)
        for choice in chunk.pop("choices", ()):
            number = choice.get("index", 0)
            _join(choices.setdefault(number, {"index": number}), _named(choice))
        whole.update((name, value) for name, value in chunk.items() if value is not None)
    raise broken_off()


def stream_of(whole: dict[str, Any]) -> bytes:
    """The events of a stream, of a whole chat or completion.

    Raises LookupError, TypeError, ValueError, AttributeError: it is none.
    """
    head = {name: value for name, value in whole.items() if name not in ("choices", "usage")}
    if head.get("object") == "chat.completion":
        head["object"] = "chat.completion.chunk"
    usage = stated(whole.get("usage") or {})
    events = [event({**head, "choices": [_streamed(choice)]}) for choice in whole["choices"]]
    return b"".join([*events, event({**head, "choices": [], "usage": usage}), DONE])


def _streamed(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice of a whole answer under the names of a stream."""
    if "message" not in choice:
        return choice
    delta = {name: value for name, value in choice["message"].items() if value is not None}
    if calls := delta.get("tool_calls"):
        delta["tool_calls"] = [{"index": at, **call} for at, call in enumerate(calls)]
    return {**{k: v for k, v in choice.items() if k != "message"}, "delta": delta}


def _named(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice of a stream under the names of a whole answer."""
    if "delta" in choice:
        delta = choice.pop("delta")
        # A whole message has its content even where that is nothing, and a role where the engine
        # did not name it, as llama.cpp does not after a message of an odd one.
        choice["message"] = {"role": "assistant", "content": None, **delta}
    return choice


def _join(into: dict[str, Any], more: dict[str, Any]) -> None:
    """Add what a chunk says: texts grow, lists get longer, items of a list join by their index."""
    for name, value in more.items():
        old = into.get(name)
        if old is None or name in ("index", "id", "type", "role", "finish_reason"):
            if value is not None or name not in into:
                into[name] = _settled(value)
        elif isinstance(value, str):
            into[name] = old + value
        elif isinstance(value, dict):
            _join(old, value)
        elif isinstance(value, list):
            _extend(old, value)
        elif value is not None:
            into[name] = value


def _settled(value: Any) -> Any:
    """A first value; a list of indexed items becomes one of items without index."""
    if isinstance(value, dict):
        whole: dict[str, Any] = {}
        _join(whole, value)
        return whole
    if isinstance(value, list):
        items: list[Any] = []
        _extend(items, value)
        return items
    return value


def _extend(old: list[Any], new: list[Any]) -> None:
    for item in new:
        number = item.pop("index", None) if isinstance(item, dict) else None
        if isinstance(number, int) and number < len(old):
            _join(old[number], item)
        else:
            old.append(item)


def _stated(error: Any) -> ApiError:
    log.warning("an engine broke off: %s", str(error)[:1000])
    return broken_off()
