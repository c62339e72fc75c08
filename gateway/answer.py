"""One answer that stands on pages: what the model is asked, and what of its answer goes out."""

import hashlib
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from gateway.aliases import BASE, DOCS
from gateway.asked import Asked
from gateway.config import GatewaySettings
from gateway.continuation import TIMES, insistently
from gateway.dispatch import Call, Opened, stated
from gateway.engine import usage_so_far
from gateway.exchange import Exchange
from gateway.fleet import Served
from gateway.grounding import prompt, quote
from gateway.grounding.cite import Citations, Span, quoted
from gateway.grounding.confidence import CAUTION, confidence, mean_logprob
from gateway.grounding.excerpt import Excerpt, beginning
from gateway.grounding.ground import Grounding, Grounds
from gateway.grounding.links import absolute
from gateway.grounding.support import SentenceGate, Support
from gateway.http import DONE, ApiError, EventReader, broken_off, event, parse_object
from gateway.lane import LaneError
from gateway.wiki.page import Page, Section

log = logging.getLogger("askdocs.gateway")


class Opening(Protocol):
    """Asks for the answer; a model that broke off is asked last. Raises ApiError."""

    def __call__(self, broken: str = "") -> Awaitable[Opened]: ...


# The instructions, the delimiters and the chat template around pages and question, in tokens.
FRAME = 150
# The engines that tell probabilities, also of tokens that a grammar allowed.
_TELLING = ("llama.cpp", "vllm")
_NO_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


class Choice:
    """One of the answers to a request, as it comes: what may go out, and what it rests on."""

    def __init__(self, gate: SentenceGate, citations: Citations, sent: str = "") -> None:
        """`sent` is what the client has got from an engine that broke off."""
        self.gate = gate
        self.sent = sent
        """What the client has got."""
        self._said = 0  # characters of it that this engine has said
        self._citations = citations
        self._passed = 0
        self._begun = False
        self._logprobs: list[dict[str, Any]] = []
        self._unsent = 0

    def feed(self, text: str) -> str:
        """Take more of the answer, return what may go out now."""
        return self._out() if self.gate.feed(text) else ""

    def close(self, cut: bool) -> str:
        """The answer ends; `cut`: at its greatest length."""
        self.gate.close(cut)
        if not self.gate.passed.strip():
            return prompt.REFUSAL
        return self._out().rstrip()

    def unsent(self, text: str) -> str:
        """What of the next `text` the client has not got. Raises ApiError: it has got another."""
        again = self.sent[self._said : self._said + len(text)]
        if not text.startswith(again):
            raise broken_off()
        self._said += len(text)
        self.sent += text[len(again) :]
        return text[len(again) :]

    def _out(self) -> str:
        """The sentences that have passed, with links that work from anywhere."""
        out = ""
        for sentence in self.gate.sentences[self._passed :]:
            rests_on = self._citations.of(sentence) if "](" in sentence else None
            shown = absolute(sentence, rests_on[0]) if rests_on else sentence
            shown = shown if self._begun else shown.lstrip()
            self._begun = self._begun or bool(shown)
            self._citations.add(sentence, shown)
            out += shown
        self._passed = len(self.gate.sentences)
        return out

    def hear(self, logprobs: Any) -> None:
        """The probabilities of tokens, as an engine tells them."""
        content = logprobs.get("content") if isinstance(logprobs, dict) else None
        if isinstance(content, list):
            self._logprobs += [token for token in content if isinstance(token, dict)]

    def tell(self) -> dict[str, Any]:
        """The probabilities that the client has not been told yet."""
        told, self._unsent = self._logprobs[self._unsent :], len(self._logprobs)
        return {"content": told}

    @property
    def logprob(self) -> float | None:
        """The mean of the first sentence's tokens, in nats."""
        return mean_logprob(self._logprobs, self.gate.first)

    def spans(self, length: int) -> list[Span]:
        """What each part of a text of `length` rests on; nothing under a refusal."""
        return [] if self.gate.refused else self._citations.within(length)

    def sections(self) -> list[tuple[Page, Section]]:
        """What the answer rests on most, first; nothing under a refusal."""
        return [] if self.gate.refused else self._citations.sections()


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
        instructions: str = "",
    ) -> None:
        """`instructions` are the alias's."""
        self._settings = settings
        self._asked = asked
        self._grounds = grounds
        self._request = request
        self._room = room
        self._exchange = exchange
        self._instructions = instructions
        self._focus = grounds.focus
        quoting = self._focus if self._settings.answers == "quote" else None
        self._grammar = quote.grammar(quoting) if quoting else ""
        self._quoted: dict[str, bool] = {}  # by model: an engine may have no grammars
        self._is_quoting = False
        self._model = DOCS
        self._support = Support(grounds.excerpts, asked.question, grounding.index.idf)
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._began = time.monotonic()
        self._head: dict[str, Any] = {}  # what all chunks of the stream have in common
        self._repeated = 0  # times that it was asked for again

    def call(self) -> Call:
        """The request to the model."""
        exchange = self._exchange
        stream = self._asked.stream
        pages = "\n".join(excerpt.page.url for excerpt in self._grounds.excerpts)
        session = hashlib.blake2b(pages.encode("utf-8", "replace"), digest_size=8).hexdigest()
        path = "/chat/completions"
        return Call(path, exchange.scope, stream, self._body, exchange.span, session)

    async def whole(self, opening: Opening) -> dict[str, Any]:
        """The response of a request without `stream`. Raises ApiError."""
        self._announce()
        if not self._grounds.excerpts:
            return self._refusal()
        opened = await opening()
        while (response := await self._read(opened)) is None:
            opened = await self._again(opened, opening)
        self._count(response.get("usage"))
        response["model"] = self._model
        for choice in response.get("choices", []):
            message = choice.get("message", {})
            said = self.choice()
            said.hear(choice.get("logprobs"))
            self._tell(choice, said)
            text = said.feed(message.get("content") or "")
            text += said.close(cut=choice.get("finish_reason") == "length")
            text = text.strip()
            message["annotations"] = self._annotations(said, len(text))
            message["content"] = text + self._doubt(said)
            response["askdocs"] = self._facts(said)
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
        opened = await opening()
        passing = Passing(self, [""] * max(1, self._request.get("n") or 1))
        while True:
            async with aclosing(self._streamed(opened, passing)) as chunks:
                async for chunk in chunks:
                    yield chunk
            if passing.is_over:
                break
            if any(passing.sent) and not self._is_repeatable(len(passing.sent)):
                raise broken_off()
            opened = await self._again(opened, opening)
            passing = Passing(self, passing.sent)
        usage = passing.usage or self._estimated(passing.tokens)
        self._count(usage)
        if self._asked.usage:
            yield event(self._chunk([], usage=usage))
        yield DONE

    async def _streamed(self, opened: Opened, passing: "Passing") -> AsyncGenerator[bytes, None]:
        """What goes out of one engine's answer, until it ends or breaks off."""
        try:
            self._begin(opened)
            async with aclosing(opened.through(passing.feed)) as passed:
                async for chunk in passed:
                    yield chunk
                    if passing.is_enough:
                        break  # the engine would go on; it stops when its client leaves
        except LaneError:
            pass  # it is not over
        finally:
            await opened.close()
        if passing.error:
            raise passing.error

    async def _read(self, opened: Opened) -> dict[str, Any] | None:
        """An engine's whole response; None where it breaks off. Raises ApiError."""
        try:
            self._begin(opened)
            return parse_object(await opened.body())
        except LaneError:
            return None
        finally:
            await opened.close()

    def _is_repeatable(self, choices: int) -> bool:
        """Would it be said in the same words once more, and could all else be said again?"""
        return choices == 1 and not self._request.get("temperature") and not self._asked.logprobs

    async def _again(self, broken: Opened, opening: Opening) -> Opened:
        """The answer from its beginning, by another engine or the same one when it is back.

        Raises:
            ApiError: there is none, or it has been asked for too often.
        """
        self._repeated += 1
        name = broken.served.name
        opened = None
        if self._repeated <= TIMES:
            opened = await insistently(broken.served, partial(opening, name))
        self._exchange.broke_off(name, goes_on=opened is not None)
        if opened is None:
            raise broken_off()
        return opened

    def passed(self, chunk: dict[str, Any], choices: list[dict[str, Any]]) -> bytes:
        """The event of what may go out of a chunk."""
        self._exchange.measured.chunk()
        if not choices:
            return b""
        if not self._head:
            self._head = {name: chunk[name] for name in ("id", "created") if name in chunk}
            self._head["model"] = self._model
        return event({**chunk, **self._head, "choices": choices})

    def _begin(self, opened: Opened) -> None:
        served = opened.served
        self._model = served.name
        self._is_quoting = self._quoted.get(served.name, False)
        self._exchange.answered_by(served.name, opened.lane, opened.left)

    def _count(self, usage: Any) -> None:
        self._exchange.used(usage)

    def _estimated(self, completion: int) -> dict[str, int]:
        """Usage for an answer that was ended before the engine stated it."""
        spoken = len(self._asked.question) + len(
            beginning(self._focus, self._grounds.tokens) if self._focus else ""
        )
        tokens = self._grounds.tokens + FRAME + spoken // 4
        return {
            "prompt_tokens": tokens,
            "completion_tokens": completion,
            "total_tokens": tokens + completion,
        }

    def pass_on(self, choice: dict[str, Any], said: Choice, chunk: dict[str, Any]) -> bool:
        """Put into `choice` what may go out; return whether anything of it has to."""
        delta = choice.setdefault("delta", {})
        if self._repeated and self._head:
            delta.pop("role", None)  # the client knows it
        if self._asked.logprobs or not said.gate.first:
            said.hear(choice.get("logprobs"))
        text = said.feed(delta.get("content") or "")
        if choice.get("finish_reason") or said.gate.stopped:
            text = (text + said.close(cut=choice.get("finish_reason") == "length")).rstrip()
            choice["finish_reason"] = choice.get("finish_reason") or "stop"
            text = said.unsent(text)
            delta["annotations"] = self._annotations(said, len(said.sent))
            delta["content"] = text + self._doubt(said)
            chunk["askdocs"] = self._facts(said)
            self._tell(choice, said)
            self._report(chunk["askdocs"])
            return True
        delta["content"] = text = said.unsent(text)
        if not (text or delta.get("role")):
            return False
        self._tell(choice, said)
        return True

    def _tell(self, choice: dict[str, Any], said: Choice) -> None:
        """Probabilities are asked for in any case, and told to those who asked for them."""
        choice.pop("logprobs", None)
        if self._asked.logprobs:
            choice["logprobs"] = said.tell()

    def choice(self, sent: str = "") -> Choice:
        """One that has not said anything yet; of an engine before it the client has got `sent`."""
        gate = SentenceGate(self._support, self._settings.support, self._is_quoting)
        only = self._quoted_section() if self._is_quoting else None
        return Choice(gate, Citations(self._support, only), sent)

    def _quoted_section(self) -> tuple[Page, Section] | None:
        """The section that the grammar is of, and its page."""
        for part in self._grounds.excerpts:
            if any(section is self._focus for section in part.sections):
                assert self._focus is not None
                return part.page, self._focus
        return None

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
            beginning(self._focus, self._grounds.tokens) if self._focus else "",
            self._instructions,
        )
        if self._asked.stream:
            request["stream_options"] = {"include_usage": True}
            request |= served.engine.telling() if served.engine else {}
        constraint = await served.engine.constraint(self._grammar) if served.engine else {}
        self._quoted[served.name] = bool(constraint)
        if not self._asked.logprobs and served.engine and await served.engine.kind() in _TELLING:
            # One alternative: without a number llama.cpp sends twenty with every token.
            request |= {"logprobs": True, "top_logprobs": 1}
        return {**request, **constraint}

    def _confidence(self, said: Choice) -> float:
        return confidence(replace(self._grounds.signals, logprob=said.logprob))

    def _doubt(self, said: Choice) -> str:
        """What is said behind an answer of little confidence, for clients that read only text."""
        if said.gate.refused or not self._asked.plain or self._confidence(said) >= CAUTION:
            return ""
        return f"\n\n{prompt.DOUBT}"

    def _annotations(self, said: Choice, length: int) -> list[dict[str, Any]]:
        """OpenAI's `url_citation` annotations of a text of `length`; none under a refusal."""
        return [
            {
                "type": "url_citation",
                "url_citation": {
                    "url": span.page.section_url(span.section),
                    "title": span.page.title,
                    "start_index": span.start,
                    "end_index": span.end,
                },
            }
            for span in said.spans(length)
        ]

    def _sources(self, said: Choice) -> list[dict[str, Any]]:
        return [
            {
                "title": page.title,
                "section": " › ".join(section.path),
                "url": page.section_url(section),
                "quote": absolute(quoted(section, page), page),
            }
            for page, section in said.sections()
        ]

    def _facts(self, said: Choice | None) -> dict[str, Any]:
        refused = said is None or said.gate.refused
        facts: dict[str, Any] = {
            "model": self._people_call_it(),
            "answers": "quote" if self._is_quoting else "write",
            "refused": refused,
            "confidence": None,
            "caution": False,
            "sources": [] if said is None else self._sources(said),
            "pages": [_link(page) for page in self._grounds.best],
        }
        if said is not None and not refused:
            sure = self._confidence(said)
            facts |= {"confidence": round(sure, 2), "caution": sure < CAUTION}
        return facts

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
        tokens = FRAME + (0 if self._grounds.is_warm else self._grounds.tokens)
        return round(tokens / rate, 1) if rate else None

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
        self._exchange.cautious = bool(facts.get("caution"))
        took = time.monotonic() - self._began
        if facts.get("refused"):
            say(f"refused after {took:.1f} s: the pages do not answer it")
        else:
            self._exchange.stood_on(e.page.url for e in self._grounds.excerpts)
            on = f" from {facts['sources'][0]['url']}" if facts.get("sources") else ""
            say(f"answered in {took:.1f} s{on}")


class Passing:
    """An engine's stream on its way to the client, token by token."""

    def __init__(self, answer: Answer, sent: Sequence[str]) -> None:
        """`sent`: what the client has got of each choice from an engine that broke off."""
        self._answer = answer
        self._events = EventReader()
        self._saying = [answer.choice(text) for text in sent]
        self._going_on = set(range(len(sent)))
        self.usage: dict[str, Any] | None = None
        """As the engine states it."""
        self.tokens = 0
        self.error: ApiError | None = None
        """What the engine states in place of the rest."""

    @property
    def sent(self) -> list[str]:
        """What the client has got of each choice."""
        return [said.sent for said in self._saying]

    @property
    def is_over(self) -> bool:
        """Has each choice come to its end?"""
        return not self._going_on

    @property
    def is_enough(self) -> bool:
        """Is it over, and was one of them ended before the engine did?"""
        return self.is_over and any(said.gate.stopped for said in self._saying)

    def feed(self, data: bytes) -> bytes:
        """Take more of the engine's bytes, return the events that may go out now. Never raises."""
        out = b""
        try:
            for found in self._events.feed(data):
                if self.error or found == b"[DONE]":
                    break
                out += self._event(found)
        except ApiError as error:
            self.error = error
        except Exception:  # of an event in another shape, or of an index that cannot be read
            log.exception("an event of the engine could not be passed on")
            self.error = broken_off()
        return out

    def _event(self, data: bytes) -> bytes:
        chunk = parse_object(data)
        if "error" in chunk:
            raise stated(502, data)
        self.usage = usage_so_far(chunk) or self.usage
        kept = []
        for choice in chunk.get("choices", []):
            number = choice.get("index", 0)
            if number not in self._going_on:
                continue
            self.tokens += 1
            if self._answer.pass_on(choice, self._saying[number], chunk):
                kept.append(choice)
            if choice.get("finish_reason"):
                self._going_on.discard(number)
        return self._answer.passed(chunk, kept)


def say(text: str) -> None:
    """A line for the person at the terminal; `askdocs up` shows the lines that begin like this.

    Never in the way of an answer: the output may be a file on a full disk, or nobody's any more.
    """
    with suppress(OSError):
        print(f"» {text}", flush=True)


def _part(part: Excerpt) -> str:
    if part.is_whole:
        return ""
    return f", {len(part.sections)} of {len(part.page.sections)} sections"


def _link(page: Page) -> dict[str, str]:
    return {"title": page.title, "url": page.url}
