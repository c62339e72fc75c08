"""What of a page stands in front of a question: all of it where it fits, else whole sections."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.search.index import coverage
from gateway.wiki.page import Page, Section
from gateway.wiki.words import stems

FOCUS = 900  # characters, some 250 tokens: half a second of reading on two cores
CUT = "[This section goes on; it was too long to be read whole.]"


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
        parts = []
        shown: tuple[str, ...] = ()
        for section in self.sections:
            # A section out of its place keeps the headings that it stood under.
            above = section.path[:-1]
            if above and above != shown[: len(above)]:
                parts.append(f"({' › '.join(above)})")
            shown = section.path
            parts.append(section.text)
        return "\n\n".join(parts)


def excerpt(
    page: Page, counts: Sequence[int], budget: int, question: str, rarity: Mapping[str, float]
) -> Excerpt:
    """The page, or the sections of it that answer the question best, within `budget` tokens.

    Args:
        page: a page with at least one section.
        counts: tokens of each of its sections.
        budget: the most tokens the excerpt may have.
        question: ranks the sections.
        rarity: weight of each stem of the question, from the index.
    """
    if sum(counts) <= budget:
        return Excerpt(page, page.sections, sum(counts))
    asked = set(stems(question))
    order = sorted(
        range(len(page.sections)),
        key=lambda n: -_relevance(page.sections[n], asked, rarity),
    )
    chosen: set[int] = set()
    used = 0
    for number in order:
        if used + counts[number] <= budget:
            chosen.add(number)
            used += counts[number]
        elif not chosen:
            # The best section alone is larger than the budget: its paragraphs, as far as they go.
            section, cost = _shorten(page.sections[number], counts[number], budget)
            return Excerpt(page, (section,), cost)
    return Excerpt(page, tuple(page.sections[n] for n in sorted(chosen)), used)


def focus(
    excerpts: Sequence[Excerpt], question: str, rarity: Mapping[str, float]
) -> Section | None:
    """The section that fits the question best, of those with text under their heading."""
    asked = set(stems(question))
    sections = [section for part in excerpts for section in part.sections if section.body]
    return max(sections, key=lambda section: _relevance(section, asked, rarity), default=None)


def beginning(section: Section) -> str:
    """The section's text without its heading, as far as FOCUS characters go."""
    return paragraphs(section.body, FOCUS)


def paragraphs(text: str, characters: int) -> str:
    """The first paragraphs of `text` that fit, at least (a part of) one."""
    kept = text[:characters]
    if len(text) > characters and "\n\n" in kept:
        kept = kept.rsplit("\n\n", 1)[0]
    return kept.strip()


def _relevance(section: Section, asked: set[str], rarity: Mapping[str, float]) -> float:
    if not asked:
        return 0.0
    weights = dict(rarity)
    in_heading = coverage(weights, asked, stems(" ".join(section.path or (section.heading,))))
    return coverage(weights, asked, stems(section.text)) + in_heading


def _shorten(section: Section, tokens: int, budget: int) -> tuple[Section, int]:
    per_character = tokens / max(1, len(section.text))
    kept: list[str] = []
    used = 30.0  # the note below
    for paragraph in section.text.split("\n\n"):
        cost = (len(paragraph) + 2) * per_character
        if used + cost > budget:
            break
        kept.append(paragraph)
        used += cost
    if not kept:
        # One paragraph larger than the budget, a table or a log: its first lines.
        kept = [section.text[: int((budget - used) / per_character)]]
        used = budget
    return replace(section, text="\n\n".join([*kept, CUT])), int(used)
