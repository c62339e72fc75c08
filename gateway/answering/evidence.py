"""The pages of a prompt as evidence: passages and the facts in each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import fsum

import numpy as np
import numpy.typing as npt

from gateway.answering.facts import Fact, code_words, numbers, squeezed
from gateway.answering.grounding.excerpt import Excerpt, spoken
from gateway.answering.plain import plain, unescaped
from gateway.answering.sentences import split
from wiki.index.quotation import GAP
from wiki.pages.asking import language, subject_stems
from wiki.pages.page import Page, Section

Floats = npt.NDArray[np.float32]
Idf = Callable[[Iterable[str]], Mapping[str, float]]

# Sentences of a page that are compared with a sentence together.
WINDOW = 3
# A second window must have at least this share of the stems that the first one lacks.
MORE = 0.5


class EvidenceText:
    """A text that is searched for facts."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def _plain(self) -> str:
        return plain(self.text).lower()

    @cached_property
    def _squeezed(self) -> str:
        return squeezed(self._plain)

    @cached_property
    def _raw(self) -> str:
        return squeezed(unescaped(self.text))

    @cached_property
    def _numbers(self) -> set[str]:
        return numbers(unescaped(self.text))

    def has(self, fact: Fact) -> bool:
        """Whether the text contains the fact, as written or as rendered."""
        if fact.kind == "number":
            if fact.text in self._numbers:
                return True
            whole = fact.text.split(".")[0]
            return "." not in fact.text and any(n.split(".")[0] == whole for n in self._numbers)
        if fact.kind == "address":
            return fact.text in self._raw or fact.text.replace("www.", "") in self._raw
        if self._holds(squeezed(fact.text)):
            return True
        # A command with different arguments, or with an option from another example.
        words = code_words(fact.text) if fact.kind == "code" else []
        return len(words) > 1 and all(map(self._holds, words))

    def _holds(self, text: str) -> bool:
        return text in self._squeezed or text in self._raw


@dataclass(frozen=True)
class Window:
    """A run of sentences within one section, with the headings above it."""

    text: EvidenceText
    stems: frozenset[str]
    place: int
    """The index of its section."""
    width: int


@dataclass(frozen=True)
class ShownSection:
    """A section in the prompt."""

    page: Page
    section: Section
    text: EvidenceText
    stems: frozenset[str]

    @property
    def url(self) -> str:
        return self.page.section_url(self.section)


class Evidence:
    """The pages that may support an answer."""

    def __init__(self, excerpts: Sequence[Excerpt], idf: Idf, asked: str = "") -> None:
        """`asked`: the person's questions, which an answer may repeat."""
        self.asked = EvidenceText(asked)
        self._idf = idf
        self._known: dict[str, float] = {}
        self.places: list[ShownSection] = []
        self.windows: list[Window] = []
        shown = [
            (excerpt.page, section, f"{excerpt.page.title}\n{' > '.join(section.path)}")
            for excerpt in excerpts
            for section in excerpt.sections
        ]
        whole = [f"{head}\n{section.text}" for _, section, head in shown]
        self.text = EvidenceText("\n\n".join(whole))
        self.language = language(self.text.text)
        """The language of the pages, whose stems are compared."""
        for (page, section, head), text in zip(shown, whole, strict=True):
            place = ShownSection(page, section, EvidenceText(text), self.stems_of(text))
            self.windows += _windows(head, spoken(section), len(self.places), self.language)
            self.places.append(place)
        self.stems = frozenset[str]().union(*(place.stems for place in self.places))
        self.asked_stems = self.stems_of(plain(asked))

    def stems_of(self, text: str) -> frozenset[str]:
        """The distinct stems of a text, as of the pages."""
        return subject_stems(text, self.language)

    def place(self, url: str) -> ShownSection | None:
        """The first section with this address."""
        return next((place for place in self.places if place.url == url), None)

    def weights(self, stems: Iterable[str]) -> dict[str, float]:
        """The weight of each stem: its rarity in the wiki."""
        wanted = set(stems)
        if missing := wanted - self._known.keys():
            self._known.update(self._idf(missing))
        return {stem: self._known[stem] for stem in wanted}

    def shares(self, stems: frozenset[str]) -> Floats:
        """The share of the stems that each window has, weighted by rarity."""
        weights = self.weights(stems)
        total = fsum(weights.values()) or 1.0
        known = [stem for stem in stems if stem in self._columns]
        if not known:
            return np.zeros(len(self.windows), dtype=np.float32)
        weighed = np.array([weights[stem] / total for stem in known], dtype=np.float32)
        shares: Floats = self._having[:, [self._columns[stem] for stem in known]] @ weighed
        return shares

    def passage(self, stems: frozenset[str], window: Window) -> str:
        """A window as plain text, plus the best window for the stems that it lacks."""
        rest = stems - window.stems
        shares = self.shares(rest)
        more = self.windows[int(shares.argmax())] if rest else window
        if more is window or shares.max() < MORE:
            return plain(window.text.text)
        return plain(f"{window.text.text}\n{GAP}\n{more.text.text}")

    @cached_property
    def _columns(self) -> dict[str, int]:
        stems = frozenset[str]().union(*(window.stems for window in self.windows))
        return {stem: number for number, stem in enumerate(stems)}

    @cached_property
    def _having(self) -> Floats:
        having = np.zeros((len(self.windows), len(self._columns)), dtype=np.float32)
        for number, window in enumerate(self.windows):
            having[number, [self._columns[stem] for stem in window.stems]] = 1.0
        return having


@lru_cache(maxsize=2048)
def _windows(head: str, body: str, place: int, language: str) -> tuple[Window, ...]:
    code_words: list[str] = []
    row_head = ""
    sentences = split(body)
    for number, sentence in enumerate(sentences):
        if sentence.kind == "rule":
            continue
        if sentence.kind == "row":
            following = sentences[number + 1 : number + 2]
            if following and following[0].kind == "rule":
                row_head = sentence.text
                continue
            code_words.append(f"{row_head}{sentence.text}")
        elif sentence.text.strip():
            row_head = ""
            code_words.append(sentence.text)
    above = subject_stems(head, language)
    of_parts = [subject_stems(part, language) for part in code_words]
    windows = [
        Window(EvidenceText(f"{head}\n{part}"), above | stems, place, 1)
        for part, stems in zip(code_words, of_parts, strict=True)
    ]
    for width in (2, WINDOW):
        for start in range(len(code_words) - width + 1):
            text = "".join(code_words[start : start + width])
            stems = above.union(*of_parts[start : start + width])
            windows.append(Window(EvidenceText(f"{head}\n{text}"), stems, place, width))
    return tuple(windows)
