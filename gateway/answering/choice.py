"""One streamed choice of a response: what is sent, when, and its closing verdict."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from gateway.answering.check import Check
from gateway.answering.claims import REFUSING, Claim, Verdict, drafts, refuses, summary
from gateway.answering.sentences import MARK, complete
from gateway.knowledge.wiki.page import Page, Section

Reason = Literal["", "no_page", "no_question", "no_room", "model", "unsupported", "schema"]


@dataclass(frozen=True)
class Ending:
    """The outcome of a finished answer."""

    refused: bool
    reason: Reason
    """Why it is a refusal: no page was found, the model refused, or nothing of it is supported. Of
    an agent's answer: why it has no pages."""
    cited: Sequence[tuple[int, int, Page, Section]] = ()
    """Characters of the content, half open, and the section that supports them."""
    claims: Sequence[Claim] = ()
    verdict: Verdict = "none"
    cut: bool = False

    def sections(self) -> list[tuple[Page, Section]]:
        """Each section once, the one that supports most of the answer first."""
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
    """Was it ended before the engine ended it?"""
    waits = False
    """Is it checked? Then `end` is awaited."""

    def __init__(self) -> None:
        self.heard = ""
        """What the engine has said."""
        self.sent = ""
        """What the client has got."""
        self._logprobs: list[dict[str, Any]] = []
        self._untold = 0

    def send(self, text: str) -> str:
        """`text` goes out."""
        self.sent += text
        return text

    def hear(self, logprobs: Any) -> None:
        """The probabilities of tokens, as an engine tells them."""
        content = logprobs.get("content") if isinstance(logprobs, dict) else None
        if isinstance(content, list):
            self._logprobs += [token for token in content if isinstance(token, dict)]

    def tell(self) -> dict[str, Any]:
        """The probabilities that the client has not been told yet, of tokens that it has got."""
        first, self._untold = self._untold, self._known()
        return {"content": self._logprobs[first : self._untold], "refusal": None}

    def _known(self) -> int:
        """How many tokens the client has got."""
        return len(self._logprobs)

    def feed(self, text: str) -> str:
        """Take more of the engine's answer, return what goes out now."""
        self.heard += text
        return self.send(text)

    async def release(self) -> str:
        """What goes out of the sentences that are complete, where they are held until then."""
        return ""

    async def rest(self) -> str:
        """What goes out of what was held at the end."""
        return ""

    async def end(self) -> Ending:
        """The outcome of the answer, all of which has been sent."""
        return Ending(False, "")


class Written(Choice):
    """An answer in the model's own words: it goes out as it comes, and is checked at its end."""

    def __init__(self, check: Check | None) -> None:
        """`check` None: it is not checked."""
        super().__init__()
        self._check = check
        self.waits = check is not None

    async def end(self) -> Ending:
        if self._check is None:
            return await super().end()
        return await _ended(self._check, self.sent, await self._check.claims(self.sent))


class Held(Choice):
    """An answer in the model's own words of which only supported sentences go out.

    The first sentence that is not supported ends the answer: what follows would build on it. What
    claims nothing waits for a sentence that is supported, so that no lead-in goes out alone.
    """

    waits = True

    def __init__(self, check: Check, refusal: str) -> None:
        """`refusal` goes out where no sentence is supported."""
        super().__init__()
        self._check = check
        self._refusal = refusal
        self._unchecked = ""
        self._checked = ""  # checked, and waiting for a sentence that is supported
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
        """Tokens whose text is held, or was cut, would tell what it says."""
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
        """Check the next sentences, and return what goes out."""
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
    """What the claims of a text say of it."""
    supported = [claim for claim in claims if claim.verdict == "supported"]
    reason: Reason = ""
    if refuses(drafts(text)):
        reason = "model"
    elif claims and not supported and summary(claims) != "none":
        reason = "unsupported"
    cited = []
    for claim in [] if reason else supported:
        place = check.evidence.place(claim.source)
        if place is not None:
            cited.append((claim.start, claim.end, place.page, place.section))
    return Ending(bool(reason), reason, cited, tuple(claims), summary(claims))
