"""Detects the generator that builds a folder's site, and finds its settings."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wiki.sources import docusaurus_config, gitbook_config, mkdocs_config, vitepress_config
from wiki.sources.flavour import Generator
from wiki.sources.within import Bounds

# Maximum levels above the folder for a generator's settings: `site/docs/guide` belongs to `site`.
ABOVE = 2


@dataclass(frozen=True)
class Project:
    """A generator's project that a folder belongs to."""

    kind: Generator
    content: Path
    """The folder that holds all pages of the project."""
    settings: Path | None
    """The settings file that identifies the generator."""
    bounds: Bounds
    """The area from which the project may read files: the given folder, or the project around
    it."""


def detect(root: Path, kind: Generator | None = None) -> Project:
    """Detects the project that the folder `root` is, or is part of.

    Args:
        root: an absolute folder.
        kind: the only generator to look for; it applies even if it is not found.
    """
    folders = [root, *list(root.parents)[:ABOVE]]
    for known, look in _LOOKS:
        if kind in (None, known):
            for folder in folders:
                project = look(folder, root, Bounds(folder))
                if project:
                    return project
    return _beside(root, kind) or Project(kind or "mkdocs", root, None, Bounds(root))


def _beside(root: Path, kind: Generator | None) -> Project | None:
    """The only project in a subfolder of `root` whose pages are elsewhere in `root`: `docs` next to
    `website`. The root covers both."""
    bounds = Bounds(root)
    projects = []
    try:
        folders = sorted(entry.path for entry in os.scandir(root) if entry.is_dir())
    except OSError:
        return None
    for folder in filter(bounds.holds, map(Path, folders)):
        for known, look in _LOOKS:
            project = look(folder, folder, bounds) if kind in (None, known) else None
            if project and project.settings:
                pages = Path(os.path.abspath(project.content))
                if bounds.holds(pages) and not pages.is_relative_to(folder):
                    projects.append(replace(project, content=pages))
                break
    return projects[0] if len(projects) == 1 else None


def _mkdocs(folder: Path, root: Path, bounds: Bounds) -> Project | None:
    return _project(
        *("mkdocs", folder, root, bounds, mkdocs_config.NAMES),
        lambda file: mkdocs_config.docs_dir(file, bounds),
    )


def _docusaurus(folder: Path, root: Path, bounds: Bounds) -> Project | None:
    for name in docusaurus_config.NAMES:
        file = folder / name
        if file.is_file():
            content = folder / docusaurus_config.load(file, bounds).path
            if root == folder or _is_within(root, content):
                return Project("docusaurus", content, file, bounds)
            return Project("docusaurus", root, file, bounds)  # a second set of pages beside `docs`
    return None


def _gitbook(folder: Path, root: Path, bounds: Bounds) -> Project | None:
    return _project(
        *("gitbook", folder, root, bounds, (gitbook_config.NAME,)),
        lambda file: gitbook_config.load(file, bounds).root,
    )


def _vitepress(folder: Path, root: Path, bounds: Bounds) -> Project | None:
    return _project(
        *("vitepress", folder, root, bounds, vitepress_config.NAMES),
        lambda file: folder / vitepress_config.load(file, bounds).content,
    )


def _project(
    kind: Generator,
    folder: Path,
    root: Path,
    bounds: Bounds,
    names: Sequence[str],
    content: Callable[[Path], Path],
) -> Project | None:
    """By a file of settings, which says where the pages are."""
    for name in names:
        file = folder / name
        if file.is_file():
            pages = content(file)
            if root == folder or _is_within(root, pages):
                return Project(kind, pages, file, bounds)
    return None


def _obsidian(folder: Path, root: Path, bounds: Bounds) -> Project | None:
    is_vault = (folder / ".obsidian").is_dir()
    return Project("obsidian", folder, None, bounds) if is_vault else None


def _summary(folder: Path, root: Path, bounds: Bounds) -> Project | None:
    is_book = (folder / "SUMMARY.md").is_file()
    return Project("gitbook", folder, None, bounds) if is_book else None


def _is_within(root: Path, content: Path) -> bool:
    real = content.resolve()
    return root.is_relative_to(content) or root.resolve().is_relative_to(real)


# In this order: MkDocs and Docusaurus have a SUMMARY.md too, and any of them may be written in
# Obsidian.
_LOOKS = (
    ("mkdocs", _mkdocs),
    ("docusaurus", _docusaurus),
    ("gitbook", _gitbook),
    ("vitepress", _vitepress),
    ("obsidian", _obsidian),
    ("gitbook", _summary),
)
