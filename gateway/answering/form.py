"""JSON answers: enforces the requested format on engines that may ignore it.

llama.cpp and vLLM constrain each token to the schema: their answers are sent as they are generated.
An answer by another engine or a provider is held until it is complete. It is sent if it matches the
schema; otherwise the response is a refusal in OpenAI's format, `content: null` with `refusal`.
"""

import logging
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.core.http import DONE, ApiError, broken_off, dump, event
from gateway.core.sse import MAX_HELD, EventReader
from gateway.routing.registry import Served

log = logging.getLogger("askdocs.gateway")

# Finish reasons of incomplete answers: OpenAI sends these unchecked.
_CUT = ("length", "content_filter", "tool_calls", "function_call")
_OBJECT = {"type": "object"}


def asked(request: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """The location of the schema in a chat request, and the schema. None: the answer is text."""
    form = request.get("response_format") or {}
    if form.get("type") == "json_schema":
        return "response_format.json_schema.schema", form["json_schema"].get("schema") or {}
    if form.get("type") == "json_object":
        return "response_format.schema", form.get("schema") or _OBJECT
    return None


class Form:
    """Holds one response until it is validated."""

    def __init__(self, place: str, schema: Mapping[str, Any]) -> None:
        """Run it in a thread. Raises ApiError 400, which names `place`: the schema is invalid."""
        from gateway.answering.schema import Schema

        try:
            self._schema = Schema(schema)
        except ValueError as error:
            raise ApiError(400, f"{place} {error}", param=place) from None
        self._holds = False
        self._has_begun = False
        self._has_passed = False
        self._is_over = False
        self._is_whole = False
        self._reader = EventReader()
        self._held: list[dict[str, Any]] = []
        self._size = 0
        self.refused = False

    def begin(self, served: Served) -> None:
        """Note that this model answers now, or resumes the answer: held text stays held."""
        self._has_begun = True
        if not self._has_passed and not self._held:
            self._holds = served.engine is None or not served.engine.is_known_to_bind

    def feed(self, data: bytes) -> bytes:
        """The events of a stream that may be sent now; `rest` sends the held ones.

        Raises ApiError: too much is held.
        """
        if not self._holds:
            self._has_passed |= self._has_begun and bool(data)
            return data
        self._size += len(data)
        if self._size > MAX_HELD:
            self._held, self._holds = [], False
            raise broken_off()
        out = b""
        try:
            for payload in () if self._is_over else self._reader.feed(data):
                out += self._event_of(payload)
        except Exception:  # the engine's chunk has an unexpected shape
            log.exception("a chunk could not be checked")
            self._is_over = True
            out += event(broken_off().body)
        return out

    def rest(self) -> bytes:
        """The last events of a stream: the validated answer. Run it in a thread."""
        return self._released() + DONE if self._is_whole else b""

    def _event_of(self, data: bytes) -> bytes:
        if data == b"[DONE]":
            self._is_over = self._is_whole = True
            return b""
        chunk = orjson.loads(data)
        if "choices" in chunk:
            self._held.append(chunk)
            return b""
        self._is_over = True  # an error ends the answer
        return event(chunk)

    def whole(self, body: bytes) -> bytes:
        """The complete, validated answer. Run it in a thread.

        Raises ApiError: the engine's answer is not a chat.
        """
        if not self._holds:
            return body
        try:
            return self._checked(orjson.loads(body))
        except (ValueError, LookupError, TypeError, AttributeError):
            log.exception("an answer could not be checked")
            raise broken_off() from None

    def _checked(self, answer: dict[str, Any]) -> bytes:
        for choice in answer["choices"]:
            message = choice["message"]
            is_cut = choice.get("finish_reason") in _CUT or message.get("tool_calls")
            if is_cut or message.get("refusal"):
                continue
            if instead := self._judged(message.get("content") or ""):
                choice["message"] = message | instead
                if instead["refusal"]:
                    choice["logprobs"] = None
        return dump(self._stated(answer))

    def _released(self) -> bytes:
        texts: dict[int, str] = {}
        is_cut: set[int] = set()
        for chunk in self._held:
            for choice in chunk["choices"]:
                number, delta = choice.get("index", 0), choice.get("delta") or {}
                texts[number] = texts.get(number, "") + (delta.get("content") or "")
                is_said = delta.get("tool_calls") or delta.get("refusal")
                if is_said or choice.get("finish_reason") in _CUT:
                    is_cut.add(number)
        judged = {n: self._judged(text) for n, text in texts.items() if n not in is_cut}
        instead = {number: message for number, message in judged.items() if message}
        begun: set[int] = set()
        for chunk in self._held:
            for choice in chunk["choices"]:
                number = choice.get("index", 0)
                if number in instead:
                    choice["delta"] = {
                        name: value
                        for name, value in (choice.get("delta") or {}).items()
                        if name not in ("content", "role")
                    }
                    choice.pop("logprobs", None)
                    if number not in begun:
                        begun.add(number)
                        choice["delta"] |= {"role": "assistant", **instead[number]}
        out = b"".join(event(self._stated(chunk)) for chunk in self._held)
        self._held = []
        return out

    def _judged(self, text: str) -> dict[str, Any] | None:
        """The refusal that replaces `text` in the message; None: keep the text."""
        content = _unfenced(text)
        problem = self._schema.problem(content)
        if problem:
            self.refused = True
            why = f"The answer does not fit the requested schema: {problem}."
            return {"content": None, "refusal": why}
        return None if content == text else {"content": content, "refusal": None}

    def _stated(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """Adds a refusal to the facts, too."""
        if self.refused and isinstance(facts := chunk.get("askdocs"), dict) and "refused" in facts:
            chunk["askdocs"] = {**facts, "refused": True, "reason": "schema"}
        return chunk


def _unfenced(text: str) -> str:
    """Removes the Markdown code fence that many models put around JSON."""
    inside = text.strip()
    first, _, rest = inside.partition("\n")
    if first.strip() in ("```", "```json") and rest.endswith("```"):
        return rest.removesuffix("```").strip()
    return text
