"""Lexical support check: does the page support a sentence? Suitable for small models.

A sentence is *supported* if a few adjacent sentences of the page have most of its content words,
weighted by their rarity in the wiki, and the page has every number, address and code word of it.
This catches hallucinations, not subtle errors: a sentence that reorders the words of one passage
passes.
"""

import re
from collections.abc import Callable, Iterable, Sequence, Set
from functools import cached_property, lru_cache
from math import fsum

from gateway.answering.grounding.excerpt import Excerpt, spoken
from gateway.answering.grounding.neutral import restored
from gateway.answering.grounding.prompt import REFUSAL
from gateway.answering.grounding.refusal import refuses
from gateway.answering.grounding.sentences import first, units
from wiki.pages.asking import asked_stems, language, subject_stems
from wiki.pages.fences import OPENING, FencedCode
from wiki.pages.page import Page, Section

Idf = Callable[[Iterable[str]], dict[str, float]]

# Text that the page must contain verbatim: numbers of two or more digits, addresses, option names.
_EXACT = re.compile(
    r"https?://[^\s)>\]\"'`]+|--[a-z][\w-]+|\d[\d.,:]*\d|`[^`\n]+`|\]\((?:[^)\s\]]|\](?!\())+\)"
)
# The minimum share of a sentence's content words that the page must have.
LEAST = 0.6
# Sentences of the page that are compared with a sentence together.
WINDOW = 3
# This many repeated lines of code in a row are a loop.
LINES = 4


class Support:
    """Compares sentences with the excerpts in the prompt."""

    def __init__(self, excerpts: Sequence[Excerpt], question: str, idf: Idf) -> None:
        self._looked_up = idf
        # The language of the pages, whose stems are compared.
        self._language = language("\n".join(e.text for e in excerpts))
        self._question = self._stems(question)
        self._asked = set(asked_stems(question, self._language))
        self._exact = question + "\n" + "\n".join(e.page.title + "\n" + e.text for e in excerpts)
        self._exact = self._exact.lower()
        self._sections: list[tuple[Page, Section, Set[str]]] = []
        self._windows: list[Set[str]] = []
        for e in excerpts:
            for s in e.sections:
                above = self._stems(e.page.title) | self._stems(" ".join(s.path))
                self._sections.append((e.page, s, above | self._stems(s.text)))
                windows = _windows(spoken(s), self._language)
                self._windows += [above | window for window in windows]
        # Sentences share words with each other and with the pages: query the wiki once.
        self._known = idf(self._question.union(*(words for _, _, words in self._sections)))

    def _stems(self, text: str) -> frozenset[str]:
        return subject_stems(text, self._language)

    def of(self, sentence: str) -> float:
        """The best share of the sentence's content words in one passage, 0 to 1."""
        for exact in _EXACT.findall(sentence):
            if not _has(self._exact, exact.strip("`.,:").lower()):
                return 0.0
        sentence_stems = self._stems(sentence)
        # Words of the question prove nothing; a sentence without others is measured by all its
        # words.
        sentence_stems = sentence_stems - self._question or sentence_stems
        if not sentence_stems:
            return 1.0
        return max(map(self._share_of(sentence_stems), self._windows), default=0.0)

    def _share_of(self, wanted: Set[str]) -> Callable[[Set[str]], float]:
        """Returns a function for a passage's share of these stems, weighted by IDF; 0 to 1."""
        if missing := wanted - self._known.keys():
            self._known.update(self._looked_up(missing))
        idf = self._known.__getitem__
        total = fsum(map(idf, wanted)) or 1.0
        return lambda passage: fsum(map(idf, wanted & passage)) / total

    def best_section(self, answer: str) -> tuple[Page, Section] | None:
        """The section that supports most of an answer."""
        share = self._share_of(self._stems(answer))
        best = max(
            zip(self._sections, self._fit, strict=True),
            # Of two sections with the same words, prefer the shorter one.
            key=lambda item: (share(item[0][2]) + 0.5 * item[1], -len(item[0][1].text)),
            default=None,
        )
        return best[0][:2] if best else None

    @cached_property
    def _fit(self) -> list[float]:
        """Each section's share of the question's stems."""
        share = self._share_of(self._asked)
        return [share(words) for _, _, words in self._sections]


class SentenceGate:
    """Passes an answer on sentence by sentence, as long as each is supported.

    The first unsupported sentence ends the answer, as later sentences would build on it. If it is
    the very first sentence, the answer is a refusal. A repeated sentence ends the answer too: small
    models fall into loops. Code may repeat "}" and "restart: always" without looping: there, LINES
    repeated lines in a row are a loop. If an answer ends within code, the fence is closed, so that
    appended text is not part of the code.
    """

    def __init__(self, support: Support, least: float = LEAST) -> None:
        self._support = support
        self._least = least
        self._held = ""
        self._heard: list[str] = []
        self._units_sent: set[str] = set()
        self._code = FencedCode()
        self.support: float | None = None
        """The support of the first sentence."""
        self.first = 0
        """The length of the first sentence in characters, as the model wrote it."""
        self.sentences: list[str] = []
        """The sentences that passed."""
        self.stopped = False

    @property
    def passed(self) -> str:
        """All text that passed."""
        return "".join(self.sentences)

    @property
    def refused(self) -> bool:
        """Did nothing of substance pass, or only the model's own refusal?"""
        text = self.passed.strip()
        return not text or text == REFUSAL

    def feed(self, text: str) -> str:
        """Add text of the answer; returns the text to send now."""
        if self.stopped:
            return ""
        seen = len(self._held)
        self._held += text
        out = ""
        while not self.stopped and (sentence := first(self._held, seen)):
            out += self._judge(sentence)
            seen = 0
        return out

    def close(self, cut: bool = False) -> str:
        """End the answer; returns the rest of it, if it may be sent.

        `cut`: it was truncated at its maximum length. Then an incomplete sentence is dropped,
        unless it is all there is.
        """
        out = ""
        if self._held and not self.stopped and not (cut and self.passed.strip()):
            out = self._judge(self._held)
        if self._code.fence:
            end = "" if self.passed.endswith("\n") else "\n"
            self.sentences.append(end + self._code.closing)
            self._code = FencedCode()
            out += self.sentences[-1]
        return out

    def _judge(self, sentence: str) -> str:
        self._held = self._held[len(sentence) :]
        self.first = self.first or len(sentence)
        sentence = restored(sentence)
        plain = " ".join(sentence.split())
        if refuses(sentence):
            self.stopped = True
            sentence = "" if self.passed.strip() else REFUSAL
        elif plain and (
            self._is_repeated(sentence, plain) or self._measured(sentence) < self._least
        ):
            self.stopped = True
            sentence = ""
        if sentence:
            self.sentences.append(sentence)
            for line in sentence.splitlines():
                self._code.takes(line)
        return sentence

    def _is_repeated(self, sentence: str, plain: str) -> bool:
        self._heard.append(sentence.rstrip())
        is_code = self._code.fence or any(map(OPENING.match, sentence.splitlines()))
        unit = "\n".join(self._heard[-LINES:]) if is_code else plain
        is_repeated = unit in self._units_sent
        self._units_sent.add(unit)
        return is_repeated

    def _measured(self, sentence: str) -> float:
        support = self._support.of(sentence)
        self.support = support if self.support is None else self.support
        return support


def _has(text: str, exact: str) -> bool:
    """Is `exact` in `text`, and not within a longer number? 50 is not in 1500."""
    start = text.find(exact)
    while start >= 0:
        end = start + len(exact)
        goes_on = exact[-1:].isdecimal() and text[end : end + 1].isdecimal()
        if not goes_on and not (exact[:1].isdecimal() and text[start - 1 : start].isdecimal()):
            return True
        start = text.find(exact, start + 1)
    return False


@lru_cache(maxsize=1024)
def _windows(text: str, language: str) -> list[frozenset[str]]:
    """The stems of each run of WINDOW sentences."""
    parts = [subject_stems(unit.text, language) for unit in units(text)]
    count = max(1, len(parts) - WINDOW + 1)
    return [frozenset().union(*parts[n : n + WINDOW]) for n in range(count)]
