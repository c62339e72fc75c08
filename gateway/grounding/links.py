"""Links in pages are relative to the page; in an answer they must work from anywhere."""

from urllib.parse import urljoin

from gateway.wiki.page import Page
from gateway.wiki.targets import retarget


def absolute(text: str, page: Page) -> str:
    """`text`, which stands on `page`, with its relative links and pictures made absolute."""

    def joined(target: str) -> str:
        try:
            return urljoin(page.url, target)
        except ValueError:
            return target  # no address at all, such as `http://[`

    return retarget(text, joined)
