"""Turns headings into questions: "Installing plugins" answers "How do I install plugins?".

A heading that ends as a question is one, in every language, except English fragments ("High or
low?"). Of other headings, only English ones that clearly name an action are used: most verbs of
documentation are nouns, too ("Use cases", "Build options", "Test results").
"""

import re
from collections.abc import Iterator, Sequence

from wiki.pages.asking import language
from wiki.pages.page import Section

LONGEST = 72  # characters of a question that can be read at a glance
# Minimum characters of a section with an answer, without links. A question needs few.
ENOUGH = 80
ENOUGH_TO_ASK = 20

_NOISE = re.compile(r"[`*_]|(?<!\s)\s*+(?:\{[^{}]*+\}|(?<![¶#])[¶#]++)\s*+$")
# "Install the app? How do I ...?": some headings ask twice, in different words.
_FIRST = re.compile(r"[^?？؟]*[?？؟]")
# The number of a section: "2.7.1 Who ...?" or "3. Who ...?", but not "2.0 or 3.0?".
_NUMBER = re.compile(r"(?:[A-Z]\.)?\d+(?:(?:\.\d+)*+\.|(?:\.\d+){2,})\s+(?=\S)")
_AHEAD = re.compile(r"(step\s)?[\d.]*+[.:)]*+\s*+(how to (?=\w))?", re.I)
_LINK = re.compile(r"\[[^\[\]\n]*+\](\([^()\n]*+\))?")

# Verbs that are never nouns in headings, and verbs that often are.
_VERBS = """
    activate add adjust allow apply authenticate avoid choose clone configure connect convert create
    customise customize deactivate define delete deploy disable download edit embed enable ensure
    expose extend find generate get include install integrate invite join make manage migrate modify
    move organise organize override prepare prevent provide publish reinstall remove rename
    replace rotate secure select send serve specify submit subscribe switch sync transfer
    troubleshoot uninstall unlock validate verify write
""".split()  # noqa: SIM905
_NOUNS_TOO = """
    access archive back benchmark block build cache call change check clean copy debug display
    export filter fix format group handle host import link load lock log mark merge monitor open
    print process query read record report request reset restart restore retry run save schedule
    search set share sign start stop store tag test track turn update upgrade upload use view
""".split()  # noqa: SIM905
# Words that follow a verb, but not a noun, in a heading.
_OBJECT = frozenset(
    """
    a an the your our my its all any another each every it them multiple several custom up down
    from to with off on in out into over
    """.split()  # noqa: SIM905
)
# English forms of a question.
_ASKING = re.compile(
    r"(how|what|why|when|where|who|whom|whose|which|can|could|do|does|did|is|are|was|were|am|has"
    r"|have|should|will|would|may|must|shall|in which|at which|for whom)(?:n['’]t|['’]s)?\b",
    re.I,
)
# A heading addresses readers; a question is their own.
_OWN = {"your": "my", "yours": "mine", "yourself": "myself"}
# Words that are lower case within a sentence, even if a heading capitalises them.
_SMALL = _OBJECT | {"and", "or", "for", "of", "at", "by", "as", "via", "without", "using", "when"}


def question(section: Section) -> str:
    """The question that the section's heading asks or answers; empty if in doubt."""
    heading = unnumbered(plain(section.heading))
    asks = _FIRST.match(heading)
    if not answers(section, ENOUGH_TO_ASK if asks else ENOUGH):
        return ""
    text = asks[0].strip() if asks else _how(heading, section.body)
    is_fragment = asks and not _ASKING.match(text) and not _how(text[:-1], "")
    if is_fragment and text.isascii() and not language(section.body):
        return ""
    return text if len(text) <= LONGEST else ""


def plain(heading: str) -> str:
    """The heading without markup for code, emphasis and anchors."""
    return _NOISE.sub("", heading).strip()


def unnumbered(heading: str) -> str:
    """The heading without the number of its section."""
    numbered = _NUMBER.match(heading)
    return heading[numbered.end() if numbered else 0 :]


def answers(section: Section, enough: int = ENOUGH) -> bool:
    """Does it have content of its own, rather than only links?"""
    return len(_LINK.sub("", section.body)) >= enough


def _how(heading: str, body: str) -> str:
    text = body.partition("\n")[2] if body.startswith("#") else body  # drop the heading
    if heading in text and heading != heading.capitalize():
        return ""  # "Read the Docs": the text uses it as a name
    ahead = _AHEAD.match(heading)
    heading = heading[ahead.end() if ahead else 0 :]
    first, _, rest = heading.rstrip(".:!").partition(" ")
    behind = rest.split()
    verb = _verb(first.lower(), behind[0].lower() if behind else "")
    if not verb or not behind or any(mark in rest for mark in ":;|—–()[]<>"):
        return ""
    if "you" in rest.lower().split():  # "I" or "me", depending on the sentence
        return ""
    if behind[0].lower() in ("and", "or", "&"):  # "Serving and testing"
        return ""
    if heading.isupper():  # the style of manual pages
        behind = [word if word in text else word.lower() for word in behind]
    return f"How do I {verb} {' '.join(_in_a_sentence(behind, text))}?"


def _in_a_sentence(words: Sequence[str], text: str) -> Iterator[str]:
    """The words of a heading in sentence case: "Create the Folders" capitalises nouns.

    Words that the section capitalises are names.
    """
    heavy = [word for word in words if word.lower() not in _SMALL]
    are_large = all(word[:1].isupper() for word in heavy)
    for word in words:
        small = word.lower()
        is_title = word[:1].isupper() and word[1:].islower()
        is_name = word in text or not (are_large or small in text)
        in_sentence = small if small in _SMALL or (is_title and not is_name) else word
        yield _OWN.get(small, in_sentence)


def _verb(word: str, behind: str) -> str:
    """The base form of the verb that starts a heading; empty if it may be a noun."""
    if word in _DOING:
        verb = _DOING[word]
        return verb if verb in _SURE or verb == "use" or behind in _OBJECT else ""
    is_sure = word in _SURE or (word in _NOUNS_TOO and behind in _OBJECT)
    return word if is_sure else ""


def _doing(verb: str) -> str:
    if verb.endswith("e") and not verb.endswith("ee"):
        return f"{verb[:-1]}ing"
    doubled = re.fullmatch(r"(get|run|set|stop|log|tag|submit|format|reset)", verb)
    doubles = doubled and verb != "format"
    return f"{verb}{verb[-1]}ing" if doubles else f"{verb}ing"


_SURE = frozenset(_VERBS)
_DOING = {_doing(verb): verb for verb in (*_VERBS, *_NOUNS_TOO)}
