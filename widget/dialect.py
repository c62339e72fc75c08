"""What wikis write beyond Markdown, as plain Markdown, so that a quoted section reads well.

Admonitions and tabs are those of Python-Markdown and Material for MkDocs; comments are dropped.
https://squidfunk.github.io/mkdocs-material/reference/admonitions/
"""

import re

_ADMONITION = re.compile(r"(?:!!!|\?\?\?\+?)\s+([\w-]+)[^\"]*(?:\"(.*)\")?\s*$")
_TAB = re.compile(r"===[!+]*\s+\"(.*)\"\s*$")
_FENCE = re.compile(r"\s*(`{3,}|~{3,})")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_ATTRIBUTES = re.compile(r"\s*\{:?\s*[#.][^{}]*\}\s*$")


def plain(text: str) -> str:
    """The text with the additions rewritten; code is left as it is."""
    result: list[str] = []
    lines = _COMMENT.sub("", text).split("\n")
    fence = ""
    while lines:
        line = lines.pop(0)
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence):
                fence = ""
        elif mark:
            fence = mark[1]
        elif found := _ADMONITION.match(line):
            title = found[1].capitalize() if found[2] is None else found[2]
            body = plain(_indented(lines)).split("\n")
            heading = [f"**{title}**", ""] if title else []
            result += ["", *(f"> {part}".rstrip() for part in [*heading, *body]), ""]
            continue
        elif found := _TAB.match(line):
            result += ["", f"**{found[1]}**", "", plain(_indented(lines)), ""]
            continue
        else:
            line = _ATTRIBUTES.sub("", line)
        result.append(line)
    return "\n".join(result)


def _indented(lines: list[str]) -> str:
    """Take the block that is indented under a line, without its indent."""
    block = []
    while lines and (lines[0].startswith("    ") or not lines[0].strip()):
        block.append(lines.pop(0)[4:])
    return "\n".join(block).rstrip()
