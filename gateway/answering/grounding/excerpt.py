"""Selects the text of a page for the prompt: the whole page if it fits, otherwise passages."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from wiki.index.passages import Passage, passages
from wiki.index.quotation import GAP
from wiki.pages.page import Page, Section


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
        """Each section, with its parent headings if it does not follow them directly."""
        if self.is_whole:
            return [(section, "") for section in self.sections]
        placements = []
        before: tuple[str, ...] = ()
        for section in self.sections:
            above = section.path[:-1]
            is_apart = bool(above) and above != before[: len(above)]
            before = section.path
            placements.append((section, " › ".join(above) if is_apart else ""))
        return placements


def chosen_sections(page: Page, chosen: Collection[int]) -> tuple[Section, ...]:
    """The sections of a page reduced to the chosen passages, in page order.

    A section stays unchanged if all its passages are chosen; otherwise its text has the heading,
    and marks omissions.
    """
    of_section: dict[int, list[tuple[int, Passage]]] = {}
    for number, passage in enumerate(passages(page)):
        of_section.setdefault(passage.section, []).append((number, passage))
    sections = []
    for place, section in enumerate(page.sections):
        inside = of_section.get(place, [])
        included = [(number, passage) for number, passage in inside if number in chosen]
        if included and len(included) == len(inside):
            sections.append(section)
        elif included:
            sections.append(_part(section, inside, included))
    return tuple(sections)


def _part(
    section: Section,
    inside: Sequence[tuple[int, Passage]],
    included: Sequence[tuple[int, Passage]],
) -> Section:
    texts: list[str] = []
    before, term = inside[0][0] - 1, ""
    for number, passage in included:
        if number != before + 1:
            texts.append(GAP)
        if passage.term != term and not _has_term(passage):
            texts.append(f"**{passage.term}**")
        texts.append(passage.text)
        before, term = number, passage.term
    if before != inside[-1][0]:
        texts.append(GAP)
    return replace(section, text=_under(section, "\n\n".join(texts)))


def _has_term(passage: Passage) -> bool:
    first = passage.text.partition("\n")[0]
    return not passage.term or all(part in first for part in passage.term.split(", "))


def _under(section: Section, text: str) -> str:
    heading = section.text.rstrip().removesuffix(section.body).strip() if section.heading else ""
    return f"{heading}\n\n{text}" if heading else text


def spoken(section: Section) -> str:
    """The section's text without its heading and without the notes that it continues."""
    return section.body.removeprefix(GAP).removesuffix(GAP).strip()
