"""Reads a live site: the pages in its sitemap, or the pages that its links reach."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import AskdocsError
from core.settings import Field, SecretStr, Section
from wiki.sources.addresses import refuse_password
from wiki.sources.fetch import Fetcher
from wiki.sources.reading import SiteReading
from wiki.sources.source import Item


class SitesSettings(Section):
    """The `[sites]` table: how live sites are read."""

    section = "sites"

    rate: float = Field(2.0, gt=0, le=100, description="Maximum requests per second to a site.")
    pages: int = Field(
        10_000, ge=1, description="Maximum pages to read from a site; further pages are reported."
    )
    interval: float = Field(
        900.0, ge=60, description="Seconds between two syncs of a site or service, with `--watch`."
    )
    feed_interval: float = Field(
        60.0,
        ge=0,
        description=(
            "Seconds between two checks for new commits and edited issues, with `--watch`; 0: none."
        ),
    )
    rights: bool = Field(
        True, description="Read page permissions from the service, if it has them."
    )
    attachments: bool = Field(
        False, description="Read files attached to pages of Confluence or uploaded to MediaWiki."
    )
    tokens: SecretStr | None = Field(
        None,
        description=(
            "Tokens of services, one per line: `git.example.com TOKEN`, or"
            " `team.atlassian.net ada@example.com:TOKEN`. Only that host gets it."
        ),
    )
    clones: Path = Field(
        Path(".askdocs/clones"), description="Folder for clones of Git wikis; created when missing."
    )
    headers: SecretStr | None = Field(
        None,
        description=(
            "Headers that sites need for access, one per line:"
            " `wiki.example.com Authorization: Bearer ...`. Only that host gets it."
        ),
    )


class Site:
    """Implements `wiki.sources.source.Source` for a live site."""

    def __init__(self, url: str, settings: SitesSettings | None = None) -> None:
        """
        Args:
            url: the address of the start page. The site is everything below its folder.
            settings: see `SitesSettings`.

        Raises:
            AskdocsError: the address is not a site's, or a header line is invalid.
        """
        split = urlsplit(url)
        if split.scheme not in ("http", "https") or not split.hostname:
            raise AskdocsError(f"{url} is not the address of a site: write it with https://")
        refuse_password(url)
        self.name = url
        self._settings = settings or SitesSettings()
        self._headers = _headers(self._settings.headers, split.netloc.lower())

    def read(self, known: Mapping[str, str], state: str = "") -> Iterator[Item]:
        """See `wiki.sources.source.Source.read`. Yields pages as they are read.

        Raises:
            AskdocsError: the site cannot be reached, denies access, or has no page.
        """
        split = urlsplit(self.name)
        origin = f"{split.scheme}://{split.netloc}".lower()
        fetcher = Fetcher(origin, self._settings.rate, self._headers)
        try:
            yield from SiteReading(fetcher, self.name, known, self._settings.pages).run()
        finally:
            fetcher.close()


def _headers(lines: SecretStr | None, host: str) -> dict[str, str]:
    """The headers for one host. Raises AskdocsError, without the value."""
    headers = {}
    for number, line in enumerate(lines.get_secret_value().splitlines() if lines else (), 1):
        if not line.strip():
            continue
        of, *rest = line.split(maxsplit=1)
        name, _, value = (part.strip() for part in "".join(rest).partition(":"))
        if not value or not re.fullmatch(r"[\w-]+", name):
            raise AskdocsError(
                f"ASKDOCS_SITES_HEADERS, line {number}: write the host and the header:"
                " wiki.example.com Authorization: Bearer ..."
            )
        if of.lower() == host:
            headers[name] = value
    return headers
