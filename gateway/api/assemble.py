"""Assembles the chunks of a streamed answer into the complete response, and the reverse.

llama.cpp's server does not notice when the client of a non-streamed answer disconnects, and
generates to the end; for a stream it stops. So the gateway requests its answers as streams.
https://platform.openai.com/docs/api-reference/chat-streaming
"""

import logging
from collections.abc import AsyncIterator
from typing import Any

import orjson

from gateway.api.usage_sum import UsageSum
from gateway.http.asgi import DONE, ApiError, broken_off, event

log = logging.getLogger("askdocs.gateway")


async def assemble(events: AsyncIterator[str], copies: int = 1) -> bytes:
    """Assembles the `events` of a chat or completion into the complete JSON response.

    `copies`: the number of choices per prompt.

    Raises:
        ApiError: the stream holds an error, or is truncated.
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
        if chunk is None:  # llama.cpp sends null between the answers to two prompts
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
    """Splits a complete chat or completion into the events of a stream.

    Raises LookupError, TypeError, ValueError, AttributeError: `whole` is not a chat or completion.
    """
    head = {name: value for name, value in whole.items() if name not in ("choices", "usage")}
    if head.get("object") == "chat.completion":
        head["object"] = "chat.completion.chunk"
    usage = whole.get("usage") or {}
    events = [event({**head, "choices": [_streamed(choice)]}) for choice in whole["choices"]]
    return b"".join([*events, event({**head, "choices": [], "usage": usage}), DONE])


def _streamed(choice: dict[str, Any]) -> dict[str, Any]:
    """Converts a choice of a complete response to the field names of a stream."""
    if "message" not in choice:
        return choice
    delta = {name: value for name, value in choice["message"].items() if value is not None}
    if calls := delta.get("tool_calls"):
        delta["tool_calls"] = [{"index": at, **call} for at, call in enumerate(calls)]
    return {**{k: v for k, v in choice.items() if k != "message"}, "delta": delta}


def _named(choice: dict[str, Any]) -> dict[str, Any]:
    """Converts a streamed choice to the field names of a complete response."""
    if "delta" in choice:
        delta = choice.pop("delta")
        # A complete message always has content, even null, and a role. llama.cpp omits the role
        # after a message with an unusual one.
        choice["message"] = {"role": "assistant", "content": None, **delta}
    return choice


def _join(into: dict[str, Any], more: dict[str, Any]) -> None:
    """Merge a chunk: concatenate strings, extend lists, and merge indexed list items by index."""
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
    """Copy a first value, and turn lists of indexed items into lists of items without an index."""
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
