"""What a model has learnt: its answers to examples that it was not trained on, beside the base's.

    python -m eval.studies.learnt --examples DIR/test.jsonl --keep answers.jsonl \\
        --model tuned=http://127.0.0.1:8101/v1 --model base=http://127.0.0.1:8102/v1

The examples are those of `askdocs dataset build`, and each engine is asked exactly their prompts,
greedily. Beside the models stand readers that understand nothing: one that answers with the first
sentence of the first page, one with the sentence that has most words of the question, and one that
always refuses. The first named model is compared with each other one, question by question.

What was answered is kept in the file of --keep, and is not asked again.
"""

import argparse
import asyncio
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from eval.running import lines
from eval.scoring.words import is_refusal, token_f1
from eval.statistics.bootstrap import Estimate, finite, in_brackets, mean
from eval.systems.trivial import Reader, always_refuse, best_overlap, first_sentence
from gateway.answering.facts import CITED
from gateway.core.errors import AskdocsError
from gateway.upstream.engine import Engine

_PAGE = re.compile(r'<page title="[^"]*">\n((?:(?!<page title=).)*?)\n</page>', re.DOTALL)
ASIDE = "Question: "


@dataclass(frozen=True)
class Example:
    """A line of a built dataset."""

    id: str
    """Of the prompt."""
    kind: str
    """grounded: the page that answers is there. refusal-...: no page answers."""
    position: int | None
    pages: int
    messages: list[dict[str, Any]]
    answer: str

    @property
    def answerable(self) -> bool:
        return self.kind == "grounded"

    @property
    def question(self) -> str:
        return str(self.messages[-1]["content"]).rpartition(ASIDE)[2]

    @property
    def texts(self) -> list[str]:
        """Of the pages, in their order."""
        return _PAGE.findall(str(self.messages[0]["content"]))


Answers = dict[str, str]
"""By the id of the example."""


BASELINES: Mapping[str, Reader] = {
    "first sentence": first_sentence,
    "best-overlap sentence": best_overlap,
    "always refuse": always_refuse,
}


def read(file: Path, limit: int | None = None) -> list[Example]:
    """The examples with pages.

    Raises:
        AskdocsError: with file and line, what is none.
    """
    examples = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise AskdocsError(f"{file}: cannot be read ({error.strerror})") from None
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            meta = row["meta"]
            example = Example(
                id=hashlib.sha256(json.dumps(row["prompt"]).encode()).hexdigest()[:16],
                kind=meta["kind"],
                position=meta["position"],
                pages=len(meta["pages"]),
                messages=row["prompt"],
                answer=CITED.sub("", row["completion"][0]["content"]),
            )
        except (ValueError, KeyError, TypeError, IndexError):
            raise AskdocsError(
                f"{file}:{number}: is no example: give a file that `askdocs dataset build` made"
            ) from None
        if example.kind != "closed-book":
            examples.append(example)
    # The file is in the order of its rows, which may be by page: a part of it is spread over all.
    step = max(1, len(examples) // limit) if limit else 1
    chosen = examples[::step][:limit]
    if not chosen:
        raise AskdocsError(f"{file}: has no example with pages: build with answerable rows")
    return chosen


async def ask(
    url: str, examples: Sequence[Example], known: Answers, progress: Callable[[str, str], None]
) -> Answers:
    """The answers of the engine at `url`. `progress` gets each new one as soon as it is there.

    Raises:
        AskdocsError, httpx.HTTPError: the engine is away, or refuses a prompt.
    """
    engine = Engine(url)
    answers = dict(known)
    at_once = asyncio.Semaphore(2)
    try:
        name = (await engine.model()).id
        async with httpx.AsyncClient(timeout=600) as http:

            async def ask_about(example: Example) -> None:
                body = {
                    "model": name,
                    "messages": example.messages,
                    "max_tokens": 160,
                    "temperature": 0,
                }
                async with at_once:
                    reply = await http.post(f"{url}/chat/completions", json=body)
                reply.raise_for_status()
                text = reply.json()["choices"][0]["message"]["content"] or ""
                answers[example.id] = text
                progress(example.id, text)

            await asyncio.gather(*(ask_about(e) for e in examples if e.id not in known))
    finally:
        await engine.close()
    return answers


def scores(examples: Sequence[Example], answers: Answers) -> dict[str, Estimate]:
    """Each number by its name, with its interval."""
    by_kind: dict[str, list[float]] = {}

    def add(name: str, value: float) -> None:
        by_kind.setdefault(name, []).append(value)

    for example in examples:
        text = CITED.sub("", answers[example.id])  # numbers of sections are no words
        refused = float(is_refusal(text))
        if not example.answerable:
            add("true refusals", refused)
            add(f"true refusals, {example.kind.removeprefix('refusal-')}", refused)
            continue
        score = 0.0 if refused else token_f1(text, example.answer)
        add("token F1", score)
        add("false refusals", refused)
        if not refused:
            add("token F1 where it answers", score)
        add(f"token F1, page {example.position} of {example.pages}", score)
        add(f"false refusals, page {example.position} of {example.pages}", refused)
    return {name: mean(values) for name, values in sorted(by_kind.items())}


def compare(examples: Sequence[Example], first: Answers, second: Answers) -> dict[str, Estimate]:
    """`first` minus `second`, question by question."""

    def differences(
        chosen: Iterable[Example], score: Callable[[Example, str], float]
    ) -> list[float]:
        return [score(e, first[e.id]) - score(e, second[e.id]) for e in chosen]

    answerable = [example for example in examples if example.answerable]
    others = [example for example in examples if not example.answerable]
    estimates = {
        "token F1": differences(
            answerable, lambda e, s: 0.0 if is_refusal(s) else token_f1(s, e.answer)
        ),
        "false refusals": differences(answerable, lambda _, s: float(is_refusal(s))),
        "true refusals": differences(others, lambda _, s: float(is_refusal(s))),
    }
    return {name: mean(values) for name, values in estimates.items() if values}


def _kept(file: Path | None) -> dict[str, Answers]:
    answers: dict[str, Answers] = {}
    if file and file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
                answers.setdefault(row["model"], {})[row["example"]] = row["answer"]
            except (ValueError, KeyError, TypeError):
                continue  # the end of a file whose writer was killed
    return answers


def _asked(options: argparse.Namespace, examples: Sequence[Example]) -> dict[str, Answers]:
    recorded = _kept(options.keep)
    answers: dict[str, Answers] = {}
    for given in options.model:
        name, _, url = given.partition("=")
        if not url:
            raise AskdocsError(f"--model {given}: write NAME=URL of its engine, with /v1")
        known = recorded.get(name, {})
        done = len(known)

        def keep_answer(example: str, text: str, name: str = name) -> None:
            nonlocal done
            done += 1
            if options.keep:
                with lines.appending(options.keep) as file:
                    row = {"model": name, "example": example, "answer": text}
                    file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            if sys.stderr.isatty():
                print(f"\r{name}: {done:,}", end="", file=sys.stderr, flush=True)

        answers[name] = asyncio.run(ask(url.rstrip("/"), examples, known, keep_answer))
    for name, reader in BASELINES.items():
        answers[name] = {e.id: reader(e.texts, e.question) for e in examples}
    return answers


def _show(facts: dict[str, Any]) -> Iterator[str]:
    names = list(facts["scores"])
    yield f"{facts['examples']:,} examples of {facts['file']}; 95 % intervals by bootstrap"
    yield f"\n| | {' | '.join(names)} |"
    yield f"|---|{'---|' * len(names)}"
    for row in sorted({row for rows in facts["scores"].values() for row in rows}):
        cells = (facts["scores"][name].get(row) for name in names)
        yield f"| {row} | {' | '.join(_interval(cell) if cell else '' for cell in cells)} |"
    for pair, differences in facts["differences"].items():
        sentences = (
            f"{name} {_interval(gap)}{', within noise' if gap.low <= 0 <= gap.high else ''}"
            for name, gap in differences.items()
        )
        yield f"\n{pair}: {'; '.join(sentences)}"


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} {in_brackets(estimate.low, estimate.high, '{:.3f}'.format)}"


def _plain(table: Mapping[str, Mapping[str, Estimate]]) -> dict[str, Any]:
    return {
        who: {
            name: {key: finite(round(value, 4)) for key, value in estimate._asdict().items()}
            for name, estimate in means.items()
        }
        for who, means in table.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=Path, required=True, help="file of dataset build")
    parser.add_argument("--model", action="append", required=True, metavar="NAME=URL")
    parser.add_argument("--keep", type=Path, help="file for the answers")
    parser.add_argument("--limit", type=int, help="ask so many, spread over the file")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        examples = read(options.examples, options.limit)
        answers = _asked(options, examples)
    except (AskdocsError, httpx.HTTPError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    first, *others = answers
    facts: dict[str, Any] = {
        "file": str(options.examples),
        "examples": len(examples),
        "scores": {name: scores(examples, given) for name, given in answers.items()},
        "differences": {
            f"{first} minus {second}": compare(examples, answers[first], answers[second])
            for second in others
        },
    }
    if options.json:
        plain = {key: _plain(facts[key]) for key in ("scores", "differences")}
        print(json.dumps({**facts, **plain}, indent=2))
    else:
        print("\n".join(_show(facts)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
