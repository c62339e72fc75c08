"""Forced tool calls: rejects prose from engines that may ignore `tool_choice`.

llama.cpp and vLLM constrain each token to the tools' schemas, and `gateway.routing.abilities`
rejects requests that their models cannot serve. Other engines and providers may answer with text
instead of a call, so a stream is held until its first call starts.
"""

from typing import Any

import orjson

from gateway.core.http import broken_off, event
from gateway.core.sse import MAX_HELD, EventReader
from gateway.routing.abilities import no_tools
from gateway.routing.registry import Served


class ForcedCall:
    """Holds one response until a tool is called."""

    refused = False

    def __init__(self) -> None:
        self._name = ""
        self._holds = False
        self._has_passed = False
        self._is_prose = False
        self._is_broken = False
        self._reader = EventReader()
        self._held: list[bytes] = []
        self._size = 0

    def begin(self, served: Served) -> None:
        """Note that this model answers now, or resumes the answer."""
        self._name = served.name
        if not self._has_passed and not self._held:
            self._holds = served.engine is None or not served.engine.is_known_to_bind

    def feed(self, data: bytes) -> bytes:
        """The events of a stream that may be sent now. Raises ApiError: too much is held."""
        if self._is_broken:
            return b""
        if not self._holds:
            self._has_passed |= bool(self._name and data)
            return data
        self._size += len(data)
        if self._size > MAX_HELD:
            self._held, self._holds, self._is_prose = [], False, False
            raise broken_off()
        self._held.append(data)
        try:
            is_known = [self._is_known(chunk) for chunk in self._reader.feed(data)]
        except (ValueError, LookupError, TypeError, AttributeError):
            self._held, is_known, self._is_broken = [event(broken_off().body)], [True], True
        return self._release() if any(is_known) else b""

    def rest(self) -> bytes:
        """The last events of a stream. Raises ApiError 400: the answer is prose."""
        if self._is_prose:
            self._held, self._is_prose = [], False
            raise no_tools(self._name)
        return self._release()

    def whole(self, body: bytes) -> bytes:
        """The complete answer. Raises ApiError: it is prose, or not a chat."""
        if not self._holds:
            return body
        try:
            messages = [choice["message"] for choice in orjson.loads(body)["choices"]]
            is_called = any(message.get("tool_calls") for message in messages)
            is_prose = any(message.get("content") for message in messages)
        except (ValueError, LookupError, TypeError, AttributeError):
            raise broken_off() from None
        if is_prose and not is_called:
            raise no_tools(self._name)
        return body

    def _is_known(self, data: bytes) -> bool:
        """Does this event call a tool, or end the answer with an error?"""
        chunk: dict[str, Any] = {} if data == b"[DONE]" else orjson.loads(data)
        deltas = [choice.get("delta") or {} for choice in chunk.get("choices", ())]
        self._is_prose |= any(delta.get("content") for delta in deltas)
        return "error" in chunk or any(delta.get("tool_calls") for delta in deltas)

    def _release(self) -> bytes:
        held, self._held = b"".join(self._held), []
        self._holds = self._is_prose = False
        self._has_passed = True
        return held
