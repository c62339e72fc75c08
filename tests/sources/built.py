"""What is in a page that a generator has built."""

from html.parser import HTMLParser

_VOID = ("br", "img", "hr", "input", "meta", "link", "source", "wbr", "col", "area", "embed")


class Built(HTMLParser):
    """The headings in an `<article>` or `<main>` with an `id`, and where they stand."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.headings: list[tuple[str, str]] = []
        """Anchor and text of those that are not in a list, a quote or a table."""
        self.links: list[str] = []
        self.ids: set[str] = set()
        self._open: list[str] = []
        self._heading: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.ids.add(said.get("id") or "")
        inside = "article" in self._open
        nested = any(name in self._open for name in ("li", "blockquote", "dd", "td", "th"))
        if tag in ("h1", "h2", "h3", "h4", "h5", "h6") and inside and not nested and "id" in said:
            self.headings.append((said["id"] or "", ""))
            self._heading = []
        if tag == "a" and self._heading is not None and "link" in (said.get("class") or ""):
            self._open.append("permalink")
            return
        if tag == "a" and inside:
            self.links.append(said.get("href") or "")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("h1", "h2", "h3", "h4", "h5", "h6") and self._heading is not None:
            anchor, _ = self.headings[-1]
            self.headings[-1] = (anchor, " ".join("".join(self._heading).split()))
            self._heading = None
        if tag not in self._open and not (tag == "a" and "permalink" in self._open):
            return
        while self._open:
            last = self._open.pop()
            if last == tag or (last == "permalink" and tag == "a"):
                break

    def handle_data(self, data: str) -> None:
        if self._heading is not None and "permalink" not in self._open:
            self._heading.append(data)
