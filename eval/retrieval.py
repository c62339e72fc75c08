"""How often the index finds the page that answers: recall@k, MRR, and what is refused unread.

    python -m eval.retrieval --docs DIR --questions qa_pairs.jsonl [--split test] [--json]

Each line of the questions is an object with `question`, and `context_doc` or `context_docs` (paths
of the pages that answer it) or `answerable: false`; `split` is optional.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gateway.errors import AskdocsError
from gateway.grounding.ground import Grounding
from gateway.search import index
from gateway.sources import folder

RANKS = (1, 3, 5, 10)


@dataclass(frozen=True)
class Retrieval:
    """What was measured. Shares are between 0 and 1; None where there was no such question."""

    answerable: int
    unanswerable: int
    recall: dict[int, float]
    """By rank k: the share of answerable questions with one of their pages among the first k."""
    mrr: float | None
    false_refusals: float | None
    """The share of answerable questions that are refused without asking the model."""
    true_refusals: float | None
    """The same of unanswerable ones."""
    milliseconds: float
    """Per search."""


def measure(docs: Path, rows: list[dict[str, Any]]) -> Retrieval:
    """Search for every question. Raises AskdocsError as `folder.read`."""
    pages = folder.read(docs, "http://wiki/").pages
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "index.db"
        index.build(file, pages)
        found = index.Index(file)
        grounding = Grounding(found, _no_count)
        ranks: list[int | None] = []
        refused: dict[bool, list[bool]] = {True: [], False: []}
        began = time.monotonic()
        for row in rows:
            hits = found.search(row["question"], limit=max(RANKS))
            answerable = row.get("answerable", True)
            refused[answerable].append(not grounding.answers(row["question"], hits, None))
            if answerable:
                gold = {PurePosixPath(path).stem for path in _gold(row)}
                places = [n for n, h in enumerate(hits) if PurePosixPath(h.page.path).stem in gold]
                ranks.append(places[0] if places else None)
        took = (time.monotonic() - began) / max(1, len(rows))
        found.close()
    hit = [rank for rank in ranks if rank is not None]
    count = len(ranks)
    return Retrieval(
        answerable=count,
        unanswerable=len(refused[False]),
        recall={k: sum(rank < k for rank in hit) / count for k in RANKS} if count else {},
        mrr=sum(1 / (rank + 1) for rank in hit) / count if count else None,
        false_refusals=_share(refused[True]),
        true_refusals=_share(refused[False]),
        milliseconds=1000 * took,
    )


def read(file: Path, split: str | None) -> Iterator[dict[str, Any]]:
    """The rows, of one split if it is named. Raises AskdocsError with file and line."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AskdocsError(f"{file}: cannot be read: {error}") from None
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            known = isinstance(row["question"], str) and (
                row.get("answerable", True) is False or bool(_gold(row))
            )
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise AskdocsError(
                f"{file}:{number}: is not a JSON object with question and context_doc"
                " (or answerable: false)"
            )
        if split is None or row.get("split") == split:
            yield row


def _gold(row: dict[str, Any]) -> list[str]:
    return row.get("context_docs") or [row["context_doc"]]


def _share(values: list[bool]) -> float | None:
    return sum(values) / len(values) if values else None


async def _no_count(texts: Sequence[str]) -> list[int]:
    raise AssertionError("no tokens are counted here")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--split")
    parser.add_argument("--source", help="only rows whose field `source` is this")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        rows = [
            row
            for row in read(options.questions, options.split)
            if options.source is None or str(row.get("source", "")).startswith(options.source)
        ]
        found = asdict(measure(options.docs, rows))
    except AskdocsError as error:
        sys.exit(f"retrieval: {error}")
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        if isinstance(value, dict):
            print(f"{name:16}" + "  ".join(f"@{k} {share:.3f}" for k, share in value.items()))
        else:
            print(f"{name:16}{value:.3f}" if isinstance(value, float) else f"{name:16}{value}")


if __name__ == "__main__":
    main()
