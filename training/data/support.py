"""Do the pages support what a model is to answer? The gateway's own check of answers decides.

Targets also get the form of the gateway's prompt: each sentence cites its section by number.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, get_args

from gateway.answering.check import Check
from gateway.answering.claims import Claim, drafts, summary
from gateway.answering.evidence import Idf
from gateway.answering.grounding.excerpt import Excerpt, spoken
from gateway.answering.grounding.prompt import numbered
from gateway.answering.sentences import split
from gateway.knowledge.search import postings
from gateway.knowledge.wiki.page import Page
from gateway.knowledge.wiki.words import stem_set

Support = Literal["supported", "unsupported", "nothing"]
"""Of a target; `nothing`: it claims nothing that a page could support."""
SUPPORTS: tuple[Support, ...] = get_args(Support)
# Citations of another prompt; `list[2]` in code is none.
_STALE = re.compile(r"(?:(?<=[\w)]) |(?<=[.!?\]]) ?)\[\d{1,3}\](?!\()")
# Quotations in front of an answer, and characters of one.
QUOTES, QUOTE = 2, 300


def claims(
    runner: asyncio.Runner, answer: str, excerpts: Sequence[Excerpt], idf: Idf, question: str
) -> list[Claim]:
    """What each sentence of an answer claims, and whether the excerpts support it."""
    return runner.run(Check(excerpts, idf, asked=question).claims(answer))


def support(checked: Iterable[Claim]) -> Support:
    """Of an answer with these claims: its worst sentence decides."""
    worst = summary(list(checked))
    if worst == "supported":
        return worst
    return "nothing" if worst == "none" else "unsupported"


def uncited(answer: str) -> str:
    """The answer without numbers that it cites: they were those of another prompt."""
    for draft in reversed(drafts(answer)):
        if draft.sentence.kind in ("prose", "item"):
            sentence = _STALE.sub("", answer[draft.start : draft.end])
            answer = answer[: draft.start] + sentence + answer[draft.end :]
    return answer


def cite(answer: str, checked: Sequence[Claim], excerpts: Sequence[Excerpt]) -> str:
    """The answer with `[2]` behind each sentence that section 2 supports."""
    for end, number in reversed(list(_citations(answer, checked, excerpts))):
        beginning = answer[:end].rstrip(".!?:。！？")
        answer = f"{beginning} [{number}]{answer[len(beginning) :]}"
    return answer


def quote(
    answer: str, checked: Sequence[Claim], excerpts: Sequence[Excerpt], idf: Idf
) -> Iterator[str]:
    """Sentences of the cited sections that have most of the answer between them, as quotations."""
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


def idf_of(pages: Sequence[Page]) -> Callable[[Iterable[str]], dict[str, float]]:
    """As `Index.idf`, of pages that are in no index."""
    having: dict[str, int] = {}
    for page in pages:
        for stem in stem_set(page.text):
            having[stem] = having.get(stem, 0) + 1
    return lambda stems: {
        stem: max(0.1, postings.idf(len(pages), having.get(stem, 0))) for stem in stems
    }


def _citations(
    answer: str, checked: Sequence[Claim], excerpts: Sequence[Excerpt]
) -> Iterator[tuple[int, int]]:
    """Where a supported sentence of prose ends, and the number of its section."""
    numbers: dict[str, int] = {}
    for number, page, section in numbered(excerpts):
        numbers.setdefault(page.section_url(section), number)
    for draft, claim in zip(drafts(answer), checked, strict=True):
        is_prose = draft.sentence.kind in ("prose", "item")
        if claim.verdict == "supported" and is_prose and claim.source in numbers:
            yield draft.end, numbers[claim.source]
