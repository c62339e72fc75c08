"""What the tests of sources share: a folder with pages, and how one is read."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from wiki.pages.page import Page
from wiki.sources.flavour import Generator
from wiki.sources.folder import Folder
from wiki.sources.source import Broken, Changed

SITE = "https://wiki.example.com/"

# A busy machine is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

Write = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files, given as path and text, into a folder; returns the folder."""

    def make(files: Mapping[str, str]) -> Path:
        root = tmp_path / "wiki"
        root.mkdir(exist_ok=True)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        return root

    return make


def pages(root: Path, kind: Generator | None = None, site_url: str = SITE) -> dict[str, Page]:
    """The pages of a folder by path, none of them broken."""
    read = list(Folder(root, site_url, kind).read({}))
    assert not [one for one in read if isinstance(one, Broken)]
    return {one.page.path: one.page for one in read if isinstance(one, Changed)}


def broken(root: Path, kind: Generator | None = None) -> list[tuple[str, str]]:
    """What a folder has that could not be read: its path, and why."""
    read = Folder(root, SITE, kind).read({})
    return [(one.path, one.why) for one in read if isinstance(one, Broken)]


def places(page: Page) -> list[tuple[str, str]]:
    """The anchor and the heading of each section."""
    return [(section.anchor, section.heading) for section in page.sections]


@contextmanager
def unlisted(folder: Path) -> Iterator[None]:
    """The folder cannot be listed within. Skips the test where that does not stop its user."""
    folder.chmod(0)
    try:
        if os.access(folder, os.R_OK):
            pytest.skip("root lists everything")
        yield
    finally:
        folder.chmod(0o755)
