"""Guesses the kind of a folder from the suffixes of its files."""

import os
from pathlib import Path

from gateway.knowledge.sources.tree import HTML
from gateway.knowledge.sources.tree import SUFFIXES as MARKDOWN


def is_html(folder: Path) -> bool:
    """Is it a folder of HTML pages, more than of Markdown? One that is not there is none."""
    html, markdown, _ = count(folder)
    # Sites carry a few files of the other kind: a README, a page that was written in HTML.
    return html > markdown


def count(folder: Path) -> tuple[int, int, int]:
    """How many files are HTML, Markdown, and in all."""
    html = markdown = every = 0
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            suffix = os.path.splitext(name)[1].lower()
            html += suffix in HTML
            markdown += suffix in MARKDOWN
            every += not name.startswith(".")
    return html, markdown, every
