"""Extractive mode: quotes the best passages of the wiki immediately, without a model.

For a model that must not write, the best passage contains the right words more often than the text
that such a model makes of it (research/notebook.md, "Passages"). So the passage is shown whole,
with up to two more, each with its link, and with the question's words marked. Two good passages
that continue each other are one quotation.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.answering.grounding import wording
from gateway.answering.grounding.confidence import CAUTION, confidence
from gateway.answering.grounding.ground import Looked
from gateway.answering.grounding.links import absolute, link
from gateway.answering.stream import new_id
from gateway.api.chat_request import DocsRequest
from gateway.api.plan import RequestPlan, Tokens
from gateway.api.transform import WithoutModel
from gateway.api.usage_sum import NO_USAGE
from gateway.http.asgi import DONE, dump, event
from gateway.routing.aliases import people_call
from wiki import rights
from wiki.index.passages import Passage, above, joined
from wiki.index.quotation import quotation
from wiki.pages.words import places, stem
from wiki.search.hits import PassageHit

# Maximum number of quotations; further ones only if they fit nearly as well as the first.
SHOWN = 3
NEARLY = 0.8
# The first passages of a search; those that continue each other are one quotation.
FIRST = 5
# Characters per token, for an answer's maximum length.
CHARACTERS = 4


@dataclass(frozen=True)
class _Quotation:
    """A passage, or two that continue each other, as displayed."""

    found: PassageHit
    text: str
    """Markdown, with links that work from anywhere."""
    rest: str
    """The text that follows in its section."""
    content: str
    """The text as a quotation with its link."""

    @property
    def section(self) -> str:
        return " › ".join(above(self.found.page, self.found.passage)[1:])


class Extract(WithoutModel):
    """An answer of passages in OpenAI's format, without a model call."""

    tokens = Tokens()

    def __init__(
        self,
        asked: DocsRequest,
        looked: Looked,
        plan: RequestPlan,
        keeps_text: bool,
        model_name: str | None,
    ) -> None:
        """
        Args:
            asked: the question.
            looked: the search results for it.
            plan: the request's plan.
            keeps_text: for the log.
            model_name: from the settings, see `people_call`.
        """
        self._asked = asked
        self._looked = looked
        self._alias = plan.alias
        self._choices = plan.copies
        most = plan.request.get("max_completion_tokens") or plan.request.get("max_tokens")
        self._most = most * CHARACTERS if most else None
        self._id = new_id("chatcmpl-")
        self._created = int(time.time())
        self._quotations = [_quotation(match) for match in shown(looked)]
        self.quoted = [quoted.found.page for quoted in self._quotations]
        """The page of each passage."""
        self.pages = tuple(dict.fromkeys(page.url for page in self.quoted))
        self.reads = len(self.pages)
        self.refused = not self._quotations
        # As in the header x-askdocs-model: readers' votes count for this model.
        self._served = plan.alias if self.refused else plan.first_choice
        self._people_call_it = people_call(self._served, model_name)
        self.cautious = not self.refused and confidence(looked.signals) < CAUTION
        self.question = asked.question if keeps_text else ""
        self._keeps_text = keeps_text
        self._parts, self._is_cut = self._content()

    @property
    def answer(self) -> str:
        return self._text if self._keeps_text else ""

    def start(self) -> bytes:
        return b"".join(self._events()) if self._asked.stream else dump(self._response())

    @property
    def _text(self) -> str:
        return "".join(self._parts)

    def _response(self) -> dict[str, Any]:
        """The response to a request without `stream`."""
        message = {"role": "assistant", "content": self._text, "annotations": self._annotations()}
        return {
            **self._head("chat.completion"),
            "choices": [
                {"index": n, "message": message, "logprobs": None, "finish_reason": self._reason()}
                for n in range(self._choices)
            ],
            "usage": NO_USAGE,
            "askdocs": self._facts(),
        }

    def _events(self) -> Iterator[bytes]:
        """The events for a request with `stream`."""
        if self._asked.progress:
            pages = [{**link(page), "tokens": 0, "whole": False} for page in self.quoted]
            reading = {"reading": pages, "seconds": 0}
            yield event({**self._chunk(0, {}), "choices": [], "askdocs": reading})
        for number in range(self._choices):
            for place, part in enumerate(self._parts):
                role = {} if place else {"role": "assistant"}
                yield event(self._chunk(number, {**role, "content": part}))
            last = self._chunk(
                number, {"content": "", "annotations": self._annotations()}, self._reason()
            )
            yield event({**last, "askdocs": self._facts()})
        if self._asked.usage:
            yield event({**self._chunk(0, {}), "choices": [], "usage": NO_USAGE})
        yield DONE

    def _content(self) -> tuple[list[str], bool]:
        """The text in parts, and whether it was cut at its maximum length."""
        pages = [hit.page for hit in self._looked.hits[:1]]
        parts = [quoted.content for quoted in self._quotations] or [
            wording.refusal(self._asked.question, pages)
        ]
        if self.cautious and self._asked.plain:
            parts.append(wording.doubt(self._asked.question, pages))
        parts = [f"{part}\n\n" for part in parts[:-1]] + parts[-1:]
        if self._most is None or len("".join(parts)) <= self._most:
            return parts, False
        cut = "".join(parts)[: self._most].rstrip()
        return [cut], True

    def _reason(self) -> str:
        return "length" if self._is_cut else "stop"

    def _chunk(
        self, number: int, delta: dict[str, Any], reason: str | None = None
    ) -> dict[str, Any]:
        choice = {"index": number, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._alias}

    def _annotations(self) -> list[dict[str, Any]]:
        """OpenAI's `url_citation` annotations: each quotation with its link."""
        annotations = []
        start = 0
        for quoted in self._quotations:
            end = min(start + len(quoted.content), len(self._text))
            if end > start:
                citation = {
                    "url": quoted.found.url,
                    "title": quoted.found.page.title,
                    "start_index": start,
                    "end_index": end,
                }
                annotations.append({"type": "url_citation", "url_citation": citation})
            start += len(quoted.content) + 2
        return annotations

    def _facts(self) -> dict[str, Any]:
        sure = None if self.refused else round(confidence(self._looked.signals), 2)
        return {
            "model": self._people_call_it,
            "served": self._served,
            "mode": "extractive",
            "refused": self.refused,
            "reason": "no_page" if self.refused else "",
            # The quotations contain no claims beyond the pages' own.
            "verdict": "none",
            "claims": [],
            "cut": False,
            "references": [],
            "confidence": sure,
            "caution": self.cautious,
            "sources": [
                {
                    "title": quoted.found.page.title,
                    "section": quoted.section,
                    "url": quoted.found.url,
                    "quote": quoted.text,
                    "rest": quoted.rest,
                    "marks": self._marks(quoted),
                }
                for quoted in self._quotations
            ],
            "pages": [link(hit.page) for hit in self._looked.hits[:3]],
            "readers": rights.shown(self._looked.readers),
        }

    def _marks(self, quoted: _Quotation) -> list[list[int]]:
        words = self._looked.words
        language = quoted.found.page.language
        if language not in words:
            language = next(iter(words))
        return marks(quoted.text, words[language], language)


def shown(looked: Looked) -> list[PassageHit]:
    """The passages that answer; empty if the question is refused."""
    return quotations(looked.passages) if looked.is_answered else []


def quotations(best: Sequence[PassageHit]) -> list[PassageHit]:
    """The passages to quote, best first. Those of the first that continue each other are one."""
    quoted: list[PassageHit] = []
    for place, match in enumerate(best):
        if match.score < NEARLY * best[0].score:
            break
        for number, earlier in enumerate(quoted) if place < FIRST else ():
            if passage := _continued(earlier, match):
                quoted[number] = replace(earlier, passage=passage)
                break
        else:
            if len(quoted) < SHOWN:
                quoted.append(match)
            elif place >= FIRST:
                break
    return quoted


def _continued(one: PassageHit, other: PassageHit) -> Passage | None:
    same_page = one.page.url == other.page.url
    return joined(one.page, one.passage, other.passage) if same_page else None


def marks(text: str, stems: Collection[str], language: str = "") -> list[list[int]]:
    """The spans of the question's words in `text`: start and end, in characters."""
    wanted = set(stems)
    spans = []
    for word, start, end in places(text):
        if stem(word, language) in wanted:
            spans.append([start, end])
    return spans


def _quotation(match: PassageHit) -> _Quotation:
    text, rest = (absolute(part, match.page) for part in quotation(match.page, match.passage))
    quoted = "\n".join(f"> {line}".rstrip() for line in text.split("\n"))
    named = " › ".join(above(match.page, match.passage))
    label = named.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return _Quotation(match, text, rest, f"{quoted}\n\n[{label}]({match.url})")
