"""Which generator makes a site of a folder, and where its settings are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.sources import docusaurus_config, gitbook_config, mkdocs_config, vitepress_config
from gateway.sources.flavour import Kind

# How far above the folder a generator's settings may be: `site/docs/guide` belongs to `site`.
ABOVE = 2


@dataclass(frozen=True)
class Found:
    """A generator's project that a folder belongs to."""

    kind: Kind
    content: Path
    """The folder that holds all pages of the project."""
    settings: Path | None
    """The file that says so."""


def detect(root: Path, kind: Kind | None = None) -> Found:
    """The project that the folder `root` is, or is part of.

    Args:
        root: an absolute folder.
        kind: only this one is looked for; found or not, it is what the folder is taken for.
    """
    folders = [root, *list(root.parents)[:ABOVE]]
    for known, look in _LOOKS:
        if kind in (None, known):
            for folder in folders:
                found = look(folder, root)
                if found:
                    return found
    return Found(kind or "mkdocs", root, None)


def _mkdocs(folder: Path, root: Path) -> Found | None:
    return _project("mkdocs", folder, root, mkdocs_config.NAMES, mkdocs_config.docs_dir)


def _docusaurus(folder: Path, root: Path) -> Found | None:
    for name in docusaurus_config.NAMES:
        file = folder / name
        if file.is_file():
            content = folder / docusaurus_config.load(file).path
            if root == folder or _is_within(root, content):
                return Found("docusaurus", content, file)
            return Found("docusaurus", root, file)  # a second set of pages beside `docs`
    return None


def _gitbook(folder: Path, root: Path) -> Found | None:
    names = (gitbook_config.NAME,)
    return _project("gitbook", folder, root, names, lambda file: gitbook_config.load(file).root)


def _vitepress(folder: Path, root: Path) -> Found | None:
    def content(file: Path) -> Path:
        return folder / vitepress_config.load(file).content

    return _project("vitepress", folder, root, vitepress_config.NAMES, content)


def _project(
    kind: Kind, folder: Path, root: Path, names: Sequence[str], content: Callable[[Path], Path]
) -> Found | None:
    """By a file of settings, which says where the pages are."""
    for name in names:
        file = folder / name
        if file.is_file():
            pages = content(file)
            if root == folder or _is_within(root, pages):
                return Found(kind, pages, file)
    return None


def _obsidian(folder: Path, root: Path) -> Found | None:
    return Found("obsidian", folder, None) if (folder / ".obsidian").is_dir() else None


def _summary(folder: Path, root: Path) -> Found | None:
    return Found("gitbook", folder, None) if (folder / "SUMMARY.md").is_file() else None


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
