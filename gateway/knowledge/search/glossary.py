"""Synonyms that the wiki itself defines: "payment gateway" means Stripe here.

They come from definitions ("our payment gateway is Stripe", "CI (continuous integration)", "Xen,
also called the hypervisor"), from lists and tables of terms, and from the texts of links to other
pages. A question with one of the names is also searched with the others. A team adds its own words:
see `own_words`.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from urllib.parse import urldefrag, urljoin

from gateway.knowledge.wiki.page import Page
from gateway.knowledge.wiki.words import content_words, places, stem, stems

SCHEMA = """
CREATE TABLE name (page INTEGER NOT NULL, phrase TEXT NOT NULL, means TEXT NOT NULL);
CREATE INDEX name_phrase ON name (phrase, means);
CREATE INDEX name_page ON name (page);
CREATE TABLE link (page INTEGER NOT NULL, target TEXT NOT NULL, phrase TEXT NOT NULL);
CREATE INDEX link_phrase ON link (phrase, target);
CREATE INDEX link_page ON link (page);
"""
# Maximum alternative readings of a question.
READINGS = 3
# Maximum content words of a name; longer texts are sentences.
LONGEST = 4
# Maximum other names of a phrase; a phrase with more is too generic.
MANY = 3
# Maximum words in a team's glossary.
MOST_WORDS = 500
# Words of a question that are searched for names, and words among which these are looked for.
WORDS = 60
_SCANNED = 500

# A name: up to four words; proper names are capitalised.
_WORD = r"[\w+#&-]+(?:\.[\w+#&-]+)*"
_PLAIN = rf"{_WORD}(?:[ ]{_WORD}){{0,3}}"
_PROPER = rf"(?=[A-Z]){_WORD}(?:[ ](?=[A-Z]){_WORD}){{0,3}}"
# Without it, the pattern would try every letter of a word as its start.
_BEGINS = r"(?<![\w+#&.-])"
_END = r"(?=[.,;:)](?:\s|$)|$|[ ](?:and|as|for|in|is|are|or|that|to|which|with)\b)"
# Only sentences with one of these words are parsed: parsing all would take 50 times as long.
_CUE = re.compile(r"\bour\b|\bcalled\b|\bknown as\b|\bstands for\b|\bshort for\b|\baka\b", re.I)
_PATTERNS = [
    re.compile(pattern)
    for pattern in (
        rf"\b[Oo]ur[ ](?P<a>{_PLAIN}?)[ ](?:is|are)[ ](?:called[ ])?(?P<b>{_PROPER})",
        rf"\b[Oo]ur[ ](?P<a>{_PLAIN}?)(?:[ ]\(|,[ ])(?P<b>{_PROPER})[,.)]",
        rf"{_BEGINS}(?P<b>{_PROPER})(?:,|,?[ ](?:is|are))[ ]our[ ](?P<a>{_PLAIN}?){_END}",
        rf"\b[Uu]ses?[ ](?P<b>{_PROPER})[ ](?:as|for)[ ]our[ ](?P<a>{_PLAIN}?){_END}",
        rf"{_BEGINS}(?P<a>{_PLAIN}?),?[ ]\(?(?:also|formerly|sometimes|often)[ ]"
        rf"(?:called|known[ ]as)[ ](?:the[ ])?(?P<b>{_PLAIN}?){_END}",
        rf"{_BEGINS}(?P<a>{_PLAIN}?),?[ ]\(?aka[ ](?:the[ ])?(?P<b>{_PLAIN}?){_END}",
        rf"(?<![\w-])(?P<a>[\w-]+)[ ](?:stands|is[ ]short)[ ]for[ ](?:the[ ])?"
        rf"(?P<b>{_PLAIN}?){_END}",
    )
]
# Under such a heading: "- **Term**: meaning" and "| Term | meaning |".
_TERMS = re.compile(r"glossary|terminology|abbreviation|acronym|definitions|vocabulary", re.I)
_LISTED = re.compile(
    rf"^(?:[-*+][ ]+|\|[ ]*)?(?P<a>{_PLAIN})[ ]*(?::|\||[ ][-–—]|[ ]means)[ ]+"
    r"(?P<b>[^|\n]++)[.|]*+$"
)
_SHORT = re.compile(r"\((?P<short>[A-Z][A-Za-z]{1,7}?)s?\)")
_LONG = re.compile(r"\b(?P<short>[A-Z]{2,8})[ ]\((?P<long>[\w-]+(?:[ ][\w-]+){1,7})\)")
_LINK = re.compile(
    r"(?<!!)\[(?P<text>[^\[\]\n]+)\]\(\s*<?(?P<target>(?:[^)>\s\]]|\](?!\())++)"
    r"(?:[^)\n\]]|\](?!\())*+\)"
)
_MARKS = re.compile(r"\*\*|__|`")
_CODE = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)


def names(page: Page) -> Iterator[tuple[str, str]]:
    """Yields pairs of names for the same thing, as defined on the page."""
    for section in page.sections:
        text = _CODE.sub("", section.body)
        text = _MARKS.sub("", _LINK.sub(r"\g<text>", text))
        listed = bool(_TERMS.search(" ".join((page.title, *section.path))))
        for line in text.splitlines():
            if "(" in line:
                yield from _shortened(line)
            if _CUE.search(line):
                for pattern in _PATTERNS:
                    for match in pattern.finditer(line):
                        yield match["a"], match["b"]
            if listed and (item := _LISTED.match(line.strip())):
                yield item["a"], item["b"].rstrip(" .")


def _shortened(line: str) -> Iterator[tuple[str, str]]:
    """Schwartz and Hearst, A simple algorithm for identifying abbreviation definitions in
    biomedical text, 2003; here, every word contributes one letter."""
    pairs = [(match["short"], line[: match.start()]) for match in _SHORT.finditer(line)]
    pairs += [(match["short"], match["long"]) for match in _LONG.finditer(line)]
    for short, before in pairs:
        if long := _long_form(short, before.split()):
            yield short, long


def _long_form(short: str, before: list[str]) -> str:
    """The words before an abbreviation whose initials form it; empty if they do not."""
    count = len(short)
    long = before[-count:]
    if len(long) == count and [word[0].lower() for word in long] == list(short.lower()):
        return " ".join(long)
    return ""


def links(page: Page) -> Iterator[tuple[str, str]]:
    """Yields the address and the text of each link to another page. Skips links with an anchor,
    whose text names a section: "[Slack](threats.md#slack)" does not mean threats."""
    for section in page.sections:
        for match in _LINK.finditer(section.text):
            try:
                target, anchor = urldefrag(urljoin(page.url, match["target"]))
            except ValueError:
                continue
            if target and not anchor and target != page.url:
                yield target, match["text"]


def key(text: str, language: str = "") -> str:
    """Normalises the spellings of a name in a language; empty if it is too long."""
    key_stems = stems(text, language)
    return " ".join(key_stems) if len(key_stems) <= LONGEST else ""


def own(glossary: Mapping[str, Iterable[str]], language: str = "") -> dict[str, dict[str, str]]:
    """The keys of a team's own words; for each the keys of its synonyms in a language, and their
    spelling."""
    by_word: dict[str, dict[str, str]] = {}
    for word, others in glossary.items():
        by_word.setdefault(key(word, language), {}).update(
            {key(other, language): other for other in others}
        )
    return by_word


def rephrased(text: str, names: Mapping[str, Mapping[str, str]], language: str = "") -> list[str]:
    """A text with the spelling of another name in place of each of these names, at most READINGS;
    longer names first."""
    if not names:
        return []
    spoken = [
        (stem(word, language), start, end)
        for word, start, end in islice(places(text), _SCANNED)
        if content_words(word)
    ][:WORDS]
    texts = []
    for length in range(LONGEST, 0, -1):
        for at in range(len(spoken) - length + 1):
            phrase = spoken[at : at + length]
            others = names.get(" ".join(stem for stem, _, _ in phrase), {})
            before, after = text[: phrase[0][1]], text[phrase[-1][2] :]
            texts += [f"{before}{other}{after}" for other in others.values()]
    return texts[:READINGS]


def add(db: sqlite3.Connection, number: int, page: Page) -> None:
    """Store the names that a page defines."""
    in_language = partial(key, language=page.language)
    pairs = {(in_language(one), in_language(other)) for one, other in names(page)}
    both = {pair for one, other in pairs for pair in ((one, other), (other, one))}
    db.executemany(
        "INSERT INTO name VALUES (?, ?, ?)",
        [(number, one, other) for one, other in sorted(both) if one and other and one != other],
    )
    link_rows = {(target, in_language(text)) for target, text in links(page)}
    db.executemany(
        "INSERT INTO link VALUES (?, ?, ?)",
        [(number, *link) for link in sorted(link_rows) if link[1]],
    )


def remove(db: sqlite3.Connection, number: int) -> None:
    """Delete the names that a page defined."""
    db.execute("DELETE FROM name WHERE page = ?", (number,))
    db.execute("DELETE FROM link WHERE page = ?", (number,))


def phrases(question: str, language: str = "") -> list[str]:
    """The keys of all phrases in a question that may be a name, in a language."""
    spoken = [stem(word, language) for word in content_words(question)[:WORDS]]
    return list(
        dict.fromkeys(
            " ".join(spoken[at : at + length])
            for length in range(LONGEST, 0, -1)
            for at in range(len(spoken) - length + 1)
        )
    )


def meanings(
    db: sqlite3.Connection, phrases: Iterable[str], language: str = ""
) -> dict[str, set[str]]:
    """The keys of the other names of each phrase, if there are any, in the phrases' language."""
    wanted = json.dumps(list(phrases))
    by_phrase: dict[str, set[str]] = {}
    for phrase, means in db.execute(
        "SELECT DISTINCT phrase, means FROM name WHERE phrase IN (SELECT value FROM json_each(?))",
        (wanted,),
    ):
        by_phrase.setdefault(phrase, set()).add(means)
    # A page's name is its title; the text of a link to it is another name.
    for phrase, title in db.execute(
        # A large wiki has "see here" ten thousand times: look up each target once.
        "SELECT DISTINCT phrase, title FROM (SELECT DISTINCT phrase, target FROM link"
        " WHERE phrase IN (SELECT value FROM json_each(?))) JOIN page ON url = target",
        (wanted,),
    ):
        if (means := key(title, language)) and means != phrase:
            by_phrase.setdefault(phrase, set()).add(means)
    return {phrase: means for phrase, means in by_phrase.items() if len(means) <= MANY}


def meanings_of(
    db: sqlite3.Connection, phrases: Iterable[str], has: Callable[[int], bool], language: str = ""
) -> dict[str, set[str]]:
    """The result of `meanings`, restricted to the pages for which `has` is true."""
    wanted = json.dumps(list(phrases))
    by_phrase: dict[str, set[str]] = {}
    for phrase, means, page in db.execute(
        "SELECT phrase, means, page FROM name WHERE phrase IN (SELECT value FROM json_each(?))",
        (wanted,),
    ):
        if has(page):
            by_phrase.setdefault(phrase, set()).add(means)
    for phrase, target, title, page in db.execute(
        "SELECT phrase, target, title, number FROM (SELECT DISTINCT phrase, target FROM link"
        " WHERE phrase IN (SELECT value FROM json_each(?))) JOIN page ON url = target",
        (wanted,),
    ):
        means = key(title, language)
        mine = by_phrase.setdefault(phrase, set())
        if not means or means == phrase or means in mine or len(mine) > MANY or not has(page):
            continue
        linking = db.execute(
            "SELECT page FROM link WHERE phrase = ? AND target = ?", (phrase, target)
        )
        if any(has(number) for (number,) in linking):
            mine.add(means)
    return {phrase: means for phrase, means in by_phrase.items() if means and len(means) <= MANY}


def readings(
    words: Mapping[str, float], meanings: Mapping[str, Collection[str]]
) -> list[dict[str, float]]:
    """Rephrases a question with another name for something in it: "payment gateway fees" becomes
    "stripe fees". At most READINGS, longer names first.

    Args:
        words: the stems of the question and their weights.
        meanings: of the question's phrases.
    """
    wordings = []
    for phrase in sorted(meanings, key=lambda phrase: (-len(phrase.split()), phrase)):
        phrase_stems = phrase.split()
        weight = max(words.get(stem, 0.0) for stem in phrase_stems)
        others = {stem: w for stem, w in words.items() if stem not in phrase_stems}
        if weight:
            wordings += [
                dict.fromkeys(other.split(), weight) | others for other in sorted(meanings[phrase])
            ]
    return wordings[:READINGS]
