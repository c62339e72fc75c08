"""Tokenises text for the index: lower case, no accents, stemmed, no stop words.

Stems follow a language, see `wiki.pages.asking.language`: "" is English and languages
without a stemmer.
"""

import re
import threading
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

# Words that carry no subject in questions and answers. English only: pages in other languages keep
# all words, and `wiki.pages.asking` drops more words from questions.
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
# The character class of scripts without spaces between words: Thai, Han with its iteration marks,
# and kana.
UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u3005-\u3007\u3041-\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_RUN = re.compile(f"[{UNSPACED}]+")
_WORD = re.compile(r"[^\W_]+")
# "й" is a letter of its own: the endings of Russian adjectives have it.
_SHORT_I = "и\u0306"
# They turn kana into another letter: "バス" is a bus, "ハス" a lotus.
_VOICED = (0x3099, 0x309A)
# All accents in Unicode are below this; scanning the rest takes 0.1 s at each start.
_ACCENTS = dict.fromkeys(
    c for c in range(0x20000) if unicodedata.combining(chr(c)) and c not in _VOICED
)
# Words have lost their accents, and some endings are only stemmed with them: the first ending that
# fits gets them back.
_ACCENTED = {
    "Czech": (("ych", "ých"), ("eho", "ého"), ("iho", "ího"), ("enim", "ením"), ("ich", "ích")),
    "French": (("ees", "ées"), ("ee", "ée")),
    "Polish": (("ow", "ów"),),
    "Portuguese": (
        *(("cao", "ção"), ("sao", "são"), ("coes", "ções"), ("soes", "sões")),
        *(("encia", "ência"), ("encias", "ências"), ("ancia", "ância"), ("ancias", "âncias")),
        *(("avel", "ável"), ("aveis", "áveis"), ("ivel", "ível"), ("iveis", "íveis")),
    ),
    "Romanian": (("tie", "ție"), ("tia", "ția")),
}
_STEMMING = threading.Lock()  # a stemmer holds the current word as state


def words(text: str) -> list[str]:
    """The words of `text` in order, lower case, accents removed, not stemmed.

    In a script without spaces between words, each pair of adjacent characters is a word, as in
    Lucene's CJKBigramFilter; so is a single character.
    """
    plain = text.lower()
    if not plain.isascii():
        plain = _RUN.sub(_bigrams, _without_accents(plain))
    return _WORD.findall(plain)


def _without_accents(text: str) -> str:
    return unicodedata.normalize("NFKD", text).replace(_SHORT_I, "й").translate(_ACCENTS)


def places(text: str) -> Iterator[tuple[str, int, int]]:
    """Yields the `words` of a text, each with its start and end."""
    for run in _WORD.finditer(text):
        run_words = words(run[0])
        if len(run_words) == 1:
            yield run_words[0], run.start(), run.end()
        else:  # a script without spaces, or a character that stands for several letters
            for at in range(len(run[0]) - 1):
                for word in words(run[0][at : at + 2])[:1]:
                    yield word, run.start() + at, run.start() + at + 2


def _bigrams(run: re.Match[str]) -> str:
    signs = [sign for sign in unicodedata.normalize("NFC", run[0]) if sign.isalnum()]
    return f" {' '.join(map(''.join, pairwise(signs))) or ''.join(signs)} "


def is_unspaced(word: str) -> bool:
    """Is it in a script without spaces between words? Two such words are about one real word."""
    return _RUN.match(word) is not None


def content_words(text: str) -> list[str]:
    """`words` without stop words and single letters; includes digits."""
    return [
        word
        for word in words(text)
        if word not in STOP_WORDS and (len(word) > 1 or not word.isascii() or word.isdigit())
    ]


@cache
def _stemmer(name: str) -> Any:
    """A different one requires a new VERSION of the index."""
    import snowballstemmer  # imports all its languages: 0.2 s, which most commands do not need

    return snowballstemmer.stemmer(name)


@lru_cache(maxsize=100_000)
def stem(word: str, language: str = "") -> str:
    """The stem of a word in a language, as in the index."""
    if is_unspaced(word):
        return word
    for plain, accented in _ACCENTED.get(language, ()):
        if word.endswith(plain):
            word = word.removesuffix(plain) + accented
            break
    with _STEMMING:
        stemmed = str(_stemmer(language.lower() or "porter").stemWord(word))
    return stemmed if stemmed.isascii() else _without_accents(stemmed)


def stems(text: str, language: str = "") -> list[str]:
    """The stems of the content words of `text`, in order, with repetitions."""
    return [stem(word, language) for word in content_words(text)]


@lru_cache(maxsize=2048)
def stem_set(text: str) -> frozenset[str]:
    """The distinct `stems` of a text that is compared with many questions, such as a section.

    Cached: most questions concern few pages.
    """
    return frozenset(stems(text))
