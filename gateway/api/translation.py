"""Shared code of the translations between other API formats and chat.

Responses, Messages, and a question in `/v1/completions` become a chat request, which passes the
pipeline like any other; the pipeline's output is translated back to the endpoint's events. So keys,
limits, grounding, fallback and usage are the same everywhere.
"""

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from core.sse import EventReader
from gateway.api import chat_rules, schemas
from gateway.api.endpoints import CHAT
from gateway.http.asgi import ApiError, broken_off, dump

log = logging.getLogger("askdocs.gateway")

LONGEST = 2**25  # bytes of an event: the last event of Responses repeats request and answer


class Translation(ABC):
    """Translates one request and its answer. Create it with the accepted request."""

    streamed_errors: tuple[str, ...] = ()
    """Codes of errors that a stream reports as an event although nothing has been sent."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        """Raises ApiError 400 for content that Chat cannot express."""
        self.request = request
        self.messages: list[dict[str, Any]] = []
        self.places: dict[str, str] = {}
        """The location in the request of each message or part of the chat."""
        self._events = EventReader(LONGEST)
        self._is_over = False
        self._is_chat = False  # set once errors refer to the chat
        self._usage: Any = None
        self._askdocs: Any = None

    def chat(self) -> dict[str, Any]:
        """Returns the chat request, validated like a client's own. Raises ApiError 400."""
        body = self._chat()
        self._is_chat = True
        own = {name: body.pop(name) for name in ("tools", "tool_choice", "stop") if name in body}
        chat_rules.translated_tools("tools", own.get("tools") or [])
        accepted = schemas.accept(CHAT.path, body)
        if own.get("tool_choice") not in (None, "none", "auto"):
            chat_rules.choose(own["tool_choice"], own.get("tools") or [])
        if accepted.get("stream"):
            accepted["stream_options"] = {"include_usage": True}
        return accepted | own

    def feed(self, data: bytes) -> bytes:
        """Converts the chat's events to the endpoint's. Keeps comments, which keep a stream
        alive."""
        if data.startswith(b":") and data.endswith(b"\n\n"):
            return data
        out = b""
        try:
            for event in self._events.feed(data):
                if not self._is_over:
                    out += self._event_of(event)
        except Exception:  # the engine's chunk has an unexpected shape
            log.exception("a chunk could not be translated")
            self._is_over = True
            out += self._failed(broken_off().body["error"])
        return out

    def _event_of(self, data: bytes) -> bytes:
        if data == b"[DONE]":
            self._is_over = True
            return self._end()
        chunk = orjson.loads(data)
        if "error" not in chunk:
            self._keep(chunk)
            return self._chunk(chunk)
        self._is_over = True
        return self._failed(chunk["error"])

    def whole(self, body: bytes) -> bytes:
        """Converts a complete chat to the endpoint's answer. Raises ApiError: it is not a chat."""
        try:
            chat = orjson.loads(body)
            self._keep(chat)
            return dump(self._whole(chat))
        except (ValueError, LookupError, TypeError, AttributeError):
            log.exception("an answer could not be translated")
            raise broken_off() from None

    def _keep(self, ending: Mapping[str, Any]) -> None:
        """Keep the closing facts of a chunk or a complete chat for the endpoint's end."""
        self._usage = ending.get("usage") or self._usage
        self._askdocs = ending.get("askdocs") or self._askdocs

    def placed(self, error: ApiError) -> ApiError:
        """Rewrites the error to name the location in the client's own request."""

        def own(match: re.Match[str]) -> str:
            message, part = match[1], match[2] or ""
            if message.startswith("tools"):
                return self.places.get(message, message)
            return self.places.get(message + part) or self.places.get(message, message) + part

        detail = error.body["error"]
        if not self._is_chat:
            return error
        for name in ("message", "param"):
            if isinstance(detail[name], str):
                detail[name] = _PLACE.sub(own, detail[name])
        return error

    def add(self, place: str, message: dict[str, Any]) -> None:
        """Append a chat message that comes from `place` in the request."""
        self.places[f"messages[{len(self.messages)}]"] = place
        self.messages.append(message)

    def add_parts(self, role: str, place: str, parts: list["Part"]) -> None:
        """Append a message of parts, or a plain text if it has only that."""
        for index, part in enumerate(parts):
            self.places[f"messages[{len(self.messages)}].content[{index}]"] = part.place
        content = [part.content for part in parts]
        only = content[0] if len(content) == 1 else {}
        self.add(place, {"role": role, "content": only.get("text", content)})

    def call(self, place: str, id: str, name: str, arguments: str) -> None:
        """Append a tool call by the assistant; the calls of one turn share a message."""
        if not self.messages or self.messages[-1]["role"] != "assistant":
            self.add(place, {"role": "assistant", "content": None})
        function = {"name": name, "arguments": arguments}
        call = {"id": id, "type": "function", "function": function}
        self.messages[-1].setdefault("tool_calls", []).append(call)

    def add_result(self, place: str, item: Mapping[str, Any], name: str, content: Any) -> None:
        """Append a tool call's result; the item's field `name` holds the call's ID."""
        self.places[f"messages[{len(self.messages)}].tool_call_id"] = f"{place}.{name}"
        call = field(place, item, name)
        self.add(place, {"role": "tool", "tool_call_id": call, "content": content})

    @abstractmethod
    def _chat(self) -> dict[str, Any]: ...

    @abstractmethod
    def _chunk(self, chunk: dict[str, Any]) -> bytes: ...

    @abstractmethod
    def _end(self) -> bytes: ...

    @abstractmethod
    def _failed(self, error: dict[str, Any]) -> bytes: ...

    @abstractmethod
    def _whole(self, chat: dict[str, Any]) -> dict[str, Any]: ...


class Part(NamedTuple):
    """A content part in Chat's format, and its location in the request."""

    place: str
    content: dict[str, Any]


_PLACE = re.compile(r"(messages\[\d+\]|tools\[\d+\])(\.content\[\d+\]|\.function|\.tool_call_id)?")


def same_fields(request: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Copies the fields that Chat has under the same name."""
    return {name: request[name] for name in names if name in request}


def text(place: str, value: Any) -> str:
    """Raises ApiError 400 if the value is not text."""
    if not isinstance(value, str):
        raise refused(place, "must be a string")
    return value


def field(place: str, item: Mapping[str, Any], name: str) -> str:
    """Reads a text field of an item. Raises ApiError 400."""
    return text(f"{place}.{name}", item.get(name))


def refused(place: str, why: str, code: str | None = None) -> ApiError:
    return ApiError(400, f"{place} {why}", param=place, code=code)


def event(kind: str, fields: Mapping[str, Any]) -> bytes:
    """A named server-sent event, as Responses and Messages use them."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), dump({"type": kind, **fields}))
