"""Goes on with an answer whose engine broke off in the middle: a replica was killed, for example.

Another engine, or the same one when it is back, is given what the client has got as the beginning
of its answer, and what it sends goes on in the stream of the first. An answer that has not begun is
asked for anew. Until an engine breaks off, the events that pass are kept and nothing is parsed.

An engine can be given the beginning of words, and of nothing else. So only answers of plain text go
on: without tools, formats or probabilities.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import orjson

from gateway.aliases import Route
from gateway.dispatch import Call, Dispatch, Opened
from gateway.errors import AskdocsError
from gateway.fleet import Served
from gateway.http import ApiError
from gateway.stream import parsed

log = logging.getLogger("askdocs.gateway")

TIMES = 2  # that one answer goes on: more of them may break by what is asked
WAIT_S = 15.0  # from the break to the last try: llama.cpp is back 3 s after a kill
PAUSE_S = (0.25, 2.0)  # the first one between two tries, and the longest
KEPT = 2**16  # bytes of events that are kept until their words are taken out of them
CHAT = "/chat/completions"

# What a request may have whose answer is nothing but words; of some, only these values.
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

Find = Callable[[str], Awaitable[Served | None]]


class Continuation:
    """What one answer has said so far, and the way to the rest of it."""

    def __init__(
        self, dispatch: Dispatch, find: Find, call: Call, route: Route, request: dict[str, Any]
    ) -> None:
        """`call` is what the first engine was asked, `request` what the client sent."""
        self._dispatch = dispatch
        self._find = find
        self._call = call
        self._route = route
        self._request = request
        self._events: list[bytes] = []
        self._size = 0
        self._head: dict[str, Any] = {}
        self._text = ""
        self._words = 0  # events that held some
        self._is_lost = False
        self._times = 0
        self._blanks = ""
        """What the answer ended with at the break, and the engine that goes on was not given."""
        self._begun = ""  # what that one said before its first word
        self.tokens = 0
        """Of what was said before the engine that answers now began."""
        self.is_complete = False
        """Has it been said why the answer ends?"""

    @property
    def has_begun(self) -> bool:
        """Is it another engine than the first that answers now?"""
        return self._times > 0

    def passed(self, events: bytes) -> None:
        """The client gets these: whole events of a stream."""
        if self._is_lost:
            return
        self._events.append(events)
        self._size += len(events)
        if self._size > KEPT:
            self._read()

    async def open(self, broken: Served) -> Opened | None:
        """The rest of the answer that `broken` did not give; close it. None: nobody can give it."""
        self._read()
        self._times += 1
        if self._is_lost or self.is_complete or self._times > TIMES:
            return None
        return await insistently(broken, lambda: self._try(broken))

    def joined(self, events: bytes) -> bytes:
        """Events of the engine that goes on, as the client is to get them: of the first stream."""
        if not self._head:
            return events
        joined = []
        for event in events[:-2].split(b"\n\n") if events else ():
            if (chunk := parsed(event)) is not None:
                if not self._join(chunk):
                    continue
                event = b"data: " + orjson.dumps(chunk)
            joined.append(event + b"\n\n")
        return b"".join(joined)

    async def _try(self, broken: Served) -> Opened | None:
        """As `open`, now. Raises ApiError: those who can do not answer, or refuse."""
        able = []
        for name in self._route.with_last(broken.name).candidates:
            served = await self._find(name)
            if served is not None and await self._is_able(served):
                able.append(name)
        if not able:
            return None
        call = replace(self._call, render=self._render)
        return await self._dispatch.open(call, replace(self._route, candidates=tuple(able)))

    async def _is_able(self, served: Served) -> bool:
        """Does it go on with what it is given? Perhaps, while it is away."""
        if not self._text.strip():
            return True
        if served.engine is None:
            return False
        if self._call.path != CHAT:
            return True
        try:
            return await served.engine.kind() != "other"
        except (httpx.HTTPError, AskdocsError):
            return True

    async def _render(self, served: Served) -> dict[str, Any]:
        """The request whose answer is the rest."""
        body = await self._call.render(served)
        said = self._text
        self.tokens = 0
        self._blanks, self._begun = "", ""
        if not said.strip():
            self._blanks = said
            return body
        assert served.engine is not None
        if self._call.path != CHAT:
            self.tokens = self._words
            body["prompt"] += said
        else:
            kind = await served.engine.kind()
            if kind == "other":
                raise ApiError(400, f"{served.name} does not go on with an answer that has begun")
            if kind == "vllm":
                # Some chat templates trim a message, and then its last blanks are said once more.
                self._blanks = said[len(said.rstrip()) :]
                said = said.rstrip()
                body |= {"continue_final_message": True, "add_generation_prompt": False}
            self.tokens = await served.engine.count(said)
            body["messages"] = [*body["messages"], {"role": "assistant", "content": said}]
        body["max_tokens"] = max(1, body["max_tokens"] - self.tokens)
        return body

    def _join(self, chunk: dict[str, Any]) -> bool:
        """Make the chunk one of the first stream. Has it anything to say there?"""
        chunk.update((name, value) for name, value in self._head.items() if name in chunk)
        choices = _choices(chunk)
        says = not choices
        for choice in choices:
            said = choice["delta"] if isinstance(choice.get("delta"), dict) else choice
            name = "text" if said is choice else "content"
            said.pop("role", None)
            if isinstance(said.get(name), str):
                said[name] = self._unless_said(said[name])
            more = said.get(name) if said is choice else any(said.values())
            says |= bool(more or choice.get("finish_reason"))
        return says

    def _unless_said(self, text: str) -> str:
        """`text` without the blanks that were said before the break, and are said once more."""
        if not self._blanks:
            return text
        self._begun += text
        words = self._begun.lstrip()
        if not words:
            return ""
        blanks = self._begun[: -len(words)]
        more = blanks[len(self._blanks) :] if blanks.startswith(self._blanks) else ""
        self._blanks = ""
        return more + words

    def _read(self) -> None:
        """Take the words out of the events that were kept."""
        events = b"".join(self._events).split(b"\n\n")
        self._events.clear()
        self._size = 0
        is_plain = _is_plain(self._call.path, self._request)
        text = [self._text]
        for event in events:
            chunk = parsed(event) or {}
            if not self._head:
                self._head = {name: chunk[name] for name in ("id", "created") if name in chunk}
            for choice in _choices(chunk):
                said = choice["delta"] if isinstance(choice.get("delta"), dict) else choice
                words = said.get("text" if said is choice else "content")
                if isinstance(words, str) and words:
                    text.append(words)
                    self._words += 1
                more = () if said is choice else said.keys() - {"role", "content"}
                self._is_lost |= any(said[name] for name in more)
                self.is_complete |= is_plain and choice.get("finish_reason") is not None
        self._text = "".join(text)
        self._is_lost |= bool(self._text) and not is_plain


async def insistently(
    broken: Served, opening: Callable[[], Awaitable[Opened | None]]
) -> Opened | None:
    """What goes on in the place of `broken`, which may be itself when it is back. None: nothing."""
    last = time.monotonic() + WAIT_S
    pause, longest = PAUSE_S
    while True:
        try:
            opened = await opening()
        except ApiError as error:
            if (error.status < 500 and error.status != 429) or time.monotonic() > last - pause:
                return None
        else:
            goes_on = opened.served.name if opened else "nobody"
            log.warning("%s broke off in an answer; %s goes on", broken.name, goes_on)
            return opened
        await asyncio.sleep(pause)
        pause = min(2 * pause, longest)


def _is_plain(path: str, request: dict[str, Any]) -> bool:
    """Is the answer nothing but words, which any engine can be given the beginning of?"""
    for name, value in request.items():
        if name not in _PLAIN and value not in _UNSET and value not in _SET_TO.get(name, ()):
            return False
    if path != CHAT:
        return isinstance(request.get("prompt"), str)
    # Some engines go on with such a message, others begin a new one.
    return bool(request["messages"][-1]["role"] != "assistant")


def _choices(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    choices = chunk.get("choices")
    found = choices if isinstance(choices, list) else []
    return [choice for choice in found if isinstance(choice, dict)]
