"""`/v1/chat/completions` of a grounded alias: answers that stand on pages of the wiki."""

import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
from starlette.datastructures import Headers
from starlette.types import Send

from gateway.aliases import BASE, DOCS, Route
from gateway.config import GatewaySettings
from gateway.dispatch import Call, Dispatch, Opened, stated
from gateway.engine import estimates
from gateway.errors import AskdocsError
from gateway.exchange import Exchange
from gateway.fleet import Served
from gateway.grounding import prompt, quote
from gateway.grounding.blocks import beginning as first_blocks
from gateway.grounding.excerpt import FOCUS, Excerpt, beginning, focus, spoken
from gateway.grounding.ground import Count, Grounding, Grounds
from gateway.grounding.links import absolute
from gateway.grounding.prompt import Message
from gateway.grounding.support import SentenceGate, Support
from gateway.http import (
    DONE,
    ApiError,
    broken_off,
    engine_away,
    event,
    events,
    parse_object,
    send_events,
    send_json,
)
from gateway.lane import LaneError
from gateway.room import Room, wanted
from gateway.wiki.page import Page
from gateway.wiki.words import stems

Opening = Callable[[], Awaitable[Opened]]

# The instructions, the delimiters and the chat template around pages and question, in tokens.
FRAME = 150
QUOTE = 1200  # characters of the section that is quoted beside an answer


@dataclass(frozen=True)
class Asked:
    """A chat request to `docs`, taken apart."""

    question: str
    history: list[Message]
    client_system: str
    page_url: str | None
    stream: bool
    progress: bool
    usage: bool
    """Did the client ask for usage in the stream?"""


class Chat:
    """Answers that stand on pages of the wiki."""

    def __init__(self, settings: GatewaySettings, dispatch: Dispatch, grounding: Grounding) -> None:
        self._settings = settings
        self._dispatch = dispatch
        self._grounding = grounding

    def bound(self, room: Room) -> Room:
        """The room of a request when the pages are in front of it, too: an upper bound."""
        return room._replace(prompt=room.prompt + self._settings.page_budget + FRAME + FOCUS)

    async def answer(
        self,
        request: dict[str, Any],
        exchange: Exchange,
        route: Route,
        counter: Served,
        send: Send,
    ) -> None:
        """Answer one request. The engine of `counter` says how much fits. Raises ApiError."""
        engine = counter.engine
        assert engine is not None
        asked = take_apart(request, Headers(scope=exchange.scope))
        if exchange.wants_text:
            exchange.prompt = asked.question
        try:
            context = (await engine.model()).context
            grounds, room = await self._ground(asked, request, context)
        except (httpx.HTTPError, AskdocsError):
            if len(route.candidates) == 1:
                raise engine_away() from None
            # The one that counts is away, and another one answers: by a rule of thumb, then.
            counter.breaker.failed(timed_out=True)
            context = engine.known.context if engine.known else None
            grounds, room = await self._ground(asked, request, context, estimates)
        answer = Answer(self._settings, self._grounding, asked, grounds, request, room, exchange)
        opening = partial(self._dispatch.open, answer.call(), route)
        if asked.stream:
            await send_events(send, answer.stream(opening))
        else:
            await send_json(send, 200, await answer.whole(opening))

    async def _ground(
        self,
        asked: Asked,
        request: dict[str, Any],
        context: int | None,
        count: Count | None = None,
    ) -> tuple[Grounds, int]:
        """The pages, and the tokens that are left for the answer.

        Raises:
            ApiError: 400, no room is left for a page.
            httpx.HTTPError, AskdocsError: the engine that counts is away.
        """
        settings = self._settings
        spoken = [
            asked.question,
            asked.client_system,
            *(str(m["content"]) for m in asked.history),
        ]
        fixed = FRAME + sum(await (count or self._grounding.count)([t for t in spoken if t]))
        length = wanted(request, settings.max_tokens)
        budget = settings.page_budget
        if context is not None:
            # A client's max_tokens beyond the room is clamped: agents send 32,000 as a matter of
            # course, and the pages come first.
            answer = min(length, max(settings.max_tokens, context - fixed - budget))
            budget = min(budget, context - fixed - answer)
            if budget < 100:
                raise ApiError(
                    400,
                    f"the conversation has about {fixed:,} tokens and the model's context"
                    f" {context:,}: no room is left for a page and an answer; shorten it",
                    code="context_length_exceeded",
                    param="messages",
                )
            length = min(length, answer)
        grounds = await self._grounding.ground(
            asked.question,
            budget,
            settings.max_pages,
            asked.page_url,
            count,
            [str(turn["content"]) for turn in asked.history if turn["role"] == "user"],
        )
        return grounds, length


class Answer:
    """One answer that stands on pages."""

    def __init__(
        self,
        settings: GatewaySettings,
        grounding: Grounding,
        asked: Asked,
        grounds: Grounds,
        request: dict[str, Any],
        room: int,
        exchange: Exchange,
    ) -> None:
        self._settings = settings
        self._asked = asked
        self._grounds = grounds
        self._request = request
        self._room = room
        self._exchange = exchange
        rarity = grounding.index.rarity(stems(asked.question))
        self._focus = focus(grounds.excerpts, asked.question, rarity)
        quoting = self._focus if self._settings.answers == "quote" else None
        self._grammar = quote.grammar(quoting) if quoting else ""
        self._quoted: dict[str, bool] = {}  # by model: an engine may have no grammars
        self._is_quoting = False
        self._model = DOCS
        self._support = Support(grounds.excerpts, asked.question, grounding.index.rarity)
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._began = time.monotonic()
        self._sent: dict[int, int] = {}  # characters sent, by choice

    def call(self) -> Call:
        """The request to the model."""
        return Call("/chat/completions", self._exchange.scope, self._asked.stream, self._body)

    async def whole(self, opening: Opening) -> dict[str, Any]:
        """The response of a request without `stream`. Raises ApiError."""
        self._announce()
        if not self._grounds.excerpts:
            return self._refusal()
        opened = await opening()
        try:
            self._begin(opened)
            response = parse_object(await opened.body())
        except LaneError:
            raise broken_off() from None
        finally:
            await opened.close()
        self._count(response.get("usage"))
        response["model"] = self._model
        for choice in response.get("choices", []):
            message = choice.get("message", {})
            gate = self._gate()
            text = gate.feed(message.get("content") or "")
            text += gate.close(cut=choice.get("finish_reason") == "length")
            text = prompt.REFUSAL if gate.refused else self._linked(text.strip())
            message["content"] = text
            message["annotations"] = self._annotations(gate, len(text))
            response["askdocs"] = self._facts(gate)
        self._report(response.get("askdocs", {}))
        return response

    async def stream(self, opening: Opening) -> AsyncGenerator[bytes, None]:
        """The events of a request with `stream`. Raises ApiError."""
        self._announce()
        if self._asked.progress:
            yield event(self._chunk([], askdocs=self._reading()))
        if not self._grounds.excerpts:
            for chunk in self._refusal_chunks():
                yield chunk
            return
        try:
            opened = await opening()
            try:
                self._begin(opened)
                async for chunk in self._streamed(opened):
                    yield chunk
            finally:
                await opened.close()
        except LaneError:
            raise broken_off() from None

    async def _streamed(self, opened: Opened) -> AsyncIterator[bytes]:
        gates: dict[int, SentenceGate] = {}
        finished: set[int] = set()
        choices = max(1, self._request.get("n") or 1)
        usage: dict[str, Any] | None = None
        tokens = 0
        async for data in events(opened.chunks()):
            if data == "[DONE]":
                break
            chunk = parse_object(data.encode())
            if "error" in chunk:
                raise stated(502, data.encode())
            self._exchange.measured.chunk()
            usage = chunk.pop("usage", None) or usage
            kept = []
            for choice in chunk.get("choices", []):
                number = choice.get("index", 0)
                if number in finished:
                    continue
                tokens += 1
                gate = gates.setdefault(number, self._gate())
                if self._pass(choice, gate, chunk):
                    kept.append(choice)
                if choice.get("finish_reason"):
                    finished.add(number)
            if kept:
                yield event({**chunk, "model": self._model, "choices": kept})
            if len(finished) == choices and any(gate.stopped for gate in gates.values()):
                break  # the engine would go on; it stops when its client leaves
        if len(finished) < choices:
            raise broken_off()
        usage = usage or self._estimated(tokens)
        self._count(usage)
        if self._asked.usage:
            yield event(self._chunk([], usage=usage))
        yield DONE

    def _begin(self, opened: Opened) -> None:
        served = opened.served
        self._model = served.name
        self._is_quoting = self._quoted.get(served.name, False)
        self._exchange.answered_by(served.name, opened.lane, opened.left)

    def _count(self, usage: Any) -> None:
        self._exchange.used(usage)

    def _estimated(self, completion: int) -> dict[str, int]:
        """Usage for an answer that was ended before the engine stated it."""
        spoken = len(self._asked.question) + len(beginning(self._focus) if self._focus else "")
        tokens = self._grounds.tokens + FRAME + spoken // 4
        return {
            "prompt_tokens": tokens,
            "completion_tokens": completion,
            "total_tokens": tokens + completion,
        }

    def _pass(self, choice: dict[str, Any], gate: SentenceGate, chunk: dict[str, Any]) -> bool:
        """Put into `choice` what may go out; return whether anything of it has to."""
        number = choice.get("index", 0)
        delta = choice.setdefault("delta", {})
        text = gate.feed(delta.get("content") or "")
        if choice.get("finish_reason") or gate.stopped:
            text += gate.close(cut=choice.get("finish_reason") == "length")
            choice["finish_reason"] = choice.get("finish_reason") or "stop"
            if gate.refused and not gate.passed.strip():
                text = prompt.REFUSAL
            delta["content"] = self._linked(text).rstrip()
            length = self._sent.pop(number, 0) + len(delta["content"])
            delta["annotations"] = self._annotations(gate, length)
            chunk["askdocs"] = self._facts(gate)
            self._report(chunk["askdocs"])
            return True
        delta["content"] = self._linked(text)
        self._sent[number] = self._sent.get(number, 0) + len(delta["content"])
        return bool(text or delta.get("role"))

    def _linked(self, text: str) -> str:
        """A link in the answer is one of the page that the sentence rests on."""
        best = self._support.best_section(text) if "](" in text else None
        return absolute(text, best[0]) if best else text

    def _gate(self) -> SentenceGate:
        return SentenceGate(self._support, self._settings.support, self._is_quoting)

    async def _body(self, served: Served) -> dict[str, Any]:
        request = dict(self._request)
        for name in ("max_tokens", "max_completion_tokens", "metadata"):
            request.pop(name, None)
        request.setdefault("temperature", 0)
        request["max_tokens"] = self._room
        request["messages"] = prompt.render(
            self._grounds.excerpts,
            self._asked.question,
            self._asked.history,
            self._asked.client_system,
            beginning(self._focus) if self._focus else "",
        )
        if self._asked.stream:
            request["stream_options"] = {"include_usage": True}
        constraint = await served.engine.constraint(self._grammar) if served.engine else {}
        self._quoted[served.name] = bool(constraint)
        return {**request, **constraint}

    def _annotations(self, gate: SentenceGate, length: int) -> list[dict[str, Any]]:
        """OpenAI's `url_citation` annotations of a text of `length`; none under a refusal."""
        if gate.refused:
            return []
        return [
            {
                "type": "url_citation",
                "url_citation": {
                    "url": source["url"],
                    "title": source["title"],
                    "start_index": 0,
                    "end_index": length,
                },
            }
            for source in self._sources(gate)
        ]

    def _sources(self, gate: SentenceGate) -> list[dict[str, Any]]:
        best = self._support.best_section(gate.passed)
        sources = []
        if best:
            page, section = best
            sources.append(
                {
                    "title": page.title,
                    "section": " › ".join(section.path),
                    "url": page.section_url(section),
                    "quote": absolute(_quote(spoken(section)), page),
                }
            )
        for part in self._grounds.excerpts:
            if not best or part.page.path != best[0].path:
                sources.append(
                    {"title": part.page.title, "section": "", "url": part.page.url, "quote": ""}
                )
        return sources

    def _facts(self, gate: SentenceGate | None) -> dict[str, Any]:
        refused = gate is None or gate.refused
        return {
            "model": self._people_call_it(),
            "answers": "quote" if self._is_quoting else "write",
            "refused": refused,
            "sources": [] if refused or gate is None else self._sources(gate),
            "pages": [_link(page) for page in self._grounds.best],
        }

    def _people_call_it(self) -> str:
        return (self._settings.model_name if self._model in (BASE, DOCS) else None) or self._model

    def _reading(self) -> dict[str, Any]:
        return {
            "reading": [
                {**_link(e.page), "tokens": e.tokens, "whole": e.is_whole}
                for e in self._grounds.excerpts
            ],
            "seconds": self._expected(),
        }

    def _expected(self) -> float | None:
        rate = self._settings.prefill_rate
        return round((self._grounds.tokens + FRAME) / rate, 1) if rate else None

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
            **more,
        }

    def _refusal(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": prompt.REFUSAL, "annotations": []}
        facts = self._facts(None)
        self._report(facts)
        return {
            **self._chunk([{"index": 0, "message": message, "finish_reason": "stop"}]),
            "object": "chat.completion",
            "usage": _NO_USAGE,
            "askdocs": facts,
        }

    def _refusal_chunks(self) -> list[bytes]:
        delta = {"role": "assistant", "content": prompt.REFUSAL, "annotations": []}
        facts = self._facts(None)
        self._report(facts)
        last = self._chunk([{"index": 0, "delta": delta, "finish_reason": "stop"}], askdocs=facts)
        usage = [event(self._chunk([], usage=_NO_USAGE))] if self._asked.usage else []
        return [event(last), *usage, DONE]

    def _announce(self) -> None:
        if not self._grounds.excerpts:
            return
        names = ", ".join(f"“{e.page.title}”{_part(e)}" for e in self._grounds.excerpts)
        seconds = self._expected()
        about = f", at most {seconds:.0f} s" if seconds and seconds >= 1 else ""
        say(f"reading {names} ({self._grounds.tokens:,} tokens{about})")

    def _report(self, facts: dict[str, Any]) -> None:
        self._exchange.refused = bool(facts.get("refused"))
        took = time.monotonic() - self._began
        if facts.get("refused"):
            say(f"refused after {took:.1f} s: the pages do not answer it")
        else:
            self._exchange.stood_on(e.page.url for e in self._grounds.excerpts)
            say(f"answered in {took:.1f} s from {facts['sources'][0]['url']}")


_NO_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def wants_grounding(request: dict[str, Any], headers: Headers) -> bool:
    """Is this a question to the wiki? Tool calls and `x-askdocs-grounding: off` are none."""
    if headers.get("x-askdocs-grounding", "").lower() == "off":
        return False
    messages = request.get("messages")
    if request.get("tools") or request.get("functions") or not isinstance(messages, list):
        return False
    return not any(isinstance(m, dict) and m.get("role") in ("tool", "function") for m in messages)


def take_apart(request: dict[str, Any], headers: Headers) -> Asked:
    """Raises ApiError 400 when a message is no object, or the last one not a user's text."""
    messages: list[dict[str, Any]] = request["messages"]
    if not messages or not all(isinstance(message, dict) for message in messages):
        raise ApiError(400, "messages must be a list of objects, and not empty", param="messages")
    systems = [m for m in messages if m.get("role") in ("system", "developer")]
    # Some clients put a reminder of their instructions at the end: the question is before it.
    spoken = [m for m in messages if m.get("role") not in ("system", "developer")]
    last = spoken[-1] if spoken else {}
    question = text_of(last.get("content")).strip()
    if last.get("role") != "user" or not question:
        raise ApiError(
            400,
            "the last message must be the user's, with text: it is the question to the docs",
            param="messages",
        )
    metadata = request.get("metadata")
    page_url = metadata.get("page_url") if isinstance(metadata, dict) else None
    options = request.get("stream_options")
    return Asked(
        question=question,
        history=[
            {"role": m["role"], "content": text_of(m.get("content"))}
            for m in spoken[:-1]
            if m.get("role") in ("user", "assistant")
        ],
        client_system="\n\n".join(text_of(m.get("content")) for m in systems),
        page_url=page_url if isinstance(page_url, str) else None,
        stream=bool(request.get("stream")),
        progress=headers.get("x-askdocs-progress", "").lower() == "on",
        usage=isinstance(options, dict) and bool(options.get("include_usage")),
    )


def text_of(content: Any) -> str:
    """The text of a message's content, which is a string or a list of parts.

    Half a surrogate pair, which JSON can carry and UTF-8 cannot, becomes a question mark.
    """
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "\n".join(part for part in parts if isinstance(part, str))
    return content.encode("utf-8", "replace").decode() if isinstance(content, str) else ""


def say(text: str) -> None:
    """A line for the person at the terminal; `askdocs up` shows the lines that begin like this."""
    print(f"» {text}", flush=True)


def _part(part: Excerpt) -> str:
    if part.is_whole:
        return ""
    return f", {len(part.sections)} of {len(part.page.sections)} sections"


def _link(page: Page) -> dict[str, str]:
    return {"title": page.title, "url": page.url}


def _quote(text: str) -> str:
    if len(text) <= QUOTE:
        return text
    return f"{first_blocks(text, QUOTE)}\n\n…"
