"""Puts a second page beside the page of each example, in both orders, to measure its position.

    python -m research.studies.orders --examples DIR/test.jsonl --out orders.jsonl
    python -m research.studies.learnt --examples orders.jsonl --docs FOLDER --model ...

The examples come from `askdocs dataset build` with one page in a prompt. The second page is that of
another example: of those pages, the one with most words of the question. Each example is written
twice, with the page that answers first and second; `research.studies.learnt` compares the two. The
file is for measuring only: its answers have no citations, as the numbers of sections change.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import AskdocsError
from gateway.answering.grounding.prompt import PAGE
from research.studies.learnt import Example, read
from wiki.pages.words import content_words

_NUMBER = re.compile(r"^\[(\d+)\] ", re.MULTILINE)


def in_both_orders(examples: Sequence[Example]) -> Iterator[dict[str, Any]]:
    """Two lines of a dataset for each answerable example with one page."""
    alone = [example for example in examples if example.answerable and len(example.pages) == 1]
    blocks = {example.pages[0]: block_of(example) for example in alone}
    for example in alone:
        (path,) = example.pages
        own = block_of(example)
        second = nearest(example.question, {p: b for p, b in blocks.items() if p != path})
        system, *rest = example.messages
        pages = [(path, own), (second, blocks[second])]
        for position, order in ((1, pages), (2, pages[::-1])):
            text = "\n\n".join(renumbered([block for _, block in order]))
            content = system["content"].replace(own, text)
            yield {
                "prompt": [{**system, "content": content}, *rest],
                "completion": [{"role": "assistant", "content": example.answer}],
                "meta": {
                    "kind": example.kind,
                    "position": position,
                    "pages": [p for p, _ in order],
                },
            }


def block_of(example: Example) -> str:
    """The page of a prompt that has one, with its frame."""
    found = PAGE.search(str(example.messages[0]["content"]))
    assert found, example.id
    return found[0]


def nearest(question: str, blocks: Mapping[str, str]) -> str:
    """The path of the page with most words of the question; of several, the first by path.

    Raises AskdocsError: there is no page.
    """
    if not blocks:
        raise AskdocsError("all examples have the same page: name a file with several pages")
    words = set(content_words(question))

    def shared(path: str) -> int:
        return len(words.intersection(content_words(blocks[path])))

    return max(sorted(blocks), key=shared)


def renumbered(blocks: Sequence[str]) -> list[str]:
    """The pages of one prompt, with their sections numbered on."""
    number = 0
    texts = []
    for text in blocks:
        own = 0

        def numbered(found: re.Match[str]) -> str:
            nonlocal own, number
            if int(found[1]) != own + 1:  # a list of the page's own
                return found[0]
            own += 1
            number += 1
            return f"[{number}] "

        texts.append(_NUMBER.sub(numbered, text))
    return texts


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=Path, required=True, help="file of dataset build")
    parser.add_argument("--out", type=Path, required=True, help="new file")
    options = parser.parse_args()
    try:
        rows = [*in_both_orders(read(options.examples))]
        if not rows:
            raise AskdocsError(
                f"{options.examples}: has no answerable example with one page: build with"
                " --budget 200"
            )
    except AskdocsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    options.out.write_text(text, encoding="utf-8")
    print(f"{options.out}: {len(rows) // 2:,} questions, each with two pages in both orders")
    return 0


if __name__ == "__main__":
    sys.exit(main())
