"""Markdown as plain text: without escapes or emphasis, and with links as their text."""

import html
import re

_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_IMAGE = re.compile(
    r"!?\[image:[^\[\]\n]*\]|!\[[^\[\]\n]*\]\((?:[^)\n\]]|\](?!\())*\)", re.IGNORECASE
)
_LINK = re.compile(r"\[([^\[\]\n]*)\]\((?:[^)\n\]]|\](?!\())*\)")
_MARKS = re.compile(r"\*+|`+|(?<!\w)_+(?=\w)|(?<=\w)_+(?!\w)|~~")
_CURLY = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "“": '"', "”": '"', "„": '"', "\u00a0": " ", "\u202f": " ",
     "–": "-", "—": "-", "−": "-", "‑": "-", "…": "..."}
)  # fmt: skip


def unescaped(text: str) -> str:
    """Removes Markdown's backslash escapes, and decodes entities."""
    return html.unescape(_ESCAPE.sub(r"\1", text)).translate(_CURLY)


def plain(text: str) -> str:
    """The visible words, with white space collapsed."""
    shown = _LINK.sub(r"\1", _IMAGE.sub(" ", unescaped(text)))
    return " ".join(_MARKS.sub("", shown).split())
