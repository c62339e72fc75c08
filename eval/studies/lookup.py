"""How many tokens a step of n-gram speculative decoding writes, on answers that are known.

    python -m eval.studies.lookup ANSWERS.jsonl --docs FOLDER --tokenizer tokenizer.json

ANSWERS.jsonl and FOLDER are those of eval/studies/check.py; only answers of the kind `good` count.
No model runs: the draft follows from the tokens so far (vLLM's ngram_proposer.py: the longest
n-gram of the end, where it stood first, and what followed it there), and a step writes what of the
draft is the answer, and one token more. So the result depends on no machine. A step that verifies a
draft takes about as long as a plain one while few answers are written at once; with many, longer.
"""

import argparse
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tokenizers import Tokenizer

from eval.studies import check
from gateway.answering.grounding.prompt import render

SAMPLES = 1000
# Tokens of a draft, and lengths of the n-grams that find it.
DRAFTS, GRAMS = (3, 5, 8), ((2, 5), (3, 5), (5, 5))


class Lookup:
    """Finds drafts in tokens that grow."""

    def __init__(self, tokens: Iterable[int], least: int, most: int) -> None:
        """`least` to `most`: lengths of the n-grams."""
        self._sizes = range(most, least - 1, -1)
        self._tokens: list[int] = []
        self._first: dict[tuple[int, ...], int] = {}
        self.add(tokens)

    def add(self, tokens: Iterable[int]) -> None:
        for token in tokens:
            # Only now does something follow on the n-grams that end before it.
            for size in self._sizes:
                if len(self._tokens) >= size:
                    self._first.setdefault(tuple(self._tokens[-size:]), len(self._tokens))
            self._tokens.append(token)

    def draft(self, most: int) -> list[int]:
        """At most so many tokens; none where the end stands nowhere else."""
        for size in self._sizes:
            if len(self._tokens) >= size:
                place = self._first.get(tuple(self._tokens[-size:]))
                if place is not None:
                    return self._tokens[place : place + most]
        return []


def steps(prompt: Iterable[int], answer: Sequence[int], k: int, least: int, most: int) -> int:
    """That the answer takes, with drafts of `k` tokens."""
    lookup, at, count = Lookup(prompt, least, most), 0, 0
    while at < len(answer):
        accepted = 0
        for token in lookup.draft(k):
            if at + accepted >= len(answer) or token != answer[at + accepted]:
                break
            accepted += 1
        written = answer[at : at + accepted + 1]
        lookup.add(written)
        at += len(written)
        count += 1
    return count


@dataclass(frozen=True)
class Result:
    """Of one setting."""

    k: int
    least: int
    most: int
    tokens_per_step: float
    low: float
    high: float
    """The 95 % interval, drawn by answer."""


def measure(pairs: Sequence[tuple[list[int], list[int]]]) -> list[Result]:
    """The settings, the fastest first; a pair is a prompt and its answer, as tokens."""
    chance, results = random.Random(0), []  # noqa: S311
    lengths = [len(answer) for _, answer in pairs]
    for k in DRAFTS:
        for least, most in GRAMS:
            taken = [steps(prompt, answer, k, least, most) for prompt, answer in pairs]
            drawn = []
            for _ in range(SAMPLES):
                rows = chance.choices(range(len(pairs)), k=len(pairs))
                drawn.append(sum(lengths[n] for n in rows) / sum(taken[n] for n in rows))
            drawn.sort()
            low, high = drawn[int(0.025 * SAMPLES)], drawn[int(0.975 * SAMPLES)]
            results.append(Result(k, least, most, sum(lengths) / sum(taken), low, high))
    return sorted(results, key=lambda result: -result.tokens_per_step)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("answers", type=Path)
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="answers at most")
    options = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(options.tokenizer))

    def ids(text: str) -> list[int]:
        numbers: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return numbers

    wiki = check.Wiki(options.docs)
    pairs = []
    for given in check.read(options.answers):
        if given.kind == "good" and given.pages:
            messages = render(wiki.excerpts(given.pages), given.question)
            text = "\n".join(str(message["content"]) for message in messages)
            pairs.append((ids(text), ids(given.text)))
    pairs = pairs[: options.limit]
    if not pairs:
        parser.error(f"{options.answers}: has no answer of the kind `good` with pages")
    sizes = {
        "answers": len(pairs),
        "prompt_tokens": round(sum(len(prompt) for prompt, _ in pairs) / len(pairs)),
        "answer_tokens": round(sum(len(answer) for _, answer in pairs) / len(pairs)),
    }
    print(
        json.dumps({**sizes, "settings": [asdict(result) for result in measure(pairs)]}, indent=2)
    )


if __name__ == "__main__":
    main()
