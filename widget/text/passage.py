"""Text fragment addresses, which scroll a browser to a passage and highlight it."""

import re
from functools import lru_cache
from urllib.parse import quote as percent

from widget.text import dialect
from widget.text.markdown import paragraphs

WORDS = 6  # at each end of the passage; enough for a unique match
MAX_ADDRESS = 2000  # characters


@lru_cache(maxsize=256)  # many answers cite the same sections
def highlighting(url: str, quote: str) -> str:
    """The URL with a text fragment for the quote, a Markdown section; keeps the anchor.

    A browser that does not find the passage, or does not support text fragments, goes to the
    anchor.
    https://wicg.github.io/scroll-to-text-fragment/
    """
    blocks = paragraphs(dialect.plain(quote.replace("[…]", "").removesuffix("…")))
    if quote.endswith("…") and blocks:
        blocks[-1] = blocks[-1].rpartition(" ")[0]  # the cut may have split a word
    blocks = [block for block in blocks if block]
    if not url or not blocks:
        return url
    first, last = _pieces(blocks[0]), _pieces(blocks[-1])
    if len(blocks) == 1 and len(first) <= 2 * WORDS:
        text = _encoded(blocks[0])
    else:
        begin = blocks[0][: first[:WORDS][-1].end()]
        end = blocks[-1][last[-WORDS:][0].start() :]
        text = f"{_encoded(begin)},{_encoded(end)}"
    address = f"{url}{'' if '#' in url else '#'}:~:text={text}"
    return address if len(address) <= MAX_ADDRESS else url


def _pieces(text: str) -> list[re.Match[str]]:
    """Words; clauses in languages without spaces."""
    return list(re.finditer(r"[^\s、。，！？；]+[、。，！？；]?", text)) or list(
        re.finditer(r".+", text)
    )


def _encoded(text: str) -> str:
    # A hyphen is syntax in a text directive, and percent-encoding does not escape it.
    return percent(text, safe="").replace("-", "%2D")
