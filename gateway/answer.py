"""One answer that stands on pages: what the model is asked, and what of its answer goes out."""

import hashlib
import logging
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import Any

from gateway.aliases import BASE, DOCS
from gateway.api.plan import Plan, Tokens, tokens
from gateway.api.transform import Rest, Said, Transform
from gateway.api.usage_sum import UsageSum
from gateway.asked import Asked
from gateway.config import GatewaySettings
from gateway.dispatch import Call, Opened, stated
from gateway.fleet import Served
from gateway.grounding import prompt, quote
from gateway.grounding.cite import Citations, Span, quoted
from gateway.grounding.confidence import CAUTION, confidence, mean_logprob
from gateway.grounding.excerpt import Excerpt, beginning
from gateway.grounding.ground import Grounding, Grounds
from gateway.grounding.links import absolute
from gateway.grounding.support import SentenceGate, Support
from gateway.http import DONE, ApiError, EventReader, broken_off, dump, event, parse_object
from gateway.stream import with_tokens
from gateway.tracing import Span as TraceSpan
from gateway.wiki.page import Page, Section

log = logging.getLogger("askdocs.gateway")


# The instructions, the delimiters and the chat template around pages and question, in tokens.
FRAME = 150
# The engines that tell probabilities, also of tokens that a grammar allowed.
_TELLING = ("llama.cpp", "vllm")
_NO_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


class Choice:
    """One of the answers to a request, as it comes: what may go out, and what it rests on."""

    def __init__(self, gate: SentenceGate, citations: Citations) -> None:
        self.gate = gate
        self.heard = ""
        """What the engine has said."""
        self.sent = ""
        """What the client has got."""
        self._citations = citations
        self._passed = 0
        self._begun = False
        self._logprobs: list[dict[str, Any]] = []
        self._unsent = 0

    def feed(self, text: str) -> str:
        """Take more of the answer, return what may go out now."""
        self.heard += text
        return self._out() if self.gate.feed(text) else ""

    def close(self, cut: bool) -> str:
        """The answer ends; `cut`: at its greatest length."""
        self.gate.close(cut)
        if not self.gate.passed.strip():
            return prompt.REFUSAL
        return self._out().rstrip()

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


class Answer(Transform):
    """One answer that stands on pages."""

    keeps_alive = True

    def __init__(
        self,
        settings: GatewaySettings,
        grounding: Grounding,
        asked: Asked,
        grounds: Grounds,
        plan: Plan,
        room: int,
        keeps_text: bool,
    ) -> None:
        """`room`: tokens for the answer. `keeps_text`: for the log."""
        self._settings = settings
        self._asked = asked
        self._grounds = grounds
        self._plan = plan
        self._room = room
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
        self._has_begun = False
        self._choices: list[Choice] = []
        self._going_on: set[int] = set()
        self._roles: set[int] = set()  # of choices whose role the client has got
        self._is_asked = False
        self._is_over = False
        self._rest = Rest()
        self._events = EventReader()
        self._error: ApiError | None = None  # what the engine states in place of the rest
        self._sum = UsageSum()
        self._pieces = 0  # chunks with a part of an answer
        self._keeps_text = keeps_text
        self.question = asked.question if keeps_text else ""

    def call(self, span: TraceSpan) -> Call:
        """The request to the model."""
        pages = "\n".join(excerpt.page.url for excerpt in self._grounds.excerpts)
        session = hashlib.blake2b(pages.encode("utf-8", "replace"), digest_size=8).hexdigest()
        stream = self._asked.stream
        return Call(self._plan.endpoint, self._plan.scope, stream, self._body, span, session)

    @property
    def tokens(self) -> Tokens:
        if not self._is_asked:
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
        """The engine would go on; it stops when its client leaves."""
        return self._is_over and any(choice.gate.stopped for choice in self._choices)

    def start(self) -> bytes:
        self._announce()
        if not self._grounds.excerpts:
            self._is_over = True
            return b"".join(self._refusal_chunks()) if self._asked.stream else self._refusal()
        if self._asked.stream and self._asked.progress:
            return event(self._chunk([], askdocs=self._reading()))
        return b""

    def begin(self, opened: Opened, rest: Rest) -> None:
        is_anew = not any(choice.heard for choice in self._choices) or not self._asked.stream
        self._is_asked = True
        if not self._has_begun:
            self._model = opened.served.name
        self._rest = rest
        self._sum = UsageSum(self._plan.copies)
        self._events = EventReader()
        self._error = None
        if is_anew:
            self._is_quoting = self._quoted.get(opened.served.name, False)
            number = self._plan.copies
            self._choices = [self._choice() for _ in range(number)]
            self._going_on = set(range(number))

    def feed(self, data: bytes) -> bytes:
        out = b""
        try:
            for found in self._events.feed(data):
                if self._error or found == b"[DONE]":
                    break
                out += self._event(found)
        except ApiError as error:
            self._error = error
        except Exception:  # of an event in another shape, or of an index that cannot be read
            log.exception("an event of the engine could not be passed on")
            self._error = broken_off()
        self._is_over = not self._going_on
        return out

    def said(self) -> Said | None:
        if not any(choice.heard for choice in self._choices):
            return Said("", 0)
        if len(self._choices) > 1 or self._is_quoting or self._asked.logprobs:
            return None if any(choice.sent for choice in self._choices) else self._anew()
        if self._error:
            return None
        return Said(self._choices[0].heard, self._pieces)

    def _anew(self) -> Said:
        """Nothing of it has gone out: forget what was heard."""
        self._choices = []
        return Said("", 0)

    def end(self) -> bytes:
        if not self._is_over:
            return event((self._error or broken_off()).body)
        if not self._is_asked:
            return b""  # `start` has sent all of it
        usage = self._usage() or self._estimated()
        return (event(self._chunk([], usage=usage)) if self._asked.usage else b"") + DONE

    def whole(self, body: bytes) -> bytes:
        response = parse_object(body)
        self._sum.add(response)
        response["model"] = self._model
        for choice, said in zip(response.get("choices", []), self._choices, strict=False):
            message = choice.get("message", {})
            said.hear(choice.get("logprobs"))
            self._tell(choice, said)
            text = said.feed(message.get("content") or "")
            text += said.close(cut=choice.get("finish_reason") == "length")
            said.sent = text = text.strip()
            message["annotations"] = self._annotations(said, len(text))
            message["content"] = text + self._doubt(said)
            response["askdocs"] = self._facts(said)
        self._report(response.get("askdocs", {}))
        return dump(response)

    def _event(self, data: bytes) -> bytes:
        chunk = parse_object(data)
        if "error" in chunk:
            raise stated(502, data)
        self._sum.add(chunk)
        for name in ("usage", "timings"):
            chunk.pop(name, None)
        kept = []
        for choice in chunk.get("choices", []):
            number = choice.get("index", 0)
            if number not in self._going_on:
                continue
            self._pieces += 1
            if self._pass_on(choice, self._choices[number], chunk):
                kept.append(choice)
            if choice.get("finish_reason"):
                self._going_on.discard(number)
        if not kept:
            return b""
        self._has_begun = True
        head = {"id": self._id, "created": self._created, "model": self._model}
        return event({**chunk, **head, "choices": kept})

    def _usage(self) -> dict[str, Any] | None:
        """As the engine states it."""
        total = self._sum.total
        return with_tokens(total, self._rest.tokens) if total else None

    def _prompt_tokens(self) -> int:
        """About, for an answer that was ended before the engine stated it."""
        spoken = len(self._asked.question) + len(
            beginning(self._focus, self._grounds.tokens) if self._focus else ""
        )
        return self._grounds.tokens + FRAME + spoken // 4

    def _estimated(self) -> dict[str, int]:
        prompt, completion, _ = self.tokens
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }

    def _pass_on(self, choice: dict[str, Any], said: Choice, chunk: dict[str, Any]) -> bool:
        """Put into `choice` what may go out; return whether anything of it has to."""
        delta = choice.setdefault("delta", {})
        number = choice.get("index", 0)
        if number in self._roles:
            delta.pop("role", None)
        elif "role" in delta:
            self._roles.add(number)
        if self._asked.logprobs or not said.gate.first:
            said.hear(choice.get("logprobs"))
        text = said.feed(self._rest.text(delta.get("content") or ""))
        if choice.get("finish_reason") or said.gate.stopped:
            text = (text + said.close(cut=choice.get("finish_reason") == "length")).rstrip()
            choice["finish_reason"] = choice.get("finish_reason") or "stop"
            said.sent += text
            delta["annotations"] = self._annotations(said, len(said.sent))
            delta["content"] = text + self._doubt(said)
            chunk["askdocs"] = self._facts(said)
            self._tell(choice, said)
            self._report(chunk["askdocs"])
            return True
        delta["content"] = text
        said.sent += text
        if not (text or delta.get("role")):
            return False
        self._tell(choice, said)
        return True

    def _tell(self, choice: dict[str, Any], said: Choice) -> None:
        """Probabilities are asked for in any case, and told to those who asked for them."""
        choice.pop("logprobs", None)
        if self._asked.logprobs:
            choice["logprobs"] = said.tell()

    def _choice(self) -> Choice:
        gate = SentenceGate(self._support, self._settings.support, self._is_quoting)
        only = self._quoted_section() if self._is_quoting else None
        return Choice(gate, Citations(self._support, only))

    def _quoted_section(self) -> tuple[Page, Section] | None:
        """The section that the grammar is of, and its page."""
        for part in self._grounds.excerpts:
            if any(section is self._focus for section in part.sections):
                assert self._focus is not None
                return part.page, self._focus
        return None

    async def _body(self, served: Served) -> dict[str, Any]:
        request = dict(self._plan.request)
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
            self._plan.route.instructions,
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

    def _refusal(self) -> bytes:
        message = {"role": "assistant", "content": prompt.REFUSAL, "annotations": []}
        facts = self._facts(None)
        self._report(facts)
        whole = {
            **self._chunk([{"index": 0, "message": message, "finish_reason": "stop"}]),
            "object": "chat.completion",
            "usage": _NO_USAGE,
            "askdocs": facts,
        }
        return dump(whole)

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
        self.refused = bool(facts.get("refused"))
        self.cautious = bool(facts.get("caution"))
        took = time.monotonic() - self._began
        if facts.get("refused"):
            say(f"refused after {took:.1f} s: the pages do not answer it")
        else:
            self.pages = tuple(e.page.url for e in self._grounds.excerpts)
            on = f" from {facts['sources'][0]['url']}" if facts.get("sources") else ""
            say(f"answered in {took:.1f} s{on}")


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
