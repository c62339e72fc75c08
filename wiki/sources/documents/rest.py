"""reStructuredText, read by docutils, with the text directives and roles that Sphinx adds.

Nothing is included, and raw HTML is dropped: a page contains only the text of its own file.
"""

import re
from typing import Any

from docutils import nodes
from docutils.core import publish_parts
from docutils.parsers.rst import Directive, directives, roles
from docutils.utils import unescape

from wiki.pages.page import Page
from wiki.sources import html
from wiki.sources.tree import decode

_SETTINGS = {
    "_disable_config": True,  # no docutils.conf of the current folder
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "report_level": 5,
    "halt_level": 5,
    "embed_stylesheet": False,
    "stylesheet_path": "",
    "syntax_highlight": "none",
    "math_output": "LaTeX",
    "doctitle_xform": False,  # keep a single section as a section
    "initial_header_level": 1,
    "input_encoding": "unicode",
}
_ROLES = """abbr any attr c:func class cls command const data dfn doc download envvar exc file func
    guilabel kbd keyword mailheader makevar manpage menuselection meth mimetype mod newsgroup
    numref obj option pep program py:attr py:class py:data py:exc py:func py:meth py:mod py:obj ref
    regexp rfc samp term token""".split()  # noqa: SIM905
_SHOWN = ("abbr", "any", "dfn", "doc", "download", "guilabel", "menuselection", "numref", "ref")
_LANGUAGE = re.compile(r'<pre class="code ([\w+#.-]+) literal-block">')
_TARGET = re.compile(r"(?<!\s)\s*+<[^<>]*+>$")
# Directives that refer to other files or to code that is not available.
_NOTHING = """autoclass autofunction automodule currentmodule deprecated-removed highlight
    index module py:module sectionauthor tabularcolumns toctree""".split()  # noqa: SIM905
_BOXES = {"seealso": "See also", "todo": "To do"}
_VERSIONS = {
    "deprecated": "Deprecated since version",
    "versionadded": "New in version",
    "versionchanged": "Changed in version",
    "versionremoved": "Removed in version",
}
_OBJECTS = """c:function cmdoption confval data describe envvar exception function method
    object option program py:attribute py:class py:data py:exception py:function py:method
    tab tab-item""".split()  # noqa: SIM905
_INCLUDES = ("include", "literalinclude")
_GROUPS = ("only", "tabs", "tab-set", "glossary", "hlist")


class _Nothing(Directive):  # type: ignore[misc]
    optional_arguments, final_argument_whitespace, has_content = 1, True, True

    def run(self) -> list[nodes.Node]:
        return []


class _Block(Directive):  # type: ignore[misc]
    """A directive with a one-line argument and text as its content."""

    optional_arguments, final_argument_whitespace, has_content = 1, True, True

    def run(self) -> list[nodes.Node]:
        inner = nodes.container()
        named = self.arguments[0] if self.arguments else ""
        if self.name in _INCLUDES:
            return [nodes.paragraph("", f"(includes the file {named})")]
        lead = _BOXES.get(self.name) or _VERSIONS.get(self.name, "")
        if self.name in _OBJECTS and named:
            inner += [
                nodes.paragraph("", "", nodes.literal(line, line))
                for line in map(str.strip, named.splitlines())
                if line
            ]
        elif lead:
            parsed, messages = self.state.inline_text(named, self.lineno)
            strong = nodes.strong("", f"{lead} ")
            inner += [nodes.paragraph("", "", strong, *parsed), *messages]
        elif named and self.name not in _GROUPS:
            inner += nodes.paragraph("", named)
        content = [line for line in self.content if not re.match(r":[\w-]+:(?:\s|$)", line)]
        if content:
            self.state.nested_parse(self.content, self.content_offset, inner)
        return [inner]


def _role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, *_: Any, **__: Any
) -> tuple[list[nodes.Node], list[nodes.Node]]:
    shown = _TARGET.sub("", unescape(text)) or unescape(text)
    if name.rpartition(":")[2] in _SHOWN:
        return [nodes.inline(rawtext, shown)], []
    shown = shown.removeprefix("!")
    return [nodes.literal(rawtext, shown.rpartition(".")[2] if shown[:1] == "~" else shown)], []


def _register() -> None:
    for name in _ROLES:
        roles.register_local_role(name, _role)
    for name in _NOTHING:
        directives.register_directive(name, _Nothing)
    for name in (*_BOXES, *_VERSIONS, *_OBJECTS, *_GROUPS, *_INCLUDES):
        directives.register_directive(name, _Block)


_register()


def page(data: bytes, path: str, url: str) -> Page:
    """Read a file. Raises ValueError: it is not UTF-8."""
    parts = publish_parts(decode(data), writer="html5", settings_overrides=_SETTINGS)
    body = _LANGUAGE.sub(r'<pre class="language-\1">', parts["html_body"])
    return html.page(f"<!doctype html><body><main>{body}</main>", path, url)
