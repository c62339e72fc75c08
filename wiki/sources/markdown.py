"""Parses one Markdown page as the site of `askdocs up` renders it."""

from functools import cache
from pathlib import Path

from wiki.pages.page import Page
from wiki.sources import mkdocs_config
from wiki.sources.mkdocs import page_url, read
from wiki.sources.rendered import Renderer
from wiki.sources.trail import Trail
from wiki.sources.tree import decode


def parse(path: str, text: str, site_url: str) -> Page:
    """Read a standalone Markdown page: its links are not changed.

    Args:
        path: relative to the wiki's folder.
        text: the file's content; front matter is read (`title`) and removed.
        site_url: address of the wiki's root.
    """
    trail = Trail(path, "", b"", _nothing, str)
    return read(path, decode(text.encode()), page_url(path, site_url), _renderer(), trail)


@cache
def _renderer() -> Renderer:
    config = mkdocs_config.default(Path())
    return Renderer(config.extensions, config.options)


def _nothing(name: str) -> str:
    raise FileNotFoundError(name)
