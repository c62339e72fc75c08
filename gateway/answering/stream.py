"""Transforms an engine's event stream into the client's, with a few string searches per event.

An engine's bytes may be split anywhere; only complete events are passed on. Only the rare events
with usage are parsed as JSON; the rest is searched and replaced as raw bytes. That is safe, because
within a JSON string a quote is always written `\\"` and a line break `\\n` (RFC 8259, 7):

- `"model":"x"` in the raw bytes is a key and its value: in the text of an answer the quote behind
  `model` would have a backslash before it, and the bytes would differ.
- `\\n\\n` ends an event, and `[DONE]` before it is the end mark, never the text of an answer.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

import logging
import random
from functools import lru_cache
from typing import Any

import orjson

from core.sse import EventTooLong, Framing, cut
from gateway.api.usage_sum import UsageSum, stated
from gateway.http.asgi import DONE, broken_off

log = logging.getLogger("askdocs.gateway")


def identity(answer: dict[str, Any], here: bytes, prefix: str) -> tuple[tuple[bytes, bytes], ...]:
    """The replacements in a chunk or a complete answer for its model and its ID."""
    model, id = answer.get("model"), answer.get("id")
    replacements = _renames(model.encode(), here) if isinstance(model, str) else ()
    if prefix and isinstance(id, str) and not id.startswith(prefix):
        old, new = orjson.dumps(id), orjson.dumps(new_id(prefix))
        replacements += tuple(
            (b'"id":' + space + old, b'"id":' + space + new) for space in (b"", b" ")
        )
    return replacements


def new_id(prefix: str) -> str:
    return f"{prefix}{random.getrandbits(128):032x}"


@lru_cache(maxsize=1024)
def _renames(there: bytes, here: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The replacements of a model's name: engines write JSON with or without a space after the
    colon."""
    if there == here:
        return ()
    old, new = orjson.dumps(there.decode()), orjson.dumps(here.decode())
    return tuple((b'"model":' + space + old, b'"model":' + space + new) for space in (b"", b" "))


class Stream:
    """One stream from the engine to the client."""

    def __init__(
        self,
        there: bytes,
        here: bytes,
        *,
        keep_usage: bool,
        prefix: str = "",
        given: int = 0,
        choices: int = 1,
        copies: int = 1,
    ) -> None:
        """`there` and `here` are the model's name at the engine and for the client.

        `prefix`: the required start of the answer's ID; other IDs are replaced.
        `keep_usage`: did the client ask for usage? The engine is always asked for it.
        `given`: tokens of the answer that the engine was given as the end of its prompt.
        `choices`: of all prompts; `copies`: of one prompt.
        """
        self._renames = _renames(there, here)
        self._here = here
        self._prefix = prefix
        self._is_known = False
        self._is_empty = True
        self._keep_usage = keep_usage
        self._given = given
        self._is_several = choices > 1
        self._sum = UsageSum(copies)
        self._template: dict[str, Any] = {}  # the event that will hold the sum of all usages
        self._framing = Framing()
        self.usage: dict[str, Any] | None = None
        """The last usage that the engine reported."""
        self.events = 0
        self.done = False
        """Has `[DONE]` come?"""
        self.failed = False
        """Has the engine sent an error? It is logged, and ends the stream."""

    @property
    def is_whole(self) -> bool:
        """Whether the answer is complete."""
        return self.done and not self.failed

    def feed(self, data: bytes) -> bytes:
        """The complete events so far, for the client; may be empty. Never raises."""
        if self.failed:
            return b""
        try:
            data = self._framing.feed(data)
        except EventTooLong:
            self._fail()
        if self.failed or not data:
            return b""
        if not self._is_known:
            self._know(data)
        self.events += data.count(b"\n\n")
        if b"[DONE]\n\n" in data:
            self.done = True
            if self._is_empty:
                self._fail()
                return b""
        if b'"usage":' in data or b'"timings":' in data:
            data = self._without_usage(data)
        if self._is_several:
            data = self._with_sum(data)
        if b'"error"' in data or b"error:" in data:
            data = self._with_error(data)
        for old, new in self._renames:
            data = data.replace(old, new)
        return data

    def end(self) -> bytes:
        """The remaining output for the client when the engine's stream has ended.

        Adds an error event, unless the engine sent its end mark: a client must never mistake a
        truncated answer for a complete one.
        """
        return b"" if self.is_whole else b"data: " + orjson.dumps(broken_off().body) + b"\n\n"

    def _know(self, data: bytes) -> None:
        """Read the answer's ID and model name from the first chunk with a choice."""
        for event in cut(data):
            if (chunk := parsed(event)) is None or chunk.get("choices") == []:
                continue
            self._is_empty = False
            if isinstance(chunk.get("choices"), list):
                self._is_known = True
                self._renames += identity(chunk, self._here, self._prefix)
                return

    def _fail(self) -> None:
        self.failed = True

    def _without_usage(self, data: bytes) -> bytes:
        """Read the usage, and remove it from the events unless the client asked for it. llama.cpp's
        `timings` are always removed.

        vLLM and llama.cpp send it in a separate event without choices, LiteLLM in one with choices;
        some engines write `"usage":null` in all others.
        """
        # Events before the first of them are passed on unchanged: usually all but one.
        first = min(at for name in (b'"usage":', b'"timings":') if (at := data.find(name)) >= 0)
        start = data.rfind(b"\n\n", 0, first)
        start = start + 2 if start >= 0 else 0
        events = [data[:start]]
        for event in cut(data[start:]):
            if (b'"usage":' in event or b'"timings":' in event) and (
                chunk := parsed(event)
            ) is not None:
                self._sum.add(chunk)
                chunk.pop("timings", None)
                has_usage, usage = "usage" in chunk, chunk.pop("usage", None)
                keeps = self._keep_usage
                if isinstance(usage, dict):
                    usage = self._sum.total or usage
                    self.usage = usage = with_tokens(usage, self._given)
                    if self._is_several and self._sum.is_apart:
                        self._template = {**chunk, "choices": []}
                        keeps = False
                    if not keeps and not _says_something(chunk):
                        continue
                if keeps and has_usage:
                    chunk["usage"] = stated(usage) if isinstance(usage, dict) else usage
                event = b"data: " + orjson.dumps(chunk)
            events.append(event + b"\n\n")
        return b"".join(events)

    def _with_sum(self, data: bytes) -> bytes:
        """Merges llama.cpp's usage per choice into one for all choices, as OpenAI reports it."""
        data = data.replace(b"data: null\n\n", b"")  # llama.cpp sends null between two prompts
        if self.done and self._keep_usage and self._template:
            before, mark, after = data.rpartition(DONE)
            total = {**self._template, "usage": stated(self.usage or {})}
            data = before + b"data: " + orjson.dumps(total) + b"\n\n" + mark + after
        return data

    def _with_error(self, data: bytes) -> bytes:
        """The events before an error, if there is one.

        llama.cpp of 2024 wrote it as `error: {...}`, which clients ignore.
        """
        events = []
        for event in cut(data):
            if event.startswith(b"error:"):
                event = b'data: {"error":' + event[6:].strip() + b"}"
            # A chunk with `"error":null` beside its choices is not an error.
            if b'"error"' in event and (chunk := parsed(event)) and chunk.get("error"):
                log.warning("an engine broke off: %s", event[:1000].decode("utf-8", "replace"))
                self._fail()
                break
            events.append(event + b"\n\n")
        return b"".join(events)


def with_tokens(usage: dict[str, Any], written: int) -> dict[str, Any]:
    """Moves `written` tokens, which the prompt repeats from the answer, to the completion."""
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not (written and isinstance(prompt, int) and isinstance(completion, int)):
        return usage
    moved = min(written, prompt)
    return {**usage, "prompt_tokens": prompt - moved, "completion_tokens": completion + moved}


def parsed(event: bytes) -> dict[str, Any] | None:
    """Parses an event that is a JSON object on a single line."""
    if not event.startswith(b"data:"):
        return None
    try:
        chunk = orjson.loads(event[5:])
    except ValueError:
        return None
    return chunk if isinstance(chunk, dict) else None


def _says_something(chunk: dict[str, Any]) -> bool:
    """Does the chunk have content besides the usage? An empty delta without a reason does not
    count."""
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            return True
        delta = choice.get("delta")
        has_words = any(delta.values()) if isinstance(delta, dict) else bool(delta)
        if choice.get("finish_reason") or choice.get("text") or has_words:
            return True
    return False
