"""Learns pairs of words, a reader's and the wiki's, from what readers asked and what helped them.

Evidence is a question, and a text that found its page: the reader's next question, which was
answered; or the title and section of an answer that was voted up or approved. A pair takes words of
the question that the text lacks, and words of the text that the question lacks.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import sqlalchemy as sa

from gateway.access.rights import Reader
from gateway.knowledge.search.glossary import LONGEST
from gateway.knowledge.search.own_words import Pair
from gateway.knowledge.wiki.asking import asked_words, language
from gateway.knowledge.wiki.page import Page, Section
from gateway.knowledge.wiki.words import stem
from gateway.storage.database import reading
from widget.review import rights
from widget.review.queue import following, turns
from widget.review.tables import current_review, member_table
from widget.review.wiki import ReviewIndex
from widget.service import store
from widget.service.store import question_table

# Limits of what is looked at: the latest questions, and of those that are evidence, the latest.
LOOKED = 20_000
EVIDENCE = 1_000
# Readers who must agree on a pair. A single reader's words are often a slip, and one person could
# propose anything.
LEAST = 2
# Words of a text that are tried, and of a run of them, in all phrases of up to LONGEST words. A
# pasted text has hundreds, and each of its phrases would be paired with each of the other text's.
TRIED = 12
RUN = 6
# Characters of a section of an answer.
SECTION = 4_000


class Evidence(NamedTuple):
    """A question, and what helped."""

    who: str
    """The reader's pseudonym, or their conversation."""
    asked: str
    helped: tuple[str, ...]
    """The next question; or the title and headings of the answer."""
    known: str
    """The reader's words in this text are the wiki's, too."""
    name: str
    """The title of the page that answered, and the headings of its section."""
    url: str
    """The page."""


@dataclass(frozen=True)
class Candidate:
    """A pair with its evidence."""

    pair: Pair
    evidence: tuple[Evidence, ...]
    named: int
    """How much of it has the wiki's words in the page's name."""

    @property
    def readers(self) -> int:
        return len({evidence.who for evidence in self.evidence})


def gather(engine: sa.Engine, reader: Reader, wiki: ReviewIndex) -> list[Evidence]:
    """The evidence from questions and pages that the reader may read, the latest first.

    Raises Unreachable.
    """
    with reading(engine) as connection:
        asked = turns(connection, reader, most=LOOKED)
        again = following(asked, lambda turn: turn.visitor or turn.conversation)
        chosen = [
            (turn, helped)
            for turn in reversed(asked)
            for helped in (again.get(turn.id), turn if turn.received == 3 else None)
            if helped and (helped is turn or 2 <= helped.received > turn.received)
        ][:EVIDENCE]
        pages = _answers(connection, {helped.id for _, helped in chosen})
        approved = list(_approved(connection, reader, wiki))
    found: list[Evidence] = []
    for turn, helped in chosen:
        url, _, anchor = pages.get(helped.id, "").partition("#")
        page = wiki.find(url, reader)
        if page is None:
            continue
        who = turn.visitor or turn.conversation
        if helped is turn:
            found.append(_from_page(who, turn.question, page, _section(page, "anchor", anchor)))
        else:
            text, name = helped.question, " ".join(_names(page, _section(page, "anchor", anchor)))
            found.append(Evidence(who, turn.question, (text,), text, name, url))
    for who, question, path, heading in approved:
        if page := wiki.find(path, reader):
            section = _section(page, "heading", heading) if heading else None
            found.append(_from_page(who, question, page, section))
    return found


def candidates(evidence: Sequence[Evidence]) -> list[Candidate]:
    """The pairs on which at least LEAST readers agree, best first: most readers, then the wiki's
    words in the names of most pages, then the reader's longest phrase."""
    spelt: dict[Pair, Pair] = {}
    named: Counter[Pair] = Counter()
    places: defaultdict[Pair, list[int]] = defaultdict(list)
    for place, one in enumerate(evidence):
        of = partial(stem, language=language(one.asked))
        asked, known = asked_words(one.asked), set(map(of, asked_words(one.known)))
        mine = dict(_phrases(asked, of, known))
        names = set(map(of, asked_words(one.name)))
        theirs: dict[str, str] = {}
        for text in one.helped:
            theirs.update(_phrases(asked_words(text), of, set(map(of, asked))))
        for other_key, other in theirs.items():
            is_named = names.issuperset(other_key.split())
            for key, word in mine.items():
                keys = Pair(key, other_key)
                spelt.setdefault(keys, Pair(word, other))
                places[keys].append(place)
                named[keys] += is_named
    agreed = [
        Candidate(spelt[keys], tuple(evidence[place] for place in of_pair), named[keys])
        for keys, of_pair in places.items()
        if len(of_pair) >= LEAST
    ]
    return sorted(
        (candidate for candidate in agreed if candidate.readers >= LEAST), key=_most_readers_first
    )


def _most_readers_first(candidate: Candidate) -> tuple[int, int, int, int, Pair]:
    words, others = (len(phrase.split()) for phrase in candidate.pair)
    # All words of a name say more than one of them; other words are often the question's own.
    length = -others if candidate.named else others
    return -candidate.readers, -candidate.named, -words, length, candidate.pair


def _phrases(
    words: Iterable[str], of: Callable[[str], str], lacking: set[str]
) -> Iterator[tuple[str, str]]:
    """The key and the spelling of each phrase of words whose stems are not in `lacking`."""
    runs: list[list[str]] = [[]]
    left = TRIED
    for word in words:
        if of(word) in lacking:
            runs.append([])
        elif left and len(runs[-1]) < RUN:
            runs[-1].append(word)
            left -= 1
    for run in runs:
        for start in range(len(run)):
            for end in range(start + 1, min(len(run), start + LONGEST) + 1):
                phrase = run[start:end]
                yield " ".join(map(of, phrase)), " ".join(phrase)


def _from_page(who: str, question: str, page: Page, section: Section | None) -> Evidence:
    names = _names(page, section)
    text = section.text if section else page.text
    name = " ".join(names)
    return Evidence(who, question, names, f"{name} {text[:SECTION]}", name, page.url)


def _section(page: Page, field: str, value: str) -> Section | None:
    return next((section for section in page.sections if getattr(section, field) == value), None)


def _names(page: Page, section: Section | None) -> tuple[str, ...]:
    return (page.title, *(section.path if section else ()))


def _answers(connection: sa.Connection, ids: set[str]) -> dict[str, str]:
    """The first section that the answer to each question cites."""
    c = question_table.c
    rows = connection.execute(sa.select(c.id, c.outcome).where(c.id.in_(ids)))
    return {
        id: str(source.get("url", ""))
        for id, outcome in rows
        for source in list(outcome.get("sources", ()))[:1]
    }


def _approved(
    connection: sa.Connection, reader: Reader, wiki: ReviewIndex
) -> Iterator[tuple[str, str, str, str]]:
    """Readers and their questions, and the page and section of the answer that was approved."""
    q, m, r = question_table.c, member_table.c, current_review.c
    query = (
        sa.select(q.visitor, q.conversation, q.question, r.page, r.section)
        .join_from(member_table, question_table)
        .join(current_review, r.cluster == m.cluster)
        .where(r.state == "approved", r.answerable, r.page != "")
        .where(store.open_to(connection, reader), rights.open_to(connection, reader, wiki))
        .order_by(q.at.desc())
        .limit(EVIDENCE)
    )
    for visitor, conversation, question, page, section in connection.execute(query):
        yield visitor or conversation, question, page, section
