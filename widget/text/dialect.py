"""Converts wiki-specific Markdown to plain Markdown, so that quotations read well.

Handles admonitions, tabs, definitions, footnotes, keys and highlights of Python-Markdown and
Material for MkDocs, and GitHub's alerts and tasks. Drops comments, anchors, components and raw HTML
tags; converts raw HTML tables and images to Markdown; adds an empty header to table rows whose
header was cut off. https://squidfunk.github.io/mkdocs-material/reference/admonitions/
"""

import re
from itertools import groupby
from operator import itemgetter

from wiki.pages.fences import FencedCode, fenced

# Numbers of sources, which may end any line while they pass through the parser.
_MARKS = re.compile(r"(?<!⁆)(?:⁅[+-]?\d+⁆)++$")
_ADMONITION = re.compile(r"(?:!!!|\?\?\?\+?)\s+([\w-]+)(?: [\w-]+)*(?:\s+\"([^\"]*)\"\s*(.*))?\s*$")
_ALERT = re.compile(r"((?:>\s?)+)\[!(\w+)\]\s*$")
_TAB = re.compile(r"===[!+]*\s+\"(.*)\"\s*$")
_DEFINITION = re.compile(r"(?::\s{1,4})++(\S.*)$")
_NO_TERM = re.compile(r"\s*(?:[>|#:*+-]|\d+[.)]|$)")
_TASK = re.compile(r"^((?:\s*+>)*+\s*+(?:[-*+]|\d{1,9}[.)])\s++)\[([ xX])\](?=\s)")
_FOOTNOTE = re.compile(r"\[\^([\w-]{1,40})\]")
_KEYS = re.compile(r"(?<![\w+])\+\+([\w-]++(?:\+[\w-]++)*+)\+\+")
_HIGHLIGHT = re.compile(r"==(?=[^\s=])([^=]++)(?<=\S)==")
_COMMENT = re.compile(r"<!--(?:(?!<!--).)*?-->", re.DOTALL)
_ATTRIBUTES = re.compile(r"(?<!\s)\s*+\{:?\s*[#.][^{}]*\}\s*$")
_ROW = re.compile(r"\s*\|.*\|\s*$")
_RULE = re.compile(r"[\s:|]*+-[\s:|-]*+$")
_CODE = re.compile(r"(`+[^`]*`+)")
_BREAK = re.compile(r"<br(?:\s[^<>]*)?/?>", re.I)
_ANCHOR = re.compile(r"<a\s+(?:id|name)\s*=[^<>]*(?:/>|>\s*</a\s*>)", re.I)
_IMAGE = re.compile(r"<img\s([^<>]*)>", re.I)
_NAMED = re.compile(r"(?<![\w-])(src|alt)\s?=\s?(?:\"([^\"]*)\"|'([^']*)')", re.I)
_TABLE = re.compile(r"<table(?:\s[^<>]*)?>((?:(?!<table[\s>]).)*?)</table\s?>", re.I | re.DOTALL)
_TABLE_ROW = re.compile(r"<tr(?:\s[^<>]*)?>", re.I)
_CELL = re.compile(r"<t([hd])(?:\s[^<>]*)?>", re.I)
_END = re.compile(r"</?(?:thead|tbody|tfoot|tr|th|td)(?:\s[^<>]*)?>", re.I)
# Attributes after a link or an image, icons, and lines that include another file.
_BEHIND = re.compile(r"(\]\([^()\n]{0,500}\))\{:?[^{}\n]{0,200}\}")
_ICON = re.compile(r":(?:material|fontawesome|octicons|simple)-[\w-]+:\s?")
_INCLUDED = re.compile(r"\s*-{1,4}8<-{1,4}\s.*")
# JSX and Vue tags: with attributes, or self-closing. <NAME> alone may be a placeholder.
_COMPONENT = re.compile(
    r"<[A-Z][\w.]*(?:\s[^<>=]*=[^<>]*|\s?/)>|</[A-Z][\w.]*>|<[A-Z][\w.]*\s[^<>=/]*/>"
)
# HTML tags used in pages. Another word in angle brackets may be a placeholder: <name>.
_TAGS = re.compile(
    r"</?(?:a|abbr|b|big|center|dd|details|div|dl|dt|em|figcaption|figure|font|i|ins|kbd|mark|nobr"
    r"|p|picture|samp|section|small|source|span|strong|sub|summary|sup|u|var|wbr)"
    r"(?:\s[^<>]*)?/?>",
    re.I,
)


def plain(text: str, *, page: bool = True) -> str:
    """The text as plain Markdown; code is unchanged.

    `page`: the text is from a page. Tags and table rows from a model are left as they are.
    """
    result: list[str] = []
    text = _COMMENT.sub("", text)
    if page and "<table" in text.lower():
        text = _outside_code(text)
    lines = text.split("\n")
    lines.reverse()  # pop from the end: popping from the front would copy the rest each time
    code = FencedCode()
    while lines:
        line = lines.pop()
        marks = _MARKS.search(line)
        bare = line[: marks.start()] if marks else line
        if code.takes(bare):
            pass
        elif match := _ADMONITION.match(bare):
            title = match[1].capitalize() if match[2] is None else match[2]
            body = plain(_indented(lines), page=page).split("\n")
            heading = [f"**{title}**", ""] if title else []
            first = (match[3] or "") + (marks[0] if marks else "")
            parts = [*heading, *([first] if first else []), *body]
            result += ["", *(f"> {part}".rstrip() for part in parts), ""]
            continue
        elif match := _ALERT.match(bare):
            quoted = match[1].rstrip()
            result += [f"{quoted} **{match[2].capitalize()}**", quoted]
            continue
        elif page and _INCLUDED.fullmatch(bare):
            continue
        elif match := _TAB.match(bare):
            result += ["", f"**{match[1]}**", "", plain(_indented(lines), page=page), ""]
            continue
        elif page and (match := _DEFINITION.match(bare)):
            if result and not _NO_TERM.match(result[-1]):
                result[-1] = f"**{result[-1].strip()}**"
            first = match[1] + (marks[0] if marks else "")
            result += ["", plain(f"{first}\n{_indented(lines)}", page=page), ""]
            continue
        elif page and _ROW.match(line) and not _is_within_table(result):
            following = lines[-1] if lines else ""
            if not _RULE.match(following):
                columns = line.count("|") - 1
                result += ["", "| " * columns + "|", "|---" * columns + "|"]
            result.append(_inline(line, page))
            continue
        else:
            line = _TASK.sub(_ticked, _ATTRIBUTES.sub("", line))
            line = _inline(line, page)
        result.append(line)
    return "\n".join(result)


def _is_within_table(lines: list[str]) -> bool:
    return bool(lines) and lines[-1].strip().startswith("|")


def _ticked(task: re.Match[str]) -> str:
    return f"{task[1]}{'☐' if task[2] == ' ' else '☑'}"


def _outside_code(text: str) -> str:
    """The text with HTML tables converted to Markdown tables, except in code."""
    lines = text.split("\n")
    runs = []
    for is_code, run in groupby(zip(fenced(lines), lines, strict=True), key=itemgetter(0)):
        part = "\n".join(line for _, line in run)
        runs.append(part if is_code else _TABLE.sub(_table, part))
    return "\n".join(runs)


def _table(table: re.Match[str]) -> str:
    rows = [_cells(row) for row in _TABLE_ROW.split(table[1])[1:]]
    rows = [row for row in rows if row]
    if not rows:
        return ""
    columns = max(map(len, rows))
    lines = ["| " + " | ".join(row + [""] * (columns - len(row))) + " |" for row in rows]
    if not re.search("<th[\\s>]", table[1], re.I):
        lines.insert(0, "| " * columns + "|")
    lines.insert(1, "|---" * columns + "|")
    return "\n".join(["", "", *lines, "", ""])


def _cells(row: str) -> list[str]:
    _, *cells = _CELL.split(row)
    return [" ".join(_END.sub(" ", cell).split()).replace("|", "\\|") for cell in cells[1::2]]


def _image(image: re.Match[str]) -> str:
    values = {name.lower(): double or single for name, double, single in _NAMED.findall(image[1])}
    alt = re.sub(r"[\[\]]", "", values.get("alt", ""))
    source = values.get("src", "")
    return f"![{alt}]({source})" if source and not re.search(r"[\s()<>]", source) else alt


def _inline(line: str, page: bool) -> str:
    """The line without tags and extension syntax, except in code."""
    parts = _CODE.split(line)
    for number in range(0, len(parts), 2):
        part = _BREAK.sub(" ", _ANCHOR.sub("", parts[number]))
        if page:
            part = _TAGS.sub("", _COMPONENT.sub("", _IMAGE.sub(_image, part)))
            part = _ICON.sub("", _BEHIND.sub(r"\1", part))
            part = _FOOTNOTE.sub(r"\\[\1\\]", _HIGHLIGHT.sub(r"**\1**", part))
            part = _KEYS.sub(lambda keys: "+".join(map(str.capitalize, keys[1].split("+"))), part)
        parts[number] = part
    return "".join(parts)


def _indented(lines: list[str]) -> str:
    """Remove the block indented under a line, and return it dedented; `lines` are reversed."""
    block = []
    while lines and (lines[-1].startswith("    ") or not lines[-1].strip()):
        block.append(lines.pop()[4:])
    return "\n".join(block).rstrip()
