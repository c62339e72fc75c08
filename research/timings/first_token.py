"""Time to first token of a first question about every page, of a running askdocs.

    ASKDOCS_UP_PREFILL=false .venv/bin/askdocs up --docs DIR --home HOME
    .venv/bin/python research/timings/first_token.py --home HOME [--limit 50] [--json]

The question is a heading of the page, asked from that page. Each page is asked about once, so that
the engine has not read it before; without `ASKDOCS_UP_PREFILL=false` this measures warm pages. With
the bundled model no page is read: the answer is there at once.
"""

import argparse
import json
import os
import random
import statistics
from contextlib import closing
from pathlib import Path

from askdocs.clients import question as client
from askdocs.state import home
from askdocs.supervision import status
from wiki.index.index import Index


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="only so many pages, drawn by chance")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    place = home.find(options.home)
    running, key = status.read(place), place.key()
    with closing(Index(place.index)) as index:
        pages = index.pages()
    random.Random(1).shuffle(pages)
    rows = []
    for page in pages[: options.limit]:
        told = [section for section in page.sections if section.body] or page.sections
        question = told[len(told) // 2].heading or page.title
        tokens = 0
        for kind, what in client.ask(running.gateway, key, question, page.url):
            if kind == "reading":
                tokens = sum(part["tokens"] for part in what["reading"])
            elif kind == "done" and not what.refused:
                row = {"page": page.path, "tokens": tokens, "seconds": round(what.first_token, 2)}
                rows.append(row)
                if not options.json:
                    print(f"{row['seconds']:6.2f} s  {tokens:5,} tokens  {page.path}", flush=True)
    times = sorted(row["seconds"] for row in rows)
    sums = {
        "answered": len(rows),
        "asked": len(pages[: options.limit]),
        "median": statistics.median(times),
        "longest": times[-1],
        "page_budget": running.page_budget,
        "load": os.getloadavg()[0],
    }
    print(json.dumps({**sums, "pages": rows}, indent=2) if options.json else sums)


if __name__ == "__main__":
    main()
