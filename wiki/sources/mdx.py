"""Converts MDX to text: removes imports and tags, inserts partials, keeps headings' anchors."""

import posixpath
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from wiki.pages.fences import fenced
from wiki.pages.targets import referenced, retarget
from wiki.sources import addresses, boxes
from wiki.sources.commonmark import (
    HeadingReader,
    RawHeading,
    front_matter,
    joined_blanks,
    plain,
    without_comments,
)
from wiki.sources.sections import Heading
from wiki.sources.slugs import GitHubSlugger
from wiki.sources.trail import Trail

_READER = HeadingReader(mdx=True)
_MODULE = re.compile(
    r"""import\s*(?:["'{*]|[\w$]+\s*(?:,|from\b))"""
    r"|export\s+(?:(?:default|const|let|var|function|class|async)\b|[{*])"
)
# After an empty line, text that cannot be within a module's code, whatever its brackets.
_TEXT_AGAIN = re.compile(r"#{1,6}\s|<|import\b|export\b")
_PARTIAL = re.compile(r"""import\s+(\w+)(?:\s*,\s*\{[^{}]*\})?\s+from\s+["']([^"'\n]+\.mdx?)["']""")
_USE = re.compile(r"\s*<([A-Z]\w*)(?:\s[^<>]*)?(?:/>|>\s*</\1>)\s*$")
# The properties of a tag; braces contain code, possibly with nested braces.
_PROPERTIES = r"(?:\s(?:[^<>{}]|\{(?:[^{}]|\{[^{}]*+\})*+\})*+)?+"
_TAGS_ONLY = re.compile(rf"\s*+(?:</?[A-Za-z][\w.:-]*+{_PROPERTIES}/?>\s*+|</?>\s*+)++$")
_TAG_BEGINS = re.compile(rf"\s*+<[A-Za-z][\w.]*+{_PROPERTIES}$")
# Tags that only MDX has, with code in braces; skips inline code.
_CODED_TAG = re.compile(rf"(`+[^`]*`+)|<[A-Za-z][\w.]*+(?=[^<>]*\{{){_PROPERTIES}/?>")
_LABEL = re.compile(r"""<TabItem\b[^<>]*?\blabel=(?:"([^"]*)"|'([^']*)'|\{["'`]([^"'`]*)["'`]\})""")
_SUMMARY = re.compile(r"\s*(?:<details\b[^<>]*>\s*)?<summary\b[^<>]*>(.*?)</summary>\s*$", re.I)
_ADMONITION = re.compile(r"([\s>]*+):{3,}\s*+([a-z]\w*+)")
_ATTRIBUTES = re.compile(r"\]\s*+\{")
_HASHES = re.compile(r"[\s>]*#{1,6}\s")
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]+\]")
# Zero-width: anchors drop it.
_MARK = "\u2060"
_MARKED = re.compile(f"{_MARK}[^{_MARK}]*{_MARK}")
_COMMENT = re.compile(r"\{/\*((?:(?!\{/\*).)*?)\*/\}|<!--(?:(?!<!--).)*?-->")
_COMMENT_ID = re.compile(r"(?<![ \t])[ \t]*+\{/\*[ \t]*#([^\s{}*]++)(?:[ \t][^{}]*?)?\*/\}[ \t]*$")
# Same as in Docusaurus' parseMarkdownHeadingId.
_CLASSIC_ID = re.compile(r"(?<!\s)\s*+\{#((?:(?!\{#|\}).)*.)\}$")
_DEEPEST = 20


def read(
    path: str, text: str, trail: Trail, site_path: str, above: tuple[str, ...] = ()
) -> tuple[list[str], list[Heading]]:
    """Returns the visible lines of a file, and the headings that start a section.

    Args:
        path: the file's path in the folder of all pages.
        text: its content.
        trail: the page's trail, through which partials are read.
        site_path: the path of the folder of all pages in the site: imports may use
            `@site/docs/...`.
        above: the files that include this one as a partial, the page first.
    """
    body, _ = front_matter(text)
    body = _marked(body)
    body = without_comments(without_comments(body, "<!--", "-->"), "{/*", "*/}")
    lines, partials = _without_modules(body)
    lines = _without_tags(lines, partials)
    headings = _headings(lines)
    lines = [_MARKED.sub("", line) for line in lines]
    lines = retarget(referenced("\n".join(lines)), partial(trail.link_in, path)).split("\n")
    if not partials:
        return joined_blanks(lines, headings)
    whole: list[str] = []
    moved: list[Heading] = []
    for number, line in enumerate(lines):
        moved += [
            replace(heading, line=len(whole)) for heading in headings if heading.line == number
        ]
        use = _USE.match(line)
        name = partials.get(use[1]) if use else None
        if name is None:
            whole.append(line)
            continue
        included = _included(path, name, site_path)
        is_loop = included in (*above, path)
        inner = "" if is_loop else trail.file(included) if included else None
        if inner is None:
            trail.missing(path, name, name, included)
        if not inner or len(above) >= _DEEPEST:
            continue
        parts, below = read(included, inner, trail, site_path, (*above, path))
        moved += [replace(heading, line=heading.line + len(whole) + 1) for heading in below]
        whole += ["", *parts, ""]
    return joined_blanks(whole, moved)


def _included(path: str, name: str, site_path: str) -> str:
    if name.startswith("@site/"):
        there = posixpath.relpath(name.removeprefix("@site/"), site_path)
    else:
        there = addresses.beside(path, name)
    # Stay within the site.
    outside = there.split("/").count("..") > len(site_path.split("/"))
    return "" if outside else there


def _marked(lines: Sequence[str]) -> list[str]:
    """Mark comments in headings before all comments are removed: they affect anchors.

    `{/* #id */}` at the end sets the anchor. The content of other comments, with the space before
    them, is part of the text from which an anchor is made.
    """
    codes = fenced(lines)
    return [
        _COMMENT.sub(_counted, _COMMENT_ID.sub(r" {#\1}", line))
        if not code and _HASHES.match(line)
        else line
        for line, code in zip(lines, codes, strict=True)
    ]


def _counted(match: re.Match[str]) -> str:
    return f"{_MARK}{match[1] or ''}{_MARK}"


def _without_modules(lines: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Removes `import` and `export`; returns the lines, and the imported Markdown files."""
    remaining: list[str] = []
    partials: dict[str, str] = {}
    depth = 0
    inside = False
    before = ""
    for line, code in zip(lines, fenced(lines), strict=True):
        if inside and not before.strip() and _TEXT_AGAIN.match(line):
            inside = False
        if not inside and not code and not before.strip() and _MODULE.match(line):
            inside = True
            depth = 0
        if not inside:
            remaining.append(line)
            before = line
            continue
        if match := _PARTIAL.match(line):
            partials[match[1]] = match[2]
        depth += sum(line.count(c) for c in "{([") - sum(line.count(c) for c in "})]")
        if not line.strip() and depth <= 0:
            inside = False
            remaining.append(line)
        before = line
    return remaining, partials


def _without_tags(lines: Sequence[str], partials: dict[str, str]) -> list[str]:
    """Removes tags that only make boxes; keeps the boxes' labels in bold."""
    remaining: list[str] = []
    open_tag: list[str] = []
    for line, code in zip(lines, fenced(lines), strict=True):
        if code:
            remaining.append(line)
            continue
        if open_tag or _TAG_BEGINS.match(line):
            open_tag.append(line)
            if ">" not in line and line.strip() and len(open_tag) < 50:
                continue
            line = " ".join(open_tag) if ">" in line else "\n".join(open_tag)
            open_tag = []
        remaining.extend(_shown(line, partials).split("\n"))
    return remaining + open_tag


def _shown(line: str, partials: dict[str, str]) -> str:
    use = _USE.match(line)
    if use and use[1] in partials:
        return line
    if (box := _ADMONITION.match(line)) and (title := _title(line[box.end() :])) is not None:
        return f"{box[1]}{boxes.label(box[2], title)}\n"
    if boxes.ENDS.match(line):
        return ""
    if summary := _SUMMARY.match(line):
        return f"**{summary[1].strip()}**\n" if summary[1].strip() else ""
    if "<img" not in line and _TAGS_ONLY.match(line):
        label = _LABEL.search(line)
        return f"**{next(filter(None, label.groups()), '')}**\n" if label else ""
    return line


def _title(rest: str) -> str | None:
    """The text after the kind of an admonition: `[Title]{attributes}` or ` Title`; None if
    invalid."""
    text = rest.strip()
    if not text or (text[0] == "{" and text[-1] == "}"):
        return ""
    if text[0] == "[":
        if text[-1] == "]":
            return text[1:-1]
        ends = list(_ATTRIBUTES.finditer(text)) if text[-1] == "}" else []
        if ends:
            return text[1 : ends[-1].start()]
    return text if rest[0].isspace() else None


def _headings(lines: Sequence[str]) -> list[Heading]:
    slugger = GitHubSlugger()
    return [
        Heading(heading.level, text, anchor, heading.line)
        for heading in _READER.headings([_CODED_TAG.sub(r"\1", line) for line in lines])
        for text, anchor in [_named(heading, slugger)]
        if not heading.nested
    ]


def _named(heading: RawHeading, slugger: GitHubSlugger) -> tuple[str, str]:
    """The text of a heading without its anchor's definition, and the anchor."""
    if heading.anchor:
        return heading.text, heading.anchor
    text = _FOOTNOTE.sub("", plain(heading.children))
    named = _CLASSIC_ID.search(text)
    shown = " ".join(_MARKED.sub("", text[: named.start()] if named else text).split())
    return shown, named[1] if named else slugger.slug(text)
