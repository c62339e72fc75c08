"""Passes a model's answer through, under the gateway's name for the model."""

from typing import Any

import orjson

from core.sse import cut
from gateway.answering.stream import Stream, identity, parsed
from gateway.api.endpoints import CHAT, COMPLETIONS, EMBEDDINGS
from gateway.api.plan import RequestPlan, Tokens, tokens
from gateway.api.probabilities import Probabilities
from gateway.api.transform import WHOLE, PartialAnswer, Rest, Transform, complete
from gateway.api.usage_sum import stated
from gateway.http.asgi import DONE, broken_off, dump
from gateway.routing.dispatch import Opened

HELD_BYTES = 2**16  # bytes of events to buffer before their text is extracted
_VECTOR = b'"embedding":'
PREFIXES = {CHAT.path: "chatcmpl-", COMPLETIONS.path: "cmpl-"}

# Fields of requests whose answer is text only; some are limited to the given values.
_PLAIN = frozenset(
    (
        *("model", "messages", "prompt", "suffix", "stream", "stream_options", "stop", "seed"),
        *("max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "min_p"),
        *("frequency_penalty", "presence_penalty", "repetition_penalty", "repeat_penalty"),
        *("logit_bias", "user", "safety_identifier", "metadata", "store", "service_tier"),
        *("reasoning_effort", "chat_template_kwargs", "parallel_tool_calls", "cache_prompt"),
    )
)
_SET_TO: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "response_format": ({"type": "text"},),
}
_UNSET: tuple[Any, ...] = (None, False, 0, [], {})


class Plain(Transform):
    """Passes the engine's bytes on, unchanged as far as possible.

    Keeps the events, and parses them only if an engine breaks off.
    """

    def __init__(self, plan: RequestPlan, keeps_text: bool) -> None:
        request = plan.request
        options = request.get("stream_options")
        self._shows_usage = isinstance(options, dict) and bool(options.get("include_usage"))
        self._plan = plan
        self._stream: Stream
        self._opened: Opened
        self._rest = WHOLE
        self._name = plan.alias.encode()
        self._prefix = PREFIXES.get(plan.endpoint, "")
        self._has_vectors = plan.endpoint == EMBEDDINGS.path
        self._has_begun = False
        self._is_resumed = False
        self._events: list[bytes] = []
        self._size = 0
        self._head: dict[str, Any] = {}  # the fields that all chunks of the stream share
        self._text = ""
        self._words = 0  # events that contained text
        self._is_lost = False
        self._is_complete = False  # a finish reason has been sent
        self._tokens: Tokens | None = None
        self._probabilities: Probabilities | None = None
        if plan.endpoint == COMPLETIONS.path and request.get("logprobs") is not None:
            self._probabilities = Probabilities()
        self._log: list[bytes] | None = None
        if keeps_text:
            self._log = []
            prompt = request.get("messages", request.get("prompt", request.get("input")))
            self.question = dump(prompt).decode()

    @property
    def tokens(self) -> Tokens:
        if self._tokens is None and self._plan.stream and self._has_begun:
            stream = self._stream
            self._tokens = tokens(stream.usage)
            if self._tokens is None:
                self._read()
                written = self._rest.tokens + stream.events if self._is_lost else self._words
                return self._estimated(written)
        return self._tokens or self._estimated(0)

    def _estimated(self, completion: int) -> Tokens:
        return Tokens(self._plan.budget.prompt // BYTES_PER_TOKEN, completion)

    @property
    def answer(self) -> str:
        return b"".join(self._log or ()).decode("utf-8", "replace")

    @property
    def is_over(self) -> bool:
        return self._has_begun and (self._stream.is_whole or self._is_complete)

    def begin(self, opened: Opened, rest: Rest) -> None:
        self._opened = opened
        self._is_resumed = self._has_begun
        self._has_begun = True
        self._rest = rest
        self._stream = Stream(
            opened.model_there,
            self._name,
            keep_usage=self._shows_usage,
            prefix=self._prefix,
            given=rest.tokens,
            choices=self._plan.budget.choices,
            copies=self._plan.copies,
        )

    def feed(self, data: bytes) -> bytes:
        out = self._stream.feed(data)
        if self._is_resumed:
            out = self._joined(out)
        if self._probabilities is not None:
            out = _settled(out, self._probabilities)
        if not self._is_lost:
            self._events.append(out)
            self._size += len(out)
            if self._size > HELD_BYTES:
                self._read()
        if self._log is not None and out:
            self._log.append(out)
        return out

    def partial(self) -> PartialAnswer | None:
        self._read()
        return None if self._is_lost else PartialAnswer(self._text, self._words)

    def end(self) -> bytes:
        return DONE if self._is_complete and not self._stream.is_whole else self._stream.end()

    async def whole(self, body: bytes) -> bytes:
        try:
            # Of an answer with vectors, only the usage and the names are read.
            answer = orjson.loads(_without_vectors(body) if self._has_vectors else body)
        except ValueError:
            answer = None
        if self._prefix and not (isinstance(answer, dict) and _choices(answer)):
            raise broken_off()
        if isinstance(answer, dict):
            self._tokens = tokens(answer.get("usage"))
            answer.pop("timings", None)
            if not self._has_vectors and isinstance(usage := answer.get("usage"), dict):
                answer["usage"] = stated(usage)
            if self._plan.endpoint == CHAT.path:
                complete(_choices(answer))
            if self._probabilities is not None:
                for choice in _choices(answer):
                    self._probabilities.settle(choice)
            if self._plan.endpoint in (CHAT.path, COMPLETIONS.path):
                body = dump(answer)
            for old, new in identity(answer, self._name, self._prefix):
                body = body.replace(old, new)
        if self._log is not None:
            self._log.append(body)
        return body

    def _joined(self, events: bytes) -> bytes:
        """Rewrites the events of the engine that resumes as a continuation of the first stream."""
        if not self._head:
            return events
        joined = []
        for event in cut(events):
            if (chunk := parsed(event)) is not None:
                if not self._join(chunk):
                    continue
                event = b"data: " + orjson.dumps(chunk)
            joined.append(event + b"\n\n")
        return b"".join(joined)

    def _join(self, chunk: dict[str, Any]) -> bool:
        """Make the chunk part of the first stream. Returns whether it adds anything."""
        chunk.update((name, value) for name, value in self._head.items() if name in chunk)
        choices = _choices(chunk)
        says = not choices
        for choice in choices:
            delta = choice["delta"] if isinstance(choice.get("delta"), dict) else choice
            name = "text" if delta is choice else "content"
            delta.pop("role", None)
            if isinstance(delta.get(name), str):
                delta[name] = self._rest.text(delta[name])
            more = delta.get(name) if delta is choice else any(delta.values())
            says |= bool(more or choice.get("finish_reason"))
        return says

    def _read(self) -> None:
        """Extract the text of the buffered events."""
        events = cut(b"".join(self._events))
        self._events.clear()
        self._size = 0
        is_plain = _is_plain(self._plan)
        text = [self._text]
        for event in events:
            chunk = parsed(event) or {}
            if not self._head:
                self._head = {name: chunk[name] for name in ("id", "created") if name in chunk}
            for choice in _choices(chunk):
                delta = choice["delta"] if isinstance(choice.get("delta"), dict) else choice
                words = delta.get("text" if delta is choice else "content")
                if isinstance(words, str) and words:
                    text.append(words)
                    self._words += 1
                more = () if delta is choice else delta.keys() - {"role", "content"}
                self._is_lost |= any(delta[name] for name in more)
                self._is_complete |= is_plain and choice.get("finish_reason") is not None
        self._text = "".join(text)
        self._is_lost |= bool(self._text) and not is_plain


BYTES_PER_TOKEN = 4  # of English, approximately


def _settled(events: bytes, probabilities: Probabilities) -> bytes:
    made = []
    for event in cut(events):
        if b'"logprobs":{' in event and (chunk := parsed(event)) is not None:
            for choice in _choices(chunk):
                probabilities.settle(choice)
            event = b"data: " + orjson.dumps(chunk)
        made.append(event + b"\n\n")
    return b"".join(made)


def _is_plain(plan: RequestPlan) -> bool:
    """Is the answer text only, so that any engine can continue it?"""
    for name, value in plan.request.items():
        if name not in _PLAIN and value not in _UNSET and value not in _SET_TO.get(name, ()):
            return False
    if plan.endpoint != CHAT.path:
        return isinstance(plan.request.get("prompt"), str)
    # Some engines continue such a message, others begin a new one.
    return bool(plan.request["messages"][-1]["role"] != "assistant")


def _without_vectors(body: bytes) -> bytes:
    """Skips the numbers: parsing 2,048 vectors would block all other requests for 80 ms."""
    head, *parts = body.split(_VECTOR)
    pieces = [head]
    for part in parts:
        end = part.find(b"]")
        # With one vector per token, the first closing bracket is not the last one.
        is_vector = end >= 0 and part[:2].strip()[:1] == b"[" and part.count(b"[", 0, end) == 1
        pieces.append(b"0" + part[end + 1 :] if is_vector else part)
    return _VECTOR.join(pieces)


def _choices(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    choices = chunk.get("choices")
    entries = choices if isinstance(choices, list) else []
    return [choice for choice in entries if isinstance(choice, dict)]
