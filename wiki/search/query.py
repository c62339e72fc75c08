"""Turns a question into a search query: weighted words in the wiki's languages and spelling, the
text to embed, and the glossary's words."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from wiki.index.index import LANGUAGES, Index
from wiki.pages.asking import asked_stems, asked_words, ends, language
from wiki.pages.page import Page
from wiki.pages.words import stem, words
from wiki.search import glossary
from wiki.search.glossary import Glossary
from wiki.search.spelling import corrected

# More occurrences of a word add no weight: a pasted log repeats words a hundred times.
REPEATS = 3
# The weight of earlier questions' words in a follow-up question.
BEFORE = 0.5
# The number of earlier questions to consider.
TURNS = 3
# Maximum content words of a question that refers back.
FEW = 4

_POINTS_BACK = frozenset("it its they them their that those this these one ones there".split())  # noqa: SIM905
_THERE_IS = re.compile(r"\b(is|are|was|were)\s++there\b", re.I)
_GOES_ON = re.compile(
    r"\W*(and|but|or|so|then|also|ok|okay|(what|how) about|what if|why( not)?\W*$)\b", re.I
)


@dataclass(frozen=True)
class SearchQuery:
    """A question, prepared for the search."""

    words: dict[str, float]
    """The stems of its content words, with their weights."""
    spelt: dict[str, str]
    """The original word of each stem."""
    text: str
    """The text to embed."""


def asked(question: str, history: Sequence[str] = (), language: str = "") -> SearchQuery:
    """Builds the search query of `question`.

    Args:
        question: as a person wrote it. If it has several lines, the first is its title and
            counts twice.
        history: the person's earlier questions, oldest first. They count only if the question
            cannot stand alone ("And on a Mac?").
        language: the language of the pages, whose stems the words get.
    """
    weights = _weights(question, language)
    before = _before(question, history)
    for earlier in before:
        for term in _weights(earlier, language):
            weights.setdefault(term, BEFORE)
    texts = [*before, question]
    spelt = {stem(word, language): word for text in texts for word in asked_words(text)}
    return SearchQuery(weights, spelt, "\n".join(texts))


def _weights(question: str, language: str) -> dict[str, float]:
    counts = Counter(asked_stems(question, language))
    weights = {term: float(min(count, REPEATS)) for term, count in counts.items()}
    title, _, rest = question.strip().partition("\n")
    if rest.strip():
        for term in weights.keys() & asked_stems(title, language):
            weights[term] += 1
    return weights


def _before(question: str, history: Sequence[str]) -> list[str]:
    """The earlier questions that `question` follows up, oldest first."""
    questions: list[str] = []
    for earlier in reversed(history[-TURNS:]):
        if not is_follow_up(questions[0] if questions else question):
            break
        questions.insert(0, earlier)
    return questions


def is_follow_up(question: str) -> bool:
    """Whether the question depends on the previous question."""
    own = set(asked_stems(question))
    spoken = list(words(_THERE_IS.sub(r"\1", question)))
    if not _POINTS_BACK.isdisjoint(spoken) or _GOES_ON.match(question):
        return len(own) <= FEW
    return not own or (len(own) == 1 and not _is_whole(spoken))


def _is_whole(spoken: Sequence[str]) -> bool:
    """Whether a question with one content word names its subject: "What is an alias?"."""
    match spoken:
        case ["what" | "who", "is" | "are" | "s", first, *_]:
            # "What is the default?" and "What is needed?" refer to an earlier question.
            return first != "the" and not spoken[-1].endswith("ed")
        case ["where", "is" | "are" | "s" | "do" | "can", _, *_] | ["which", _, _, *_]:
            return True
        case ["can" | "is" | "are" | "do" | "does" | "should", _, _, *_]:
            return stem(spoken[-1]) in asked_stems(spoken[-1])
    return False


# A question with more characters, such as a pasted log, is only read in one language.
LONG = 2000


@dataclass(frozen=True)
class Spoken:
    """The words of a question, for pages in one language."""

    language: str
    """See `asking.LANGUAGES`."""
    words: Mapping[str, float]
    """The stems of its content words, in the wiki's spelling, with their weights."""
    idf: Mapping[str, float]
    """The information value of each stem, see `Index.idf`."""
    in_order: Sequence[str]
    """The stems of `words` in the question itself, in order, with repetitions."""


@dataclass(frozen=True)
class Sought:
    """A question, prepared for this wiki."""

    question: str
    """The question as a person wrote it."""
    text: str
    """The text to embed: the question, with the earlier questions that it follows up."""
    spoken: Sequence[Spoken]
    """Its words, for one or more languages: that of the question if pages have it, then those of
    most pages."""
    rephrased: Sequence[str] = ()
    """The text with the wiki's words in place of the team's own."""

    @property
    def words(self) -> Mapping[str, float]:
        """The words in its own language, or in that of most pages."""
        return self.spoken[0].words

    @property
    def idf(self) -> Mapping[str, float]:
        """The information value of the stems of all languages."""
        if len(self.spoken) == 1:
            return self.spoken[0].idf
        return {stem: idf for spoken in self.spoken for stem, idf in spoken.idf.items()}

    def on(self, page: Page) -> Spoken:
        """The words in a page's language, or else in the first."""
        if len(self.spoken) == 1:
            return self.spoken[0]
        named = (spoken for spoken in self.spoken if spoken.language == page.language)
        return next(named, self.spoken[0])


def prepared(index: Index, own: Glossary, question: str, history: Sequence[str] = ()) -> Sought:
    """The search query.

    Args:
        index: the wiki.
        own: the team's glossary.
        question: as a person wrote it.
        history: the reader's earlier questions, oldest first.
    """
    question = ends(question)
    history = [ends(earlier) for earlier in history[-TURNS:]]
    with index.snapshot():
        there = index.languages() or ("",)
        asked_in = language(question)
        first = asked_in if asked_in in there else there[0]
        languages = list(dict.fromkeys([first, *there]))
        languages = languages[: LANGUAGES if len(question) <= LONG else 1]
        queries = {name: asked(question, history, name) for name in languages}
        # In a wiki of one language it would only look every word up twice.
        known = _known(index, queries.values()) if len(queries) > 1 else set()
        spoken = [
            _spoken(index, own.names(name), question, name, query, known)
            for name, query in queries.items()
        ]
    text, names = queries[languages[0]].text, own.names(languages[0])
    return Sought(question, text, spoken, glossary.rephrased(text, names, languages[0]))


def readings(own: Glossary, sought: Sought) -> list[Mapping[str, float]]:
    """Alternative readings of the question, with the glossary's words for something in it."""
    every: list[Mapping[str, float]] = []
    for spoken in sought.spoken:
        if names := own.names(spoken.language):
            phrases = glossary.phrases(sought.text, spoken.language)
            known = {phrase: names[phrase] for phrase in phrases if phrase in names}
            every += glossary.readings(spoken.words, known)
    distinct = [words for place, words in enumerate(every) if words not in every[:place]]
    return distinct[: glossary.READINGS]


def _known(index: Index, queries: Collection[SearchQuery]) -> set[str]:
    """The words of a question, as they are spelt, that pages have in any language."""
    idf = index.idf({stem for query in queries for stem in query.words})
    unknown = index.idf(["\0"])["\0"]
    return {query.spelt[stem] for query in queries for stem in query.words if idf[stem] < unknown}


def _spoken(
    index: Index,
    own_names: Iterable[str],
    question: str,
    language: str,
    query: SearchQuery,
    known: Collection[str],
) -> Spoken:
    # A team's own word is not a misspelling, even if no page has it.
    names = {stem for phrase in own_names for stem in phrase.split()}
    own = {stem: weight for stem, weight in query.words.items() if stem in names}
    others = {stem: weight for stem, weight in query.words.items() if stem not in own}
    words = own | corrected(others, query.spelt, known, index.idf)
    in_order = [stem for stem in asked_stems(question, language) if stem in words]
    return Spoken(language, words, index.idf(words), in_order)
