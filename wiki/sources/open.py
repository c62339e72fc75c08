"""Opens a wiki of any kind for reading."""

from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from core.errors import AskdocsError
from wiki.sources.flavour import Generator
from wiki.sources.services.addresses import (
    ADDRESSES,
    APIS,
    GitLabAddress,
    NotionAddress,
)
from wiki.sources.source import Source
from wiki.sources.suffixes import count, is_html
from wiki.sources.tree import Tree


def open_source(place: str, kind: str | None, site_url: str) -> Source:
    """Opens the reader of a wiki.

    Args:
        place: a folder, or the address of a site.
        kind: one of `wiki.sources.spec.KINDS`; for a preview see
            `wiki.sources.folder.Folder.preview`. None detects a folder's kind.
        site_url: the address of the folder's pages.

    Raises:
        AskdocsError: the folder contains neither HTML nor Markdown.
    """
    # Each imports its own libraries, which takes half a second.
    if kind == "site":
        from core.settings import load
        from wiki.sources.site import Site, SitesSettings

        return Site(place, load(SitesSettings))
    if kind == "git":
        from core.settings import load
        from wiki.sources.git import Git
        from wiki.sources.site import SitesSettings
        from wiki.sources.tokens import token_for

        settings = load(SitesSettings)
        token = token_for(settings.tokens, urlsplit(place).netloc)
        return Git(place, site_url, token, settings.clones)
    if kind in APIS:
        return _service(place, kind)
    folder = Path(place)
    if kind is None:
        _require_pages(folder)
    if kind == "html" or (kind is None and is_html(folder)):
        from wiki.sources.export import HtmlFolder

        return HtmlFolder(folder, site_url)
    from wiki.sources.folder import Folder

    if kind == "preview":
        return Folder.preview(folder, site_url)
    return Folder(folder, site_url, cast(Generator | None, kind))


def _service(place: str, kind: str) -> Source:
    from core.settings import load
    from wiki.sources.services.confluence import Confluence
    from wiki.sources.services.github import GitHubDiscussions, GitHubIssues
    from wiki.sources.services.gitlab import GitLabIssues
    from wiki.sources.services.mediawiki import MediaWiki
    from wiki.sources.services.notion import Notion
    from wiki.sources.services.threads import Threads
    from wiki.sources.site import SitesSettings
    from wiki.sources.tokens import token_for

    settings = load(SitesSettings)
    if kind in ADDRESSES:
        at = ADDRESSES[kind].parse(place)
        token = token_for(settings.tokens, urlsplit(at.api).netloc)
        if isinstance(at, NotionAddress):
            return Notion(place, token, settings.rate)
        if isinstance(at, GitLabAddress):
            return Threads(place, GitLabIssues(at), token, settings.rate)
        made = GitHubDiscussions if at.is_discussions else GitHubIssues
        return Threads(place, made(at), token, settings.rate)
    token = token_for(settings.tokens, urlsplit(place).netloc)
    if kind == "mediawiki":
        return MediaWiki(place, token, settings.rate, settings.rights, settings.attachments)
    return Confluence(place, token, settings.rate, settings.rights, settings.attachments)


def _require_pages(folder: Path) -> None:
    html, markdown, every = count(folder)
    if every and not html and not markdown:
        from wiki.sources.documents.reading import documents

        if documents(Tree(folder)):
            return
        raise AskdocsError(
            f"{folder} has no page of Markdown or HTML and no document that"
            f" is read, only other files ({every:,}): name the folder"
            " that holds your wiki's pages, or the address of its site"
        )
