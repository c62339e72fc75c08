"""Chooses the language of the widget; each language is a file in `strings/`.

Each request has one language, so `SpeakLanguage` sets it once instead of passing it to every
renderer. The server's English sentences (why a question was rejected, why an answer failed) are the
keys of their translations, so the code that raises them is independent of languages.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

FOLDER = Path(__file__).parent / "strings"
ENGLISH = "en"


@dataclass(frozen=True)
class Language:
    """The widget's strings in one language."""

    code: str
    words: Mapping[str, str]
    sentences: Mapping[str, str]
    """By the English sentence; `{}` is a placeholder, such as for a number."""
    query: str = ""
    """Query parameter for all URLs of the box, if the reader's page requested a language."""

    def say(self, key: str, **values: object) -> Markup:
        """The string of that key. Values that are not Markup are escaped."""
        return escape(self.words[key]).format(**values)

    def sentence(self, english: str) -> str:
        """The translation of a server's sentence; English if there is none."""
        if english in self.sentences:
            return self.sentences[english]
        for pattern, translation in self.sentences.items():
            if "{}" not in pattern:
                continue
            parts = (re.escape(part) for part in pattern.split("{}"))
            if match := re.fullmatch("(.+?)".join(parts), english, re.DOTALL):
                # A placeholder's value may need translation, too: "in {} seconds".
                return translation.format(*(self.sentence(part) for part in match.groups()))
        return english


@cache
def languages(folder: Path) -> dict[str, Language]:
    """Every language, by its code."""
    files = ((path.stem, tomllib.loads(path.read_text())) for path in folder.glob("*.toml"))
    return {
        code: Language(code, content["words"], content.get("sentences", {}))
        for code, content in files
    }


def choose(wanted: str, accepted: str) -> Language:
    """The language that the page requests, else the browser's preferred one, else English.

    `wanted` is a tag like `pt-BR`, `accepted` an Accept-Language header. Neither is trusted.
    """
    known = languages(FOLDER)
    for tag in (wanted, *_accepted(accepted)):
        code = tag.strip().lower().split("-")[0]
        if code in known:
            query = f"?lang={code}" if tag is wanted else ""
            return Language(code, known[code].words, known[code].sentences, query)
    return known[ENGLISH]


def _accepted(header: str) -> Iterator[str]:
    """The tags in order of preference: RFC 9110, section 12.5.4."""
    weighed = []
    for item in header.split(","):
        tag, _, weight = item.partition(";")
        match = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", weight) if weight else None
        weighed.append((float(match[1]) if match else 1.0, tag))
    return (tag for weight, tag in sorted(weighed, key=lambda item: -item[0]) if weight)


_current: ContextVar[Language] = ContextVar("language")


def current() -> Language:
    """The language of the current request."""
    return _current.get(None) or choose("", "")


class SpeakLanguage:
    """Sets the language of each request from `lang` in its URL and from Accept-Language."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            wanted = request.query_params.get("lang", "")
            _current.set(choose(wanted, request.headers.get("accept-language", "")))
        await self.app(scope, receive, send)
