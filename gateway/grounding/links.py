"""Links in pages are relative to the page; in an answer they must work from anywhere."""

import posixpath
import re
from urllib.parse import unquote, urljoin

from gateway.sources.markdown import page_url
from gateway.wiki.page import Page

# The target of a Markdown link or picture. Absolute ones and bare anchors are told apart below.
_TARGET = re.compile(r"(\]\()(<?)([^)\s>]+)(>?)")
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


def absolute(text: str, page: Page, site_url: str) -> str:
    """`text`, which stands on `page`, with its relative links made absolute.

    A link to a Markdown file becomes the address of that page on the site.
    """

    def resolved(match: re.Match[str]) -> str:
        before, opened, target, closed = match.groups()
        if _ABSOLUTE.match(target):
            return match.group()
        path, hash_mark, anchor = target.partition("#")
        if not path:
            url = page.url
        elif path.endswith((".md", ".markdown")) and not path.startswith("/"):
            there = posixpath.normpath(posixpath.join(posixpath.dirname(page.path), unquote(path)))
            url = page_url(there, site_url)
        else:
            url = urljoin(page.url, path)
        return f"{before}{opened}{url}{hash_mark}{anchor}{closed}"

    return _TARGET.sub(resolved, text)
