"""Matches the passages of an answer to their sources: numbers, quotations, source names."""

import re
from collections.abc import Iterator

from widget.service.outcome import Outcome, Source

_MARKUP = re.compile(r"[`*]|(?<!\s)\s*+(?:\{[#.:][^{}]*+\}|(?<![¶#])[¶#]++)\s*+$")


def numbers(text: str, outcome: Outcome) -> list[tuple[int, int]]:
    """Positions in the text, each with the number of the source for the text before it.

    For a checked answer, by claim: only supported claims get a number, and consecutive sentences of
    a paragraph from the same source share one.
    """
    known = {source.url: number for number, source in reversed([*enumerate(outcome.sources, 1)])}
    if not outcome.claims:
        return [
            (citation.end_index, known[citation.url])
            for citation in outcome.citations
            if citation.url in known and 0 < citation.end_index <= len(text)
        ]
    citations: list[tuple[int, int]] = []
    for claim in sorted(outcome.claims, key=lambda claim: claim.end):
        number = known.get(claim.source or "") if claim.verdict == "supported" else None
        if number is None or not 0 < claim.end <= len(text):
            citations.append((claim.end, 0))  # ends a run
        elif (
            citations
            and citations[-1][1] == number
            and "\n" not in text[citations[-1][0] : claim.end].strip()
        ):
            citations[-1] = (claim.end, number)
        else:
            citations.append((claim.end, number))
    return [(end, number) for end, number in citations if number]


def quotations(text: str, outcome: Outcome) -> list[tuple[int, Source, str]]:
    """The parts of a quotation with their sources and source numbers."""
    if not outcome.is_quotation:
        return []
    # Passages of a section share a URL: assign them in order.
    known: dict[str, list[int]] = {}
    for number, source in reversed([*enumerate(outcome.sources, 1)]):
        known.setdefault(source.url, []).append(number)
    parts: list[tuple[int, int]] = []  # the end of each part, and its source's number
    for citation in sorted(outcome.citations, key=lambda citation: citation.end_index):
        numbers = known.get(citation.url)
        if not numbers:
            continue
        number = numbers.pop() if len(numbers) > 1 else numbers[0]
        end = min(citation.end_index, len(text))
        if parts and parts[-1][1] == number:
            parts.pop()
        parts.append((end, number))
    if not parts:
        parts = [(len(text), 1)]
    parts[-1] = (len(text), parts[-1][1])  # uncited text belongs to the preceding part
    return [*_cut(text, parts, outcome)]


def _cut(
    text: str, parts: list[tuple[int, int]], outcome: Outcome
) -> Iterator[tuple[int, Source, str]]:
    begin = 0
    for end, number in parts:
        source = outcome.sources[number - 1]
        if part := text[begin:end].strip("\n").rstrip():
            # For text clients, the answer marks quotations and adds links below: use the source's
            # own text.
            yield number, source, source.quote if part.startswith(">") and source.quote else part
        begin = max(begin, end)


def trail(title: str, section: str = "") -> str:
    """The path to a section: page title and headings, each once, without markup."""
    names: list[str] = []
    for name in (title, *section.split(" › ")):
        name = _MARKUP.sub("", name).strip()
        if name and name.casefold() not in (known.casefold() for known in names):
            names.append(name)
    return " › ".join(names)
