"""Puts the passages of a search result in order for the reader.

Only passages are reordered, by their text: the order of pages and the scores by which questions
are refused stay, except with a reranker that decides alone.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, pairwise
from math import inf, nextafter

from wiki.index.passages import Passage, plain, text_of
from wiki.pages.asking import is_english
from wiki.pages.headings import plain as plain_heading
from wiki.pages.headings import question, unnumbered
from wiki.pages.words import stems, words
from wiki.search.hits import Hit, PassageHit, best_passages
from wiki.search.query import Sought
from wiki.search.rerank import InTime

# Fitted together with them, on PAIRED top passages: a passage's gain for containing all pairs of
# adjacent words of the question. The index has no word positions, so only the text of the top
# passages is read.
OF_PAIRS = 0.07
PAIRED = 12
# Maximum characters of a question that is compared with headings.
ASKED_HEADING = 200
# A question in quotation marks, as in an example of how to ask.
_QUOTED = re.compile(r"[\"'`“„«]([^\"'`“”„«»\n]{3,200}\?)[\"'`”“»]")
_LINE_STARTS = " >*#_-+.)0123456789Q:"


def in_order(hits: Sequence[Hit], sought: Sought, reranker: InTime | None) -> list[Hit]:
    """Reorders the passages of the hits: by pairs of words, by the reranker if it is in time, and
    for a question that is a heading. A reranker that decides alone also reorders the pages, by
    their best passages."""
    ranked = best_passages(hits)
    order = _by_pairs(ranked, sought)
    decided = False
    # The bundled reranker was trained on English only.
    if reranker is not None and (reranker.decides or is_english(sought.question)):
        reranked = _reranked(ranked, order, sought, reranker)
        decided = reranker.decides and reranked is not None
        order = reranked or order
    hits = _placed(hits, ranked, _asked_first(ranked, order, sought))
    if not decided:  # pages and refusals are calibrated on the search's scores
        return hits
    return sorted(map(_as_its_best, hits), key=lambda hit: -hit.score)


def _by_pairs(ranked: Sequence[PassageHit], sought: Sought) -> list[int]:
    """The places of the passages in `ranked`, in their new order."""
    keys = [
        (quotes(sought, match), -match.score - OF_PAIRS * paired_share(sought, match))
        for match in ranked[:PAIRED]
    ]
    first = sorted(range(len(keys)), key=keys.__getitem__)
    return [*first, *range(len(first), len(ranked))]


def _reranked(
    ranked: Sequence[PassageHit], order: Sequence[int], sought: Sought, reranker: InTime
) -> list[int] | None:
    """Reorders the first passages that do not quote the question; None if it is late."""
    answers = (rank for rank, place in enumerate(order) if not quotes(sought, ranked[place]))
    ranks = list(islice(answers, reranker.passages))
    places = [order[rank] for rank in ranks]
    texts = [text_of(ranked[place].page, ranked[place].passage) for place in places]
    scores = [ranked[rank].score for rank in ranks]
    best = reranker.order(sought.text, texts, scores) if len(ranks) > 1 else None
    if best is None:
        return None
    reranked = list(order)
    for rank, number in zip(ranks, best, strict=True):
        reranked[rank] = places[number]
    return reranked


def _asked_first(ranked: Sequence[PassageHit], order: list[int], sought: Sought) -> list[int]:
    """Moves the best passage of a section whose heading is the question to the front."""
    asked_words = words(sought.question) if len(sought.question) <= ASKED_HEADING else []
    if len(asked_words) < 2:
        return order
    sections: dict[tuple[str, int], bool] = {}
    for place in order:
        match = ranked[place]
        key = (match.page.url, match.passage.section)
        if key not in sections:
            sections[key] = _is_heading(asked_words, match)
        if sections[key]:
            return [place, *(other for other in order if other != place)]
    return order


def _placed(hits: Sequence[Hit], ranked: Sequence[PassageHit], order: Sequence[int]) -> list[Hit]:
    """The hits with their passages in the given order.

    A passage gets the score of its new rank: words and meaning decide how well the wiki answers at
    all. Ties are broken by minimal decrements.
    """
    moved: dict[tuple[str, Passage], float] = {}
    lowest = inf
    for match, old in zip(ranked, order, strict=True):
        lowest = min(match.score, nextafter(lowest, -inf))
        moved[ranked[old].page.url, ranked[old].passage] = lowest
    changed = []
    for hit in hits:
        scores = [moved.get((hit.page.url, match.passage)) for match in hit.passages]
        places = [
            match if score in (None, match.score) else replace(match, score=score)
            for match, score in zip(hit.passages, scores, strict=True)
        ]
        changed.append(replace(hit, passages=tuple(sorted(places, key=lambda match: -match.score))))
    return changed


def _is_heading(asked_words: list[str], match: PassageHit) -> bool:
    """Is the question the heading of the passage's section, or made of it?"""
    if not match.page.sections:
        return False
    section = match.page.sections[match.passage.section]
    heading = plain_heading(section.heading)
    if asked_words in (words(heading), words(unnumbered(heading))):
        return True
    return asked_words[:3] == ["how", "do", "i"] and words(question(section)) == asked_words


def _as_its_best(hit: Hit) -> Hit:
    best = (match.score for match in hit.passages if match.passage.is_readable)
    return replace(hit, score=max(best, default=hit.score))


def paired_share(sought: Sought, match: PassageHit) -> float:
    """The share of a question's pairs of adjacent words that are adjacent in a passage, too."""
    spoken = sought.on(match.page)
    pairs = list(pairwise(spoken.in_order))
    if not pairs:
        return 0.0
    there = set(pairwise(stems(plain(match.passage.text), spoken.language)))
    return sum(pair in there for pair in pairs) / len(pairs)


def quotes(sought: Sought, match: PassageHit) -> bool:
    """Whether a passage quotes the question. An example of how to ask has all of its words, but is
    not an answer. The text below a line that begins with it, as in a FAQ, is the answer."""
    spoken = sought.on(match.page)
    asked = set(spoken.in_order)
    text = match.passage.text
    return len(asked) > 1 and any(
        text[text.rfind("\n", 0, quoted.start()) + 1 : quoted.start()].strip(_LINE_STARTS)
        and asked.issubset(stems(quoted[1], spoken.language))
        for quoted in _QUOTED.finditer(text)
    )
