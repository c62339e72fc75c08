"""Normalises training texts: Markdown in NFC without markup, control characters and stray white
space."""

import re
import unicodedata
from collections.abc import Iterator

from html_to_markdown import ConversionOptions, convert
from markdown_it import MarkdownIt

# Real HTML elements. Other words in angle brackets are placeholders: <name>.
_TAGS = (
    "a abbr address article aside b blockquote br caption center cite code col colgroup dd del"
    " details dfn div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i iframe"
    " img ins kbd li main mark nav ol p pre q s samp script section small span strike strong style"
    " sub summary sup table tbody td tfoot th thead tr tt u ul video"
)
_MARKUP = re.compile(
    rf"(?<!\\)</?(?:{'|'.join(_TAGS.split())})(?:\s[^<>]*)?/?>"
    r"|(?<!\\)&(?:amp|lt|gt|quot|apos|nbsp|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"^(?P<fence>```+|~~~+).*?(?:^(?P=fence)|\Z)"
    # Applied to lines outside fences: blocks precede inline text.
    r"|(?<![`\\])(?P<ticks>`++)(?:(?!^(?:```|~~~)).)*?(?!^(?:```|~~~))(?<!`)(?P=ticks)(?!`)",
    re.M | re.S,
)
# Most people type non-breaking spaces by accident; the others have no width at all.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u2060\ufeff\ufdd0]")
_LINE_ENDS = re.compile(r"\r\n?|\u2028|\u2029")
# In Markdown, two trailing spaces between two non-blank lines are a line break.
_TRAILING = re.compile(r"(?P<hard>(?<=\S)  +(?=\n[^\S\n]*\S))|(?<![^\S\n])[^\S\n]++(?=\n|\Z)")
# Stands for a literal angle bracket while HTML is converted to Markdown.
_BRACKET = "\ufdd0"
_OPTIONS = ConversionOptions(
    extract_metadata=False,
    compact_tables=True,
    bullets="-",
    highlight_style="none",
    include_blockquote_citations=False,
)
# Indented code is ignored: in forum posts an indented line is a paragraph.
_MARKDOWN = MarkdownIt("commonmark", {"html": True, "breaks": True}).enable("table").disable("code")


def clean(text: str) -> str:
    """Fix everything that `problems` finds. Idempotent."""
    for _ in range(8):  # markup that was escaped twice only shows after the first pass
        before = text
        for _, mend in STEPS:
            text = mend(text)
        if text == before:
            break
    return text


def problems(text: str) -> Iterator[str]:
    """The rules that a text breaks: control, nfc, white-space, html."""
    for rule, mend in STEPS:
        if mend(text) != text:
            yield rule


def has_markup(text: str) -> bool:
    """Whether a Markdown text contains HTML outside code."""
    return _MARKUP.search(_CODE.sub(" ", text)) is not None


def _without_control(text: str) -> str:
    return _CONTROL.sub("", text)


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _without_white_space(text: str) -> str:
    text = _LINE_ENDS.sub("\n", text).strip()
    return _TRAILING.sub(lambda match: "  " if match["hard"] else "", text)


def _without_markup(text: str) -> str:
    """Convert Markdown to HTML, which keeps embedded HTML, and the result back to Markdown."""
    if not has_markup(text):
        return text
    html = _MARKDOWN.render(text).replace("&lt;", _BRACKET)
    markdown = convert(html, _OPTIONS).content or ""
    done, end = [], 0
    for code in _CODE.finditer(markdown):
        done += [_escaped(markdown[end : code.start()]), code[0].replace(_BRACKET, "<")]
        end = code.end()
    return "".join([*done, _escaped(markdown[end:])]).strip()


def _escaped(text: str) -> str:
    """Escape angle brackets with a backslash where Markdown would read them as a tag."""
    return re.sub(rf"{_BRACKET}(?=[A-Za-z/!?])", r"\\<", text).replace(_BRACKET, "<")


STEPS = (
    ("control", _without_control),
    ("nfc", _nfc),
    ("white-space", _without_white_space),
    ("html", _without_markup),
)
