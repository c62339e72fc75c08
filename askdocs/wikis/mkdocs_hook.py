"""MkDocs hooks: convert pages for other generators to MkDocs' Markdown, add a missing front page,
and abort on a page that takes too long to build.

The added front page lists the pages and documents. The error names the page that took too long, so
that the site can be built without it.
"""

import re
import signal
from functools import cache
from pathlib import Path
from types import FrameType
from urllib.parse import quote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from wiki.sources import folder
from wiki.sources.preview import Preview

PAGE_S = 30.0  # seconds of CPU time, as in a sync


class TooSlow(Exception):
    """A page on which its parser hangs."""


def on_pre_page(page: Page, config: MkDocsConfig, files: Files) -> Page:
    """https://www.mkdocs.org/dev-guide/plugins/#on_pre_page"""
    # Regular expressions check for signals while matching, so they are interrupted, too.
    signal.signal(signal.SIGVTALRM, _end)
    # Repeat the signal, in case a library swallows the first exception.
    signal.setitimer(signal.ITIMER_VIRTUAL, PAGE_S, PAGE_S)
    return page


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """https://www.mkdocs.org/dev-guide/plugins/#on_page_markdown"""
    preview = _preview(config.extra["docs"], config.site_url or "")
    path = preview.paths.get(page.file.src_uri)
    shown = preview.markdown(path, markdown) if path else markdown
    return shown if shown.strip() or not page.is_homepage else _list(files, config)


@cache
def _preview(docs: str, site_url: str) -> Preview:
    return folder.preview(Path(docs), site_url)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """https://www.mkdocs.org/dev-guide/plugins/#on_page_content"""
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return html


def _end(signum: int, frame: FrameType | None) -> None:
    raise TooSlow(f"it takes more than {PAGE_S:g} s")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """https://www.mkdocs.org/dev-guide/plugins/#on_files"""
    if not any(file.url == "./" for file in files.documentation_pages()):
        files.append(File.generated(config, "index.md", content=_list(files, config)))
    return files


def _list(files: Files, config: MkDocsConfig) -> str:
    lines = [f"# {config.site_name}", ""]
    for file in sorted(files.documentation_pages(), key=lambda f: f.src_uri):
        known = file.page
        page = Page(None, file, config)
        page.read_source(config)
        file.page = known  # else the navigation uses the new page, which lacks the title set there
        title = str(page.meta.get("title") or page.title or file.name)
        lines.append(f"- [{_link_text(title)}]({quote(file.src_uri)})")
    for path in config.extra.get("documents", ()):
        lines.append(f"- [{_link_text(path)}]({quote(path)})")
    return "\n".join(lines)


def _link_text(title: str) -> str:
    """Brackets would end the link, and `<` would begin a tag; inline code is safe."""
    title = title.replace("[", "(").replace("]", ")")
    return re.sub(r"(`[^`]*`)|<", lambda match: match[1] or "&lt;", title)
