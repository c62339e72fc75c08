"""What of a page stands in front of a question: all of it where it fits, else whole sections."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.search.index import coverage
from gateway.wiki import blocks
from gateway.wiki.asking import asked_stems
from gateway.wiki.page import Page, Section
from gateway.wiki.words import stem_set

FOCUS = 900  # characters, some 250 tokens: half a second of reading on two cores
# Beside pages of more than LONG tokens it is shorter: what stands beside the question is read anew
# for each, and 900 characters took 7 % as long as a page of 4,000 tokens. 100 are as good where
# answers are quoted, and lose .06 of F1 where a small model writes (docs/results.md).
LONG = 2500
SHORT_FOCUS = 100
PART = 400  # tokens of a part of a section that is too long to be read whole
# What similarity counts beside the words of a question, which add up to 2, and the sections, best
# by words, that are compared: on the right page of two small wikis the right section was the best
# one for 89 % of 95 questions, for 64 % by words alone (docs/results.md, "The best section").
MEANING = 3.0
COMPARED = 12
CUT = "[This section goes on; it was too long to be read whole.]"
LATER = "[This section began earlier; it was too long to be read whole.]"

# How like sections of pages are to the question by what they mean, -1 to 1; None: not known now.
Like = Callable[[Sequence[tuple[Page, Section]]], Sequence[float] | None]


@dataclass(frozen=True)
class Piece:
    """A section, or a part of one that is too long to be read whole."""

    section: Section
    """As it is shown: the text of a part has its heading, and says where it goes on."""
    number: int
    """Of the section on its page."""
    body: str = ""
    """Of a part: what only it has."""
    part: int = 0
    parts: int = 1


@dataclass(frozen=True)
class Excerpt:
    """Sections of one page, in page order."""

    page: Page
    sections: tuple[Section, ...]
    tokens: int

    @property
    def is_whole(self) -> bool:
        return self.sections == self.page.sections

    @property
    def text(self) -> str:
        if self.is_whole:
            return self.page.text
        shown = []
        for section, above in self.placed:
            shown += [f"({above})", section.text] if above else [section.text]
        return "\n\n".join(shown)

    @property
    def placed(self) -> list[tuple[Section, str]]:
        """Each section with the headings that it stood under, where it is out of its place."""
        if self.is_whole:
            return [(section, "") for section in self.sections]
        found = []
        before: tuple[str, ...] = ()
        for section in self.sections:
            above = section.path[:-1]
            is_apart = bool(above) and above != before[: len(above)]
            before = section.path
            found.append((section, " › ".join(above) if is_apart else ""))
        return found


def pieces(page: Page, counts: Sequence[int], budget: int) -> list[Piece]:
    """The page's sections; those of more than `budget` tokens in parts, cut between paragraphs.

    Args:
        page: a page.
        counts: tokens of each of its sections.
        budget: the most tokens that an excerpt may have.
    """
    found: list[Piece] = []
    for number, (section, tokens) in enumerate(zip(page.sections, counts, strict=True)):
        if tokens <= budget:
            found.append(Piece(section, number))
            continue
        per_token = len(section.text) / tokens
        most = max(200, int(per_token * min(PART, budget // 3)))
        texts = blocks.parts(section.body, most) or [""]
        found += [
            _piece(section, number, (text,), part, len(texts)) for part, text in enumerate(texts)
        ]
    return found


def whole(page: Page, counts: Sequence[int], budget: int) -> Excerpt | None:
    """The page with all its sections, of so many tokens each, where it fits into `budget`."""
    return Excerpt(page, page.sections, sum(counts)) if sum(counts) <= budget else None


def excerpt(
    page: Page,
    parts: Sequence[Piece],
    counts: Sequence[int],
    budget: int,
    question: str,
    idf: Mapping[str, float],
    like: Like | None = None,
) -> Excerpt:
    """What of a page answers the question best, within `budget` tokens that it does not fit into.

    Args:
        page: a page with at least one section.
        parts: its `pieces`.
        counts: tokens of each piece.
        budget: the most tokens the excerpt may have.
        question: ranks the pieces.
        idf: weight of each stem of the question, from the index.
        like: where meaning is to count beside words.
    """
    asked = set(asked_stems(question))
    said = [relevance(piece.section, asked, idf) for piece in parts]
    fit = _fit([(page, piece.section) for piece in parts], said, like)
    best = max(range(len(parts)), key=lambda n: fit[n])
    # Of pieces that fit as well, those beside the best one: what goes on there is about it.
    order = sorted(range(len(parts)), key=lambda n: (-fit[n], abs(n - best)))
    chosen: list[int] = []
    used = 0
    for number in order:
        # What has no word of the question would only be read, and reading takes time.
        worth = said[number] or number == best or not any(said)
        if used + counts[number] <= budget and worth:
            chosen.append(number)
            used += counts[number]
    # The tokens of a part were estimated when it was cut; one that came out too long is still
    # better than nothing: the room for the answer has some slack.
    chosen = sorted(chosen) or [min(range(len(parts)), key=lambda n: counts[n])]
    return Excerpt(page, _joined([parts[n] for n in chosen]), used or counts[chosen[0]])


def focus(
    excerpts: Sequence[Excerpt],
    question: str,
    idf: Mapping[str, float],
    like: Like | None = None,
) -> Section | None:
    """The section that fits the question best, of those with text under their heading."""
    asked = set(asked_stems(question))
    places = [(part.page, section) for part in excerpts for section in part.sections]
    places = [place for place in places if spoken(place[1])]
    fit = _fit(places, [relevance(section, asked, idf) for _, section in places], like)
    best = max(range(len(places)), key=lambda n: fit[n], default=None)
    return None if best is None else places[best][1]


def beginning(section: Section, tokens: int = 0) -> str:
    """The section's text without its heading, as far as it is repeated beside a question.

    `tokens` are those of the pages in front of the question.
    """
    return blocks.beginning(spoken(section), SHORT_FOCUS if tokens > LONG else FOCUS)


def spoken(section: Section) -> str:
    """The section's text without its heading, and without our notes that it goes on."""
    return section.body.removeprefix(LATER).removesuffix(CUT).strip()


def relevance(section: Section, asked: set[str], idf: Mapping[str, float]) -> float:
    """How well a section fits a question with these stems, 0 to 2."""
    if not asked:
        return 0.0
    weights = dict(idf)
    headings = " ".join(section.path or (section.heading,))
    in_heading = coverage(weights, asked, stem_set(headings))
    return coverage(weights, asked, stem_set(section.text)) + in_heading


def _fit(
    places: Sequence[tuple[Page, Section]], said: Sequence[float], like: Like | None
) -> list[float]:
    """How well sections fit a question: by its words, and the best of these by meaning, too."""
    fit = list(said)
    if like is not None and len(places) > 1:
        compared = sorted(range(len(places)), key=lambda n: -said[n])[:COMPARED]
        if (similarity := like([places[n] for n in compared])) is not None:
            for number, near in zip(compared, similarity, strict=True):
                fit[number] += MEANING * max(near, 0.0)
    return fit


def _piece(section: Section, number: int, texts: Sequence[str], part: int, parts: int) -> Piece:
    """A part of a section; `texts` are its own and those of the parts right behind it."""
    body = "\n\n".join(texts)
    heading = section.text.rstrip().removesuffix(section.body).strip()
    notes = (LATER if part else "", CUT if part + len(texts) < parts else "")
    text = "\n\n".join(bit for bit in (heading, notes[0], body, notes[1]) if bit)
    return Piece(replace(section, text=text), number, body, part, parts)


def _joined(chosen: Sequence[Piece]) -> tuple[Section, ...]:
    """The sections of the chosen pieces; parts that follow each other are one again."""
    sections: list[Section] = []
    run: list[Piece] = []

    def close() -> None:
        if len(run) > 1:
            first, texts = run[0], [piece.body for piece in run]
            whole = _piece(first.section, first.number, texts, first.part, first.parts)
            sections.append(whole.section)
        elif run:
            sections.append(run[0].section)
        run.clear()

    for piece in chosen:
        if run and (run[-1].number, run[-1].part + 1) != (piece.number, piece.part):
            close()
        run.append(piece)
    close()
    return tuple(sections)
