"""Tokenises text for the index: lower case, no accents, stemmed, no stop words."""

import re
import threading
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

# The words that carry no subject in questions and answers. Only English: pages of other languages
# keep all words, and of questions `gateway.knowledge.wiki.asking` drops more.
STOP_WORDS = frozenset(
    """a about after again all also am an and any are as at be because been before being between
    both but by can cannot could did do does doing don down during each else few for from further
    get got had has have having he her here hers him his how however i if in into is it its itself
    just let like me more most my no nor not now of off on once only or other our out over own
    please same she should so some such than that the their them then there these they this those
    through to too under until up us use used using very was way we were what when where whether
    which while who whom whose why will with without would yes you your yours ve re ll thanks thank
    hi hello""".split()  # noqa: SIM905 -- a paragraph reads better than 150 quoted words
)
# What a regular expression has between brackets for the signs of scripts without spaces between
# words: Thai, Han with its iteration marks, and kana.
UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u3005-\u3007\u3041-\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_RUN = re.compile(f"[{UNSPACED}]+")
_WORD = re.compile(r"[^\W_]+")
# Kana with them is another letter: "バス" is a bus, "ハス" a lotus.
_VOICED = (0x3099, 0x309A)
# All there are in Unicode lie below this; looking through the rest takes 0.1 s at each start.
_ACCENTS = dict.fromkeys(
    c for c in range(0x20000) if unicodedata.combining(chr(c)) and c not in _VOICED
)
_STEMMING = threading.Lock()  # a stemmer keeps the word that it works on in itself


def words(text: str) -> list[str]:
    """The words of `text` in order, lower case, accents removed, not stemmed.

    Where a script has no spaces between words, each two signs side by side are one, as in Lucene's
    CJKBigramFilter; so is a sign that stands alone.
    """
    plain = text.lower()
    if not plain.isascii():
        plain = unicodedata.normalize("NFKD", plain).translate(_ACCENTS)
        plain = _RUN.sub(_bigrams, plain)
    return _WORD.findall(plain)


def places(text: str) -> Iterator[tuple[str, int, int]]:
    """The `words` of a text, each with where it begins and ends there."""
    for run in _WORD.finditer(text):
        run_words = words(run[0])
        if len(run_words) == 1:
            yield run_words[0], run.start(), run.end()
        else:  # a script without spaces, or a sign that is several letters
            for at in range(len(run[0]) - 1):
                for word in words(run[0][at : at + 2])[:1]:
                    yield word, run.start() + at, run.start() + at + 2


def _bigrams(run: re.Match[str]) -> str:
    signs = [sign for sign in unicodedata.normalize("NFC", run[0]) if sign.isalnum()]
    return f" {' '.join(map(''.join, pairwise(signs))) or ''.join(signs)} "


def is_unspaced(word: str) -> bool:
    """Is it of a script without spaces between words? Two of them are about one word."""
    return _RUN.match(word) is not None


def content_words(text: str) -> list[str]:
    """`words` without stop words and single letters; digits stay."""
    return [
        word
        for word in words(text)
        if word not in STOP_WORDS and (len(word) > 1 or not word.isascii() or word.isdigit())
    ]


@cache
def _stemmer() -> Any:
    """The Porter stemmer. Another one needs another VERSION of the index."""
    import snowballstemmer  # every language it knows: 0.2 s, which most commands need not spend

    return snowballstemmer.stemmer("porter")


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """The Porter stem, as in the index."""
    with _STEMMING:
        return str(_stemmer().stemWord(word))


def stems(text: str) -> list[str]:
    """The stems of the content words of `text`, in order, with repetitions."""
    return [stem(word) for word in content_words(text)]


@lru_cache(maxsize=2048)
def stem_set(text: str) -> frozenset[str]:
    """The different `stems` of a text that many questions are compared with, as a page's section.

    They are kept: most questions come to few pages.
    """
    return frozenset(stems(text))
