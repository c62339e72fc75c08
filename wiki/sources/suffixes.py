"""Guesses the kind of a folder from the suffixes of its files."""

import os
from pathlib import Path

from wiki.sources.tree import HTML
from wiki.sources.tree import SUFFIXES as MARKDOWN


def is_html(folder: Path) -> bool:
    """Does the folder have more HTML than Markdown pages? False if it does not exist."""
    html, markdown, _ = count(folder)
    # Sites have a few files of the other kind: a README, or a page written in HTML.
    return html > markdown


def count(folder: Path) -> tuple[int, int, int]:
    """The number of HTML files, Markdown files, and all files."""
    html = markdown = every = 0
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            suffix = os.path.splitext(name)[1].lower()
            html += suffix in HTML
            markdown += suffix in MARKDOWN
            every += not name.startswith(".")
    return html, markdown, every
