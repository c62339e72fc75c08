"""Links to pages in answers; rewrites the pages' own links so that they work anywhere."""

from urllib.parse import urljoin

from wiki.pages.page import Page
from wiki.pages.targets import retarget


def link(page: Page) -> dict[str, str]:
    """A page's title and address, as answers name it."""
    return {"title": page.title, "url": page.url}


def absolute(text: str, page: Page) -> str:
    """Makes the relative links and images of `text`, which is on `page`, absolute."""

    def joined(target: str) -> str:
        try:
            return urljoin(page.url, target)
        except ValueError:
            return target  # not an address, such as `http://[`

    return retarget(text, joined)
