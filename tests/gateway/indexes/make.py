"""Writes a small index as the askdocs on PYTHONPATH does, so that it can be kept here.

    git archive COMMIT gateway | tar x -C /tmp/old
    PYTHONPATH=/tmp/old python tests/gateway/indexes/make.py /tmp/old/2.db && gzip -9n /tmp/old/2.db

COMMIT is the last one before `wiki.index.store.VERSION` was raised: 474541b^ for 1,
7e74420^ for 2, fe028a8^ for 3, a975289^ for 4, 42781eb for 5, d361869^ for 6, 2bde5b6 for 7,
e18828d for 8, ff3e9686 for 9 and 530ce3d3 for 10. 2-fts5 is 474541b itself, as 2 was before it kept
words in arrays.
"""

import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

SITE = "https://wiki.example.com/"
PAGES = {
    "coffee.md": "# Coffee machine\n\n## Descaling\n\nPour 40 ml of descaler into the tank.\n",
    "travel.md": "# Travel\n\nAsk the travel desk. See the [coffee machine](coffee.md).\n",
}
LEFT_OUT = "travel.md"
MODEL = "made-up"
VECTOR = np.eye(384, dtype=np.float32)[7]


def main(file: Path) -> None:
    """Two pages; from version 2 on their vectors, and one page taken out by hand."""
    from wiki.index import index
    from wiki.sources.markdown import parse

    pages = [parse(path, text, SITE) for path, text in PAGES.items()]
    if not hasattr(index, "writing"):
        index.build(file, pages)
        return
    with index.writing(file) as writer:
        source = index.StoredSource("wiki", {"kind": None, "site_url": SITE}, None, ())
        writer.put_source(source)
        for page in pages:
            writer.put("wiki", page, "made")
        for number in writer.missing(MODEL):
            writer.put_vectors(number, VECTOR[None], MODEL)
        with suppress(ImportError):
            from wiki.sources.excluded import exclude

            exclude(writer, source, LEFT_OUT)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
