"""One streamed choice of a response: what is sent, when, and the final verdict."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from gateway.answering.check import Check
from gateway.answering.claims import REFUSING, Claim, Verdict, refuses, summary
from gateway.answering.facts import CITED
from gateway.answering.sentences import MARK, complete
from wiki.pages.page import Page, Section

CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
Reason = Literal["", "no_page", "no_question", "no_room", "model", "unsupported"]


@dataclass(frozen=True)
class Ending:
    """The outcome of a finished answer."""

    refused: bool
    reason: Reason
    """The reason for a refusal: no page was found, the model refused, or nothing is supported. For
    an agent's answer: the reason why it has no pages."""
    cited: Sequence[tuple[int, int, Page, Section]] = ()
    """Half-open character ranges of the content, and the section that supports each."""
    claims: Sequence[Claim] = ()
    verdict: Verdict = "none"
    cut: bool = False

    def sections(self) -> list[tuple[Page, Section]]:
        """Each section once, ordered by how much of the answer it supports."""
        weight: dict[tuple[str, int], int] = {}
        by_key: dict[tuple[str, int], tuple[Page, Section]] = {}
        for start, end, page, section in self.cited:
            key = (page.path, id(section))
            weight[key] = weight.get(key, 0) + end - start
            by_key[key] = (page, section)
        return [by_key[key] for key in sorted(by_key, key=lambda key: -weight[key])]


class Choice:
    """One streamed choice of a response."""

    stopped = False
    """Was it stopped before the engine finished?"""
    waits = False
    """Is it checked, so that `end` must be awaited?"""

    def __init__(self) -> None:
        self.heard = ""
        """The engine's output."""
        self.sent = ""
        """The text sent to the client."""
        self._logprobs: list[dict[str, Any]] = []
        self._untold = 0

    def send(self, text: str) -> str:
        """Record `text` as sent."""
        self.sent += text
        return text

    def hear(self, logprobs: Any) -> None:
        """Record token probabilities in an engine's format."""
        content = logprobs.get("content") if isinstance(logprobs, dict) else None
        if isinstance(content, list):
            self._logprobs += [token for token in content if isinstance(token, dict)]

    def tell(self) -> dict[str, Any]:
        """The unsent probabilities of tokens that the client has received."""
        first, self._untold = self._untold, self._known()
        return {"content": self._logprobs[first : self._untold], "refusal": None}

    def _known(self) -> int:
        """The number of tokens that the client has received."""
        return len(self._logprobs)

    def feed(self, text: str) -> str:
        """Add text from the engine; returns the text to send now."""
        self.heard += text
        return self.send(text)

    async def release(self) -> str:
        """Complete held sentences, and return the text to send."""
        return ""

    async def rest(self) -> str:
        """The rest of the held text, at the end."""
        return ""

    async def end(self) -> Ending:
        """The outcome of an answer that has been sent completely."""
        return Ending(False, "")


class Written(Choice):
    """An answer in the model's own words, sent as it is generated and checked at the end."""

    def __init__(self, check: Check | None) -> None:
        """`check` None: do not check the answer."""
        super().__init__()
        self._check = check
        self.waits = check is not None

    async def end(self) -> Ending:
        if self._check is None:
            return await super().end()
        return await _ended(self._check, self.sent, await self._check.claims(self.sent))


class Numbered(Written):
    """An agent's answer: only a sentence that carries the number of a section is a claim.

    An agent writes about its files and its work; what resembles a page there is no citation.
    """

    def __init__(self, check: Check, sections: Mapping[int, tuple[Page, Section]]) -> None:
        """`sections`: those of the prompt, by number."""
        super().__init__(check)
        self._sections = sections

    async def end(self) -> Ending:
        assert self._check is not None
        cited = self._cited()
        claims = await self._check.claims(self.sent) if cited else []
        numbered = [
            (claim, [number for place, number in cited if claim.start <= place < claim.end])
            for claim in claims
        ]
        claims = [
            claim if numbers else replace(claim, verdict="none", reason="", source="", score=None)
            for claim, numbers in numbered
        ]
        ending = await _ended(self._check, self.sent, claims)
        ranges = [
            (claim.start, claim.end, *self._sections[number])
            for claim, numbers in numbered
            if claim.verdict == "supported"
            for number in dict.fromkeys(numbers)
        ]
        return replace(ending, cited=[] if ending.reason else ranges)

    def _cited(self) -> list[tuple[int, int]]:
        """Places and numbers of the citations, without those that are code, such as `row[1]`."""
        prose = CODE.sub(lambda code: " " * len(code[0]), self.sent)
        every = ((match.start(), int(match[1])) for match in CITED.finditer(prose))
        return [(place, number) for place, number in every if number in self._sections]


class Held(Choice):
    """An answer in the model's own words of which only supported sentences are sent.

    The first unsupported sentence ends the answer, as later sentences would build on it. Sentences
    without claims wait for a supported one, so that no lead-in is sent alone.
    """

    waits = True

    def __init__(self, check: Check, refusal: str) -> None:
        """`refusal` is sent if no sentence is supported."""
        super().__init__()
        self._check = check
        self._refusal = refusal
        self._unchecked = ""
        self._checked = ""  # checked text that waits for a supported sentence
        self._claims: list[Claim] = []
        self._waiting: list[Claim] = []
        self._refuses = False

    def feed(self, text: str) -> str:
        self.heard += text
        self._unchecked += text
        return ""

    async def release(self) -> str:
        if self.stopped or not MARK.search(self._unchecked):
            return ""
        ready = complete(self._unchecked)
        return await self._judge(ready) if ready else ""

    async def rest(self) -> str:
        out = "" if self.stopped else await self._judge(self._unchecked)
        if not self.stopped and (self.sent or self._refuses):
            out += self._pass(self._checked, self._waiting)
        if not self.sent.strip():
            self._claims = []
            out = self.send(self._refusal)
        return out

    async def end(self) -> Ending:
        ended = await _ended(self._check, self.sent, self._claims)
        if self.stopped and not self._claims:
            return replace(ended, refused=True, reason="unsupported", cut=False)
        return replace(ended, cut=self.stopped)

    def _known(self) -> int:
        """Probabilities of held or cut tokens would reveal their text."""
        if not self.heard.startswith(self.sent):
            return self._untold
        left, known = len(self.sent.encode()), 0
        for token in self._logprobs:
            left -= len(token.get("bytes") or str(token.get("token", "")).encode())
            if left < 0:
                break
            known += 1
        return known

    async def _judge(self, text: str) -> str:
        """Check the next sentences, and return the text to send."""
        self._unchecked = self._unchecked[len(text) :]
        start = len(self.sent) + len(self._checked)
        whole = self.sent + self._checked + text
        out, done = "", start
        for claim in await self._check.claims(text, start, whole):
            if claim.verdict in ("unsupported", "contradicted"):
                self.stopped = True
                return out
            self._checked += whole[done : claim.end]
            done = claim.end
            self._waiting.append(claim)
            self._refuses = self._refuses or claim.reason == REFUSING
            if claim.verdict == "supported":
                out += self._pass(self._checked, self._waiting)
        self._checked += whole[done:]
        return out

    def _pass(self, text: str, claims: list[Claim]) -> str:
        self._checked, self._waiting = "", []
        self._claims += claims
        return self.send(text)


async def _ended(check: Check, text: str, claims: Sequence[Claim]) -> Ending:
    """The outcome that follows from a text's claims."""
    supported = [claim for claim in claims if claim.verdict == "supported"]
    reason: Reason = ""
    if refuses(check.drafts(text)):
        reason = "model"
    elif claims and not supported and summary(claims) != "none":
        reason = "unsupported"
    cited = []
    for claim in [] if reason else supported:
        place = check.evidence.place(claim.source)
        if place is not None:
            cited.append((claim.start, claim.end, place.page, place.section))
    return Ending(bool(reason), reason, cited, tuple(claims), summary(claims))
