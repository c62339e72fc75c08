"""Checks training answers against their pages with the gateway's own check of answers.

Targets are also put into the form of the gateway's prompt: each sentence cites its section by
number.
"""

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, get_args

from gateway.answering.check import Check
from gateway.answering.claims import Claim, drafts, summary
from gateway.answering.evidence import Idf
from gateway.answering.grounding.excerpt import Excerpt, spoken
from gateway.answering.grounding.prompt import numbered
from gateway.answering.sentences import split
from wiki.pages.words import stem_set

Support = Literal["supported", "unsupported", "nothing"]
"""Support of a target; `nothing`: it makes no claim that a page could support."""
SUPPORTS: tuple[Support, ...] = get_args(Support)
# Citations from another prompt; `list[2]` in code is not a citation.
_STALE = re.compile(r"(?:(?<=[\w)]) |(?<=[.!?\]]) ?)\[\d{1,3}\](?!\()")
# Maximum quotations before an answer, and maximum characters of a quotation.
QUOTES, QUOTE = 2, 300


def claims(
    runner: asyncio.Runner, answer: str, excerpts: Sequence[Excerpt], idf: Idf, question: str
) -> list[Claim]:
    """The claims of each sentence of an answer, checked against the excerpts."""
    return runner.run(Check(excerpts, idf, asked=question).claims(answer))


def support(checked: Iterable[Claim]) -> Support:
    """Support of an answer with these claims: its worst sentence decides."""
    worst = summary(list(checked))
    if worst == "supported":
        return worst
    return "nothing" if worst == "none" else "unsupported"


def uncited(answer: str) -> str:
    """Remove citations, whose numbers belong to another prompt."""
    for draft in reversed(drafts(answer)):
        if draft.sentence.kind in ("prose", "item"):
            sentence = _STALE.sub("", answer[draft.start : draft.end])
            answer = answer[: draft.start] + sentence + answer[draft.end :]
    return answer


def cite(answer: str, checked: Sequence[Claim], excerpts: Sequence[Excerpt]) -> str:
    """Add `[2]` after each sentence that section 2 supports."""
    for end, number in reversed(list(_citations(answer, checked, excerpts))):
        beginning = answer[:end].rstrip(".!?:。！？")
        answer = f"{beginning} [{number}]{answer[len(beginning) :]}"
    return answer


def quote(
    answer: str, checked: Sequence[Claim], excerpts: Sequence[Excerpt], idf: Idf
) -> Iterator[str]:
    """Sentences from the cited sections that together cover most of the answer, as quotations."""
    cited = {number for _, number in _citations(answer, checked, excerpts)}
    sentences = [
        (sentence.text.strip(), number)
        for number, _, section in numbered(excerpts)
        if number in cited
        for sentence in split(spoken(section))
        if sentence.kind in ("prose", "item") and len(sentence.text) <= QUOTE
    ]
    left = stem_set(answer)
    weights = idf(left)
    for _ in range(QUOTES):
        overlaps = [sum(weights[stem] for stem in left & stem_set(text)) for text, _ in sentences]
        best = max(range(len(overlaps)), key=overlaps.__getitem__, default=-1)
        if best < 0 or not overlaps[best]:
            return
        text, number = sentences.pop(best)
        left = left - stem_set(text)
        yield f"> {' '.join(text.split())} [{number}]"


def _citations(
    answer: str, checked: Sequence[Claim], excerpts: Sequence[Excerpt]
) -> Iterator[tuple[int, int]]:
    """The end of each supported prose sentence, with the number of its section."""
    numbers: dict[str, int] = {}
    for number, page, section in numbered(excerpts):
        numbers.setdefault(page.section_url(section), number)
    for draft, claim in zip(drafts(answer), checked, strict=True):
        is_prose = draft.sentence.kind in ("prose", "item")
        if claim.verdict == "supported" and is_prose and claim.source in numbers:
            yield draft.end, numbers[claim.source]
