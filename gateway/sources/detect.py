"""Which generator makes a site of a folder, and where its settings are."""

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
    for name in mkdocs_config.NAMES:
        file = folder / name
        if file.is_file():
            content = mkdocs_config.docs_dir(file)
            if root == folder or _is_within(root, content):
                return Found("mkdocs", content, file)
    return None


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
    file = folder / gitbook_config.NAME
    if file.is_file():
        content = gitbook_config.load(file).root
        if root == folder or _is_within(root, content):
            return Found("gitbook", content, file)
    return None


def _vitepress(folder: Path, root: Path) -> Found | None:
    for name in vitepress_config.NAMES:
        file = folder / name
        if file.is_file():
            content = folder / vitepress_config.load(file).content
            if root == folder or _is_within(root, content):
                return Found("vitepress", content, file)
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
