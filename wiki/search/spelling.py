"""Corrects misspelt words of a question from the wiki's own vocabulary."""

import string
from collections.abc import Callable, Collection, Iterable, Mapping

# Shorter words have too many neighbours: "pop" is not a misspelt "top".
SHORTEST = 5
# Maximum words to correct, highest weight first. A pasted log has hundreds of unknown words.
MOST = 4

# The letters that a word may lack, by its first one. Accents are gone; "й" is a letter of its own.
_ALPHABETS = (
    string.ascii_lowercase,
    "абвгдежзийклмнопрстуфхцчшщъыьэюяіїєґ",
    "αβγδεζηθικλμνξοπρστυφχψως",
)

Idf = Callable[[Iterable[str]], Mapping[str, float]]


def corrected(
    stems: Mapping[str, float], spelt: Mapping[str, str], known: Collection[str], idf: Idf
) -> dict[str, float]:
    """The stems, with those that the wiki does not have replaced by stems that it has.

    A word is replaced by the most frequent one that differs by one letter: missing, extra,
    different, or two swapped. If there is none, it stays.

    Args:
        stems: the question's stems, with their weights.
        spelt: the original word of each. A mistake at its end results in another stem: "calender"
            has "calend", "calendar" has "calendar".
        known: words that the wiki has in another language.
        idf: the IDF of stems, as `Index.idf`.
    """
    unknown = idf(["\0"])["\0"]  # no page has this one
    weights: dict[str, float] = {}
    says = idf(stems)
    wrong = [
        stem
        for stem in sorted(stems, key=lambda stem: -stems[stem])
        if says[stem] >= unknown
        and len(stem) >= SHORTEST
        and stem.isalpha()
        and spelt.get(stem) not in known
    ][:MOST]
    for stem, weight in stems.items():
        if stem in wrong:
            near = idf(_one_away(stem) | _one_away(spelt.get(stem, stem)))
            best = min(near, key=lambda candidate: (near[candidate], candidate))
            stem = best if near[best] < unknown else stem
        weights[stem] = max(weights.get(stem, 0.0), weight)
    return weights


def _one_away(word: str) -> set[str]:
    """All words that differ from `word` by one mistake after the first letter."""
    letters = next((letters for letters in _ALPHABETS if word[0] in letters), "")
    cuts = [(word[:n], word[n:]) for n in range(1, len(word) + 1)]
    less = {a + b[1:] for a, b in cuts if b}
    swapped = {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
    other = {a + c + b[1:] for a, b in cuts if b for c in letters}
    more = {a + c + b for a, b in cuts for c in letters}
    return (less | swapped | other | more) - {word}
