"""A grounded answer: builds the model's request and processes its output."""

import hashlib
import logging
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

from core.sse import EventReader
from gateway.answering.check import Check, Scorer
from gateway.answering.choice import Choice, Ending, Held, Written
from gateway.answering.confidence import CAUTION, confidence
from gateway.answering.facts import CITED
from gateway.answering.grounding import prompt, wording
from gateway.answering.grounding.cite import quoted
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.ground import Grounding, Grounds
from gateway.answering.grounding.links import absolute, link
from gateway.answering.renumbered import Renumbered
from gateway.answering.stream import new_id, with_tokens
from gateway.api.chat_request import OF_TOOLS, DocsRequest
from gateway.api.plan import RequestPlan, Tokens, tokens
from gateway.api.transform import PartialAnswer, Rest, Transform, complete
from gateway.api.usage_sum import NO_USAGE, UsageSum, stated
from gateway.http.asgi import DONE, ApiError, broken_off, dump, event
from gateway.http.json_body import parse_object
from gateway.routing.aliases import people_call
from gateway.routing.dispatch import Call, Opened
from gateway.routing.registry import Served
from gateway.settings import Checking, GatewaySettings
from gateway.telemetry.tracing import Span as TraceSpan
from wiki.pages.asking import ends
from wiki.pages.page import Page, Section
from wiki.rights import shown

log = logging.getLogger("askdocs.gateway")


# Tokens of the instructions, the delimiters and the chat template around pages and question.
FRAME = 150
# Finish reasons of answers that call a tool.
CALLS = ("tool_calls", "function_call")


class GroundedAnswer(Transform):
    """A grounded answer."""

    keeps_alive = True

    def __init__(
        self,
        settings: GatewaySettings,
        grounding: Grounding,
        asked: DocsRequest,
        conversation: prompt.Conversation,
        grounds: Grounds,
        plan: RequestPlan,
        token_budget: int,
        keeps_text: bool,
        scorer: Scorer | None = None,
    ) -> None:
        """`conversation`: the texts of `asked` for the prompt. `token_budget`: tokens for the
        answer. `keeps_text`: for the log."""
        self._settings = settings
        self._asked = asked
        self._conversation = conversation
        self._grounds = grounds
        self._plan = plan
        self._token_budget = token_budget
        self._served = plan.alias
        self._grounding = grounding
        self._idf = grounding.index.idf
        is_checked = asked.plain and bool(grounds.excerpts)
        self._checking: Checking = plan.route.check if is_checked else "off"
        self._scorer = scorer
        self._prefix: list[prompt.Message] = []
        # What the client adds may repeat pages that others may not read.
        is_own = len(conversation.turns) > 1 or bool(conversation.client_system)
        self._salt = plan.salts.own() if is_own else plan.salts.of(grounds.closed)
        self._ended: list[tuple[dict[str, Any], dict[str, Any], Choice]] = []
        self._last: dict[str, Any] = {}  # the latest chunk
        self._id = new_id("chatcmpl-")
        self._created = int(time.time())
        self._began = time.monotonic()
        self._has_begun = False
        self._choices: list[Choice] = []
        self._going_on: set[int] = set()
        self._roles: set[int] = set()  # choices whose role has been sent
        self._renumbered: Renumbered | None = None  # if the client shows sources in the text only
        self._is_asked = False
        self._is_over = False
        self._rest = Rest()
        self._events = EventReader()
        self._error: ApiError | None = None  # the engine's error, in place of the rest
        self._sum = UsageSum()
        self._pieces = 0  # chunks with text of an answer
        self._keeps_text = keeps_text
        self.question = asked.question if keeps_text else ""
        self.reads = len(grounds.excerpts)

    def call(self, span: TraceSpan) -> Call:
        """Builds the request to the model."""
        pages = "\n".join(excerpt.page.url for excerpt in self._grounds.excerpts)
        session = hashlib.blake2b(pages.encode("utf-8", "replace"), digest_size=8).hexdigest()
        stream = self._asked.stream
        plan = self._plan
        return Call(plan.endpoint, plan.scope, stream, self._body, span, session, self._salt)

    @property
    def tokens(self) -> Tokens:
        if self._is_over and not self._is_asked:
            return Tokens()
        return tokens(self._usage()) or Tokens(self._prompt_tokens(), self._pieces)

    @property
    def answer(self) -> str:
        return "\n\n".join(choice.sent for choice in self._choices) if self._keeps_text else ""

    @property
    def is_over(self) -> bool:
        return self._is_over

    @property
    def is_enough(self) -> bool:
        """The engine would continue; it stops when the connection closes."""
        return self._is_over and any(choice.stopped for choice in self._choices)

    @property
    def settles(self) -> bool:
        return self._is_over and bool(self._ended)

    @property
    def holds(self) -> bool:
        return self._checking == "hold"

    def start(self) -> bytes:
        self._announce()
        if not self._grounds.excerpts:
            self._is_over = True
            return b"".join(self._refusal_chunks()) if self._asked.stream else self._refusal()
        if self._asked.stream and self._asked.progress:
            return event(self._chunk([], askdocs=self._reading()))
        return b""

    def begin(self, opened: Opened, rest: Rest) -> None:
        starts_over = not any(choice.heard for choice in self._choices) or not self._asked.stream
        self._is_asked = True
        if not self._has_begun:
            self._served = opened.served.name
        self._rest = rest
        self._sum = UsageSum(self._plan.copies)
        self._events = EventReader()
        self._error = None
        if starts_over:
            if self._asked.sources_in_text:
                self._renumbered = Renumbered(self._numbered())
            self._choices = [self._choice() for _ in range(self._plan.copies)]
            self._going_on = set(range(self._plan.copies))

    def feed(self, data: bytes) -> bytes:
        out = b""
        try:
            for payload in self._events.feed(data):
                if self._error or payload == b"[DONE]":
                    break
                out += self._event(payload)
        except ApiError as error:
            self._error = error
        except Exception:  # the event has an unexpected shape, or an index that cannot be read
            log.exception("an event of the engine could not be forwarded")
            self._error = broken_off()
        self._is_over = not self._going_on
        return out

    def partial(self) -> PartialAnswer | None:
        if not any(choice.heard for choice in self._choices):
            return PartialAnswer("", 0)
        if len(self._choices) > 1 or self._asked.logprobs:
            return None if any(choice.sent for choice in self._choices) else self._start_over()
        if self._error:
            return None
        return PartialAnswer(self._choices[0].heard, self._pieces)

    def _start_over(self) -> PartialAnswer:
        """Discard the engine's output, of which nothing has been sent."""
        self._choices = []
        return PartialAnswer("", 0)

    def end(self) -> bytes:
        if not self._is_over:
            return event((self._error or broken_off()).body)
        if not self._is_asked:
            return b""  # `start` has already sent everything
        usage = stated(self._usage() or self._estimated())
        return (event(self._chunk([], usage=usage)) if self._asked.usage else b"") + DONE

    async def whole(self, body: bytes) -> bytes:
        response = _parsed(body)
        self._sum.add(response)
        response.pop("timings", None)
        response |= {"id": self._id, "model": self._plan.alias}
        for choice, state in zip(response.get("choices", []), self._choices, strict=False):
            message = choice.get("message", {})
            state.hear(choice.get("logprobs"))
            state.feed(self._renumber(message.get("content") or "", is_end=True))
            await state.release()
            await state.rest()
            self._tell(choice, state)
            ending = await state.end()
            self._list_sources(choice, state, ending)
            if message.get("content") or state.sent:
                message["content"] = state.sent
            message["annotations"] = self._annotations(ending)
            response["askdocs"] = self._facts(ending, state.sent)
        complete(response.get("choices", []))
        if isinstance(usage := response.get("usage"), dict):
            response["usage"] = stated(usage)
        self._report(response.get("askdocs", {}))
        return dump(response)

    async def release(self) -> bytes:
        out = b""
        for number in sorted(self._going_on):
            state = self._choices[number]
            text = await state.release()
            choice: dict[str, Any] = {"index": number, "delta": {"content": text}}
            if text:
                out += self._passed(self._last, [{**choice, "finish_reason": None}])
            if state.stopped:
                self._going_on.discard(number)
                end = {"index": number, "finish_reason": "stop"}
                self._ended.append((self._last, end, state))
        self._is_over = not self._going_on
        return out

    async def settle(self) -> bytes:
        out = b""
        for chunk, choice, state in self._ended:
            text = await state.rest()
            last = {**chunk}
            self._finish(choice, state, await state.end(), last, text)
            out += self._passed(last, [choice])
        self._ended = []
        return out

    def _event(self, data: bytes) -> bytes:
        chunk = _parsed(data)
        if "error" in chunk:
            log.warning("an engine broke off: %s", data[:1000])
            raise broken_off()
        self._sum.add(chunk)
        for name in ("usage", "timings"):
            chunk.pop(name, None)
        self._last = {**chunk, "choices": []}
        sent = []
        for choice in chunk.get("choices", []):
            number = choice.get("index", 0)
            if number not in self._going_on:
                continue
            delta = choice.get("delta") or {}
            self._pieces += any(value for name, value in delta.items() if name != "role")
            state = self._choices[number]
            goes_out = self._pass_on(choice, state, chunk)
            if choice.get("finish_reason"):
                self._going_on.discard(number)
                if self._waits(choice, state):
                    end = {"index": number, "finish_reason": choice["finish_reason"]}
                    self._ended.append((self._last, end, state))
                    choice["finish_reason"] = None
            if goes_out:
                sent.append(choice)
        return self._passed(chunk, sent)

    def _passed(self, chunk: dict[str, Any], choices: list[dict[str, Any]]) -> bytes:
        """The event with the part of a chunk that may be sent."""
        if not choices:
            return b""
        self._has_begun = True
        head = {"id": self._id, "created": self._created, "model": self._plan.alias}
        return event({**chunk, **head, "choices": choices})

    def _usage(self) -> dict[str, Any] | None:
        """The usage as the engine reports it."""
        total = self._sum.total
        return with_tokens(total, self._rest.tokens) if total else None

    def _prompt_tokens(self) -> int:
        """An estimate, for an answer that was ended before the engine reported its usage."""
        return self._grounds.tokens + FRAME + len(self._asked.question) // 4

    def _estimated(self) -> dict[str, int]:
        prompt, completion, _ = self.tokens
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }

    def _pass_on(self, choice: dict[str, Any], state: Choice, chunk: dict[str, Any]) -> bool:
        """Fill `choice` with the text that may be sent; returns whether it must be sent."""
        delta = choice.setdefault("delta", {})
        number = choice.get("index", 0)
        if number in self._roles:
            delta.pop("role", None)
        elif "role" in delta:
            self._roles.add(number)
        if self._asked.logprobs:
            state.hear(choice.get("logprobs"))
        content = self._rest.text(delta.get("content") or "")
        text = state.feed(self._renumber(content, is_end=bool(choice.get("finish_reason"))))
        if choice.get("finish_reason") and not self._waits(choice, state):
            self._finish(choice, state, Ending(False, ""), chunk, text)
            return True
        if text or isinstance(delta.get("content"), str):  # null beside a tool call
            delta["content"] = text
        self._tell(choice, state)
        return bool(text or any(value for name, value in delta.items() if name != "content"))

    def _waits(self, choice: dict[str, Any], state: Choice) -> bool:
        """Is the end of the answer held until it is checked?"""
        return state.waits

    def _finish(
        self,
        choice: dict[str, Any],
        state: Choice,
        ending: Ending,
        chunk: dict[str, Any],
        text: str = "",
    ) -> None:
        """Turn `choice` and `chunk` into the last ones of an answer, with the rest of its
        `text`."""
        delta = choice.setdefault("delta", {})
        delta["annotations"] = self._annotations(ending)
        text += self._list_sources(choice, state, ending)
        if text or choice["finish_reason"] not in CALLS:
            delta["content"] = text
        chunk["askdocs"] = self._facts(ending, state.sent)
        self._tell(choice, state)
        self._report(chunk["askdocs"])

    def _renumber(self, text: str, *, is_end: bool) -> str:
        """The model's text, with the numbers of its citations in the order of the answer."""
        if self._renumbered is None:
            return text
        text = self._renumbered.feed(text)
        return text + self._renumbered.rest() if is_end else text

    def _list_sources(self, choice: dict[str, Any], state: Choice, ending: Ending) -> str:
        """Append the sources to the text of an answer, for a client that shows nothing else."""
        if self._renumbered is None or choice.get("finish_reason") in CALLS:
            return ""
        return state.send(self._renumbered.listed(ending.sections()))

    def _tell(self, choice: dict[str, Any], state: Choice) -> None:
        """Send probabilities only to clients that requested them: the engine is always asked for
        them."""
        choice.pop("logprobs", None)
        if self._asked.logprobs:
            choice["logprobs"] = state.tell()

    def _choice(self) -> Choice:
        if self._checking == "off":
            return Written(None)
        questions = "\n".join(map(ends, (*self._asked.before, self._asked.question)))
        check = Check(
            *(self._grounds.excerpts, self._idf, self._scorer, self._prefix),
            asked=questions,
            before=self._before if self._asked.before else None,
            thresholds=self._plan.route.thresholds.get(self._served, {}),
            salt=self._salt,
        )
        if self._checking == "hold":
            return Held(check, wording.refusal(self._asked.question, self._grounds.best))
        return self._marked(check)

    def _marked(self, check: Check) -> Choice:
        return Written(check)

    async def _before(self) -> list[Excerpt]:
        """The pages that the previous answer used."""
        asked = self._asked
        return await self._grounding.before(asked.before, asked.page_url, self._plan.route.sources)

    async def _body(self, served: Served) -> dict[str, Any]:
        request = dict(self._plan.request)
        for name in ("max_tokens", "max_completion_tokens", "metadata", *OF_TOOLS):
            request.pop(name, None)
        request.setdefault("temperature", 0)
        request["max_tokens"] = self._token_budget
        request["messages"] = prompt.assembled(self._grounds.excerpts, self._conversation)
        self._prefix = request["messages"][:1]
        if self._asked.stream:
            request["stream_options"] = {"include_usage": True}
            request |= served.engine.telling() if served.engine else {}
        return request

    def _annotations(self, ending: Ending) -> list[dict[str, Any]]:
        """OpenAI's `url_citation` annotations: only supported text is cited."""
        if self._renumbered is not None:
            return []
        return [
            {
                "type": "url_citation",
                "url_citation": {
                    "url": page.section_url(section),
                    "title": page.title,
                    "start_index": start,
                    "end_index": end,
                },
            }
            for start, end, page, section in ending.cited
        ]

    def _sources(self, ending: Ending) -> list[dict[str, Any]]:
        return [
            {
                "title": page.title,
                "section": " › ".join(section.path),
                "url": page.section_url(section),
                "quote": absolute(quoted(section, page), page),
            }
            for page, section in ending.sections()
        ]

    def _references(self, text: str) -> list[dict[str, Any]]:
        """The sections behind the numbers that the writer cites, such as `[2]`."""
        cited = {int(number) for number in CITED.findall(text)}
        places = self._renumbered.places if self._renumbered is not None else self._numbered()
        return [
            {
                "number": number,
                "title": page.title,
                "section": " › ".join(section.path),
                "url": page.section_url(section),
            }
            for number, (page, section) in places.items()
            if number in cited
        ]

    def _numbered(self) -> dict[int, tuple[Page, Section]]:
        """The sections of the prompt, by number."""
        every = prompt.numbered(self._grounds.excerpts)
        return {number: (page, section) for number, page, section in every}

    def _facts(self, ending: Ending, text: str = "") -> dict[str, Any]:
        ending = self._judged(ending)
        facts: dict[str, Any] = {
            "model": people_call(self._served, self._settings.model_name),
            "served": self._served,
            "mode": "generative",
            "refused": ending.refused,
            "reason": ending.reason,
            "verdict": ending.verdict,
            "claims": [claim.shown() for claim in ending.claims],
            "cut": ending.cut,
            "confidence": None,
            "caution": False,
            "sources": self._sources(ending),
            "references": self._references(text),
            "pages": [link(page) for page in self._grounds.best],
            "readers": shown(self._grounds.readers),
        }
        if not ending.refused:
            sure = confidence(ending.claims)
            if sure is not None:
                facts |= {"confidence": round(sure, 2), "caution": sure < CAUTION}
        return facts

    def _judged(self, ending: Ending) -> Ending:
        """Adjusts the ending for the response."""
        if self._grounds.excerpts:
            return ending
        return replace(ending, refused=True, reason="no_page")

    def _reading(self) -> dict[str, Any]:
        return {
            "reading": [
                {**link(e.page), "tokens": e.tokens, "whole": e.is_whole}
                for e in self._grounds.excerpts
            ],
        }

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._plan.alias,
            "choices": choices,
            **more,
        }

    def _refusal(self) -> bytes:
        message = {**self._refusing(), "annotations": []}
        facts = self._facts(Ending(True, "no_page"))
        self._report(facts)
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        complete([choice])
        whole = {
            **self._chunk([choice]),
            "object": "chat.completion",
            "usage": NO_USAGE,
            "askdocs": facts,
        }
        return dump(whole)

    def _refusing(self) -> dict[str, Any]:
        """The refusal as a message. It never fabricates requested JSON."""
        text = wording.refusal(self._asked.question, self._grounds.best)
        content, refusal = (text, None) if self._asked.plain else (None, text)
        return {"role": "assistant", "content": content, "refusal": refusal}

    def _refusal_chunks(self) -> list[bytes]:
        delta = {**self._refusing(), "annotations": []}
        facts = self._facts(Ending(True, "no_page"))
        self._report(facts)
        last = self._chunk([{"index": 0, "delta": delta, "finish_reason": "stop"}], askdocs=facts)
        usage = [event(self._chunk([], usage=NO_USAGE))] if self._asked.usage else []
        return [event(last), *usage, DONE]

    def _announce(self) -> None:
        if not self._grounds.excerpts:
            return
        names = ", ".join(f"“{e.page.title}”{_part(e)}" for e in self._grounds.excerpts)
        say(f"reading {names} ({self._grounds.tokens:,} tokens)")

    def _report(self, facts: dict[str, Any]) -> None:
        self.refused = bool(facts.get("refused"))
        self.cautious = bool(facts.get("caution"))
        verdicts = (claim["verdict"] for claim in facts.get("claims", ()))
        self.claims += tuple(verdict for verdict in verdicts if verdict != "none")
        took = time.monotonic() - self._began
        if facts.get("refused"):
            say(f"refused after {took:.1f} s: the pages do not answer it")
        else:
            self.pages = tuple(e.page.url for e in self._grounds.excerpts)
            on = f" from {facts['sources'][0]['url']}" if facts.get("sources") else ""
            say(f"answered in {took:.1f} s{on}")


def say(text: str) -> None:
    """Prints a line for the user at the terminal; `askdocs up` shows lines with this prefix.

    Errors are ignored, so that answers go on: the output may be a file on a full disk, or closed.
    """
    with suppress(OSError):
        print(f"» {text}", flush=True)


def _part(part: Excerpt) -> str:
    if part.is_whole:
        return ""
    return f", {len(part.sections)} of {len(part.page.sections)} sections"


def _parsed(data: bytes) -> dict[str, Any]:
    """An engine's answer, or an event of it. Raises ApiError 503: it is no JSON object."""
    try:
        return parse_object(data)
    except ApiError as error:
        log.warning("an answer of the engine could not be read: %s", error)
        raise broken_off() from None
