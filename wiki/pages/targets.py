"""Finds the targets of links and images in Markdown."""

import re
from collections.abc import Callable, Iterator

from wiki.pages.fences import FencedCode

# Lines that indented lines may belong to; below any other line, they are code.
_HOLDS = re.compile(r"\s*(?:[-*+]\s|\d+[.)]\s|!!!|\?\?\?|===|:::|///|\[\^|:\s|>)")
_TARGET = re.compile(
    r"""
    (?P<code> (?P<ticks>(?<!`)`++) (?:(?!\n[ \t]*+\n)[\s\S])*? (?<!`)(?P=ticks)(?!`) )
    | (?P<comment> <!--(?:(?!-->|<!--)[\s\S])*+--> )
    | (?P<escape> \\[\[\]()!] )
    | \]\([ \t]*+(?:\n[ \t]*+)?
      (?: <(?P<angled>[^<>\n]*)>
        | (?P<spaced> (?=[^()<>"'\n]*+\)) [^\s()<>"'][^()<>"'\n]*
            \.(?:md|mdx|markdown)(?:\#[^()<>"'\n]*)? )(?=[ \t]*\))
        | (?P<bare>(?!<)(?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.)*\))+)
      )
    | ^[ \t]{0,3}\[[^\[\]\n^][^\[\]\n]*\]:[ \t]*(?:<(?P<defined_angled>[^<>\n]*)>|(?P<defined>\S+))
    | <(?:a|img|iframe|video|audio|source|embed|link)\b[^<>]*?\s(?:href|src)\s*=\s*
      (?:"(?P<double>[^"\n]*)"|'(?P<single>[^'\n]*)')
    """,
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)
_DEFINITION = re.compile(
    r"""^[ ]{0,3}\[([^\[\]\n^][^\[\]\n]*)\]:[ \t]*(?:<([^<>\n]*)>|(\S+))"""
    r"""(?:[ \t]+("[^"\n]*"|'[^'\n]*'|\([^()\n]*\)))?[ \t]*$""",
    re.MULTILINE,
)
_REFERENCE = re.compile(
    r"""
    (?P<ticks>(?<!`)`++) (?:(?!\n[ \t]*+\n)[\s\S])*? (?<!`)(?P=ticks)(?!`)
    | <!--(?:(?!-->|<!--)[\s\S])*+-->
    | \\[\[\]]
    | \[(?P<shown>(?:[^\[\]\\]|\\.|\[[^\[\]]*\]){1,500})\]
      (?: \[(?P<name>[^\[\]\n]{0,500})\] | (?![\[(:]) )
    """,
    re.VERBOSE,
)
_GROUPS = ("angled", "spaced", "bare", "defined_angled", "defined", "double", "single")


def retarget(text: str, change: Callable[[str], str]) -> str:
    """Replaces the target of each link and image in `text` with the result of `change`.

    Covers inline links, reference definitions, and `href` and `src` in HTML; skips code. The number
    of lines does not change.
    """
    if "](" not in text and "]:" not in text and "=" not in text:
        return text
    return "".join(
        part if is_code else _TARGET.sub(lambda m: _changed(m, change), part)
        for part, is_code in _parts(text)
    )


def referenced(text: str) -> str:
    """Rewrites `[link][name]` in `text` as `[link](target)`, so that each part can stand alone.

    The definitions remain. Skips code; the number of lines does not change.
    """
    if "]:" not in text:
        return text
    parts = list(_parts(text))
    defined: dict[str, str] = {}
    for part, is_code in parts:
        for match in () if is_code else _DEFINITION.finditer(part):
            name, angled, bare, title = match.groups()
            target = f"<{angled}>" if bare is None else bare
            defined.setdefault(_label(name), f"{target} {title}" if title else target)
    if not defined:
        return text
    return "".join(
        part if is_code else _REFERENCE.sub(lambda m: _inline(m, defined), part)
        for part, is_code in parts
    )


def _inline(match: re.Match[str], defined: dict[str, str]) -> str:
    shown = match["shown"]
    target = None if shown is None else defined.get(_label(match["name"] or shown))
    return match.group() if target is None else f"[{shown}]({target})"


def _label(name: str) -> str:
    return " ".join(name.split()).casefold()


def _changed(match: re.Match[str], change: Callable[[str], str]) -> str:
    for group in _GROUPS:
        target = match.group(group)
        if target is not None:
            new = change(target.strip())
            if new == target.strip():
                return match.group()
            if group in ("spaced", "bare", "defined"):
                new = new.replace(" ", "%20")
            start, end = (place - match.start() for place in match.span(group))
            return match.group()[:start] + new + match.group()[end:]
    return match.group()


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """Yields runs of lines of the text; are they a code block?"""
    run: list[str] = []
    code = FencedCode()
    was_code = False
    before = ""  # the previous line
    outer = ""  # the last line without indentation
    for line in text.splitlines(keepends=True) if "\r" in text else _lines(text):
        is_code = code.takes(line)
        if not is_code:
            indented = line.startswith(("    ", "\t"))
            if line.strip() and not indented:
                outer = line
            starts = not before.strip() or was_code
            is_code = indented and bool(line.strip()) and starts and not _HOLDS.match(outer)
            is_code = is_code or (was_code and not line.strip())
        if is_code != was_code and run:
            yield "".join(run), was_code
            run = []
        run.append(line)
        was_code = is_code
        before = line
    if run:
        yield "".join(run), was_code


def _lines(text: str) -> list[str]:
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines
