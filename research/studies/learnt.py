"""What a model has learnt: its answers to examples that it was not trained on, beside the base's.

    python -m research.studies.learnt --examples DIR/test.jsonl --keep answers.jsonl \\
        --docs FOLDER --model tuned#0=http://127.0.0.1:8101/v1 \\
        --model tuned#1=http://127.0.0.1:8102/v1 --model base=http://127.0.0.1:8103/v1

The examples come from `askdocs dataset build`, and each engine gets exactly their prompts, with
greedy decoding. Trivial baselines are included: one answers with the first sentence of the first
page, one with the sentence that shares most words with the question, and one always refuses. The
first model is compared with each other one, question by question.

Models that differ only after `#` are seeds of the same arm. An arm's score on a question is the
mean over its seeds, so intervals are over questions; the lowest and highest seed show the spread.
With --docs the claim checker judges the answers by the whole pages of their prompts.

Where a file has a question with the same two pages in both orders (`research.studies.orders`), the
scores with the page that answers first are compared with those with it second, by question.

Answers are stored in the file of --keep and not requested again: `--model NAME` without a URL reads
them from there.
"""

import argparse
import asyncio
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import httpx

from core.errors import AskdocsError
from eval.running import lines
from eval.scoring.check import LabelledPages
from eval.scoring.words import is_refusal, normalised, token_f1
from eval.statistics.bootstrap import Estimate, finite, in_brackets, mean
from eval.systems.trivial import Reader, always_refuse, best_overlap, first_sentence
from gateway.answering.check import Check
from gateway.answering.facts import CITED
from gateway.answering.grounding.prompt import PAGE
from gateway.upstream.engine import Engine

ASIDE = "Question: "
SEED = "#"
# Minimum run of words shared with a page that counts as a quotation.
QUOTED = 8
COMPARED = (
    *("token F1", "claims supported", "every claim supported", "quotes its pages"),
    *("false refusals", "true refusals"),
)
# Compared between the two orders of two pages.
BY_ORDER = (
    *("token F1", "claims supported", "claims supported by the page that answers"),
    *("quotes the page that answers", "quotes another page", "false refusals"),
)


@dataclass(frozen=True)
class Example:
    """A line of a built dataset."""

    id: str
    """Of the prompt."""
    kind: str
    """grounded: the gold page is present. refusal-...: no page answers."""
    position: int | None
    pages: tuple[str, ...]
    """Their paths, in order."""
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
        """The pages' texts, in order."""
        return PAGE.findall(str(self.messages[0]["content"]))


Answers = dict[str, str]
"""By example id."""


BASELINES: Mapping[str, Reader] = {
    "first sentence": first_sentence,
    "best-overlap sentence": best_overlap,
    "always refuse": always_refuse,
}


def read(file: Path, limit: int | None = None) -> list[Example]:
    """The examples with pages.

    Raises:
        AskdocsError: with file and line, a line is invalid.
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
                pages=tuple(meta["pages"]),
                messages=row["prompt"],
                answer=CITED.sub("", row["completion"][0]["content"]),
            )
        except (ValueError, KeyError, TypeError, IndexError):
            raise AskdocsError(
                f"{file}:{number}: is not an example: name a file that `askdocs dataset build` "
                "wrote"
            ) from None
        if example.kind != "closed-book":
            examples.append(example)
    # The file is sorted by row, perhaps by page: spread a part over all of it.
    step = max(1, len(examples) // limit) if limit else 1
    chosen = examples[::step][:limit]
    if not chosen:
        raise AskdocsError(f"{file}: has no example with pages: build with answerable rows")
    return chosen


async def ask(
    url: str,
    examples: Sequence[Example],
    known: Answers,
    progress: Callable[[str, str], None],
    max_tokens: int = 160,
    concurrency: int = 2,
) -> Answers:
    """The answers of the engine at `url`. `progress` receives each new answer at once.

    Raises:
        AskdocsError, httpx.HTTPError: the engine is unavailable, or refuses a prompt.
    """
    engine = Engine(url)
    answers = dict(known)
    at_once = asyncio.Semaphore(concurrency)
    try:
        name = (await engine.model()).id
        async with httpx.AsyncClient(timeout=600) as http:

            async def ask_about(example: Example) -> None:
                body = {
                    "model": name,
                    "messages": example.messages,
                    "max_tokens": max_tokens,
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


class Support:
    """The share of an answer's claims that the pages of its prompt support.

    Args:
        docs: folder of the wiki.

    Raises:
        AskdocsError: a page of an example is missing there.
    """

    def __init__(self, docs: Path, examples: Iterable[Example]) -> None:
        self._wiki = LabelledPages(docs)
        for example in examples:
            self._wiki.excerpts(example.pages)

    def __call__(self, example: Example, answer: str) -> float | None:
        """None: it makes no claim."""
        excerpts = self._wiki.excerpts(example.pages)
        check = Check(excerpts, self._wiki.idf, asked=example.question)
        claims = asyncio.run(check.claims(answer))
        verdicts = [claim.verdict for claim in claims if claim.verdict != "none"]
        return verdicts.count("supported") / len(verdicts) if verdicts else None


Measure = Callable[[Example, str], dict[str, float]]


def measure(
    example: Example, answer: str, support: Callable[[Example, str], float | None] | None = None
) -> dict[str, float]:
    """The scores of an answer, by name."""
    text = CITED.sub("", answer)  # section numbers are not words
    refused = float(is_refusal(text))
    if not example.answerable:
        kind = example.kind.removeprefix("refusal-")
        return {"true refusals": refused, f"true refusals, {kind}": refused}
    score = 0.0 if refused else token_f1(text, example.answer)
    place = f"page {example.position} of {len(example.pages)}"
    measured = {
        "token F1": score,
        f"token F1, {place}": score,
        "false refusals": refused,
        f"false refusals, {place}": refused,
    }
    if refused:
        return measured
    measured["token F1 where it answers"] = score
    measured["quotes its pages"] = float(quotes(text, example.texts))
    share = support(example, answer) if support else None
    if share is not None:
        measured["claims supported"] = share
        measured["every claim supported"] = float(share == 1)
    if example.position and len(example.texts) == len(example.pages) > 1:
        gold = example.position - 1
        others = example.texts[:gold] + example.texts[gold + 1 :]
        measured["quotes the page that answers"] = float(quotes(text, [example.texts[gold]]))
        measured["quotes another page"] = float(quotes(text, others))
        alone = replace(example, pages=(example.pages[gold],))
        share = support(alone, answer) if support else None
        if share is not None:
            measured["claims supported by the page that answers"] = share
    return measured


def quotes(answer: str, pages: Iterable[str]) -> bool:
    """Does the answer share QUOTED consecutive words with a page?"""
    there = {run for page in pages for run in _runs(page)}
    return not there.isdisjoint(_runs(answer))


def _runs(text: str) -> Iterator[tuple[str, ...]]:
    words = normalised(text)
    return (tuple(words[at : at + QUOTED]) for at in range(len(words) - QUOTED + 1))


Measured = list[dict[str, float]]
"""Values by example, in order."""


def over_seeds(seeds: Sequence[Measured]) -> Measured:
    """The mean of each example's scores over its seeds."""
    together = []
    for rows in zip(*seeds, strict=True):
        names = {name for row in rows for name in row}
        together.append({name: fmean(row[name] for row in rows if name in row) for name in names})
    return together


def scores(measured: Measured) -> dict[str, Estimate]:
    """Each score by name, with its interval over examples."""
    names = sorted({name for row in measured for name in row})
    return {name: mean([row[name] for row in measured if name in row]) for name in names}


def compare(first: Measured, second: Measured) -> dict[str, Estimate]:
    """`first` minus `second`, example by example."""
    pairs = list(zip(first, second, strict=True))
    differences = {
        name: [one[name] - other[name] for one, other in pairs if name in one and name in other]
        for name in COMPARED
    }
    return {name: mean(values) for name, values in differences.items() if values}


def by_order(examples: Sequence[Example], measured: Measured) -> dict[str, Estimate]:
    """Scores with the page that answers first, minus those with it second, question by question.

    Empty: no question has two pages in both orders.
    """
    found: dict[tuple[str, frozenset[str]], dict[int, dict[str, float]]] = {}
    for example, row in zip(examples, measured, strict=True):
        if example.position and len(example.pages) == 2:
            question = example.question, frozenset(example.pages)
            found.setdefault(question, {})[example.position] = row
    pairs = [rows for rows in found.values() if len(rows) == 2]
    differences = {
        name: [
            rows[1][name] - rows[2][name] for rows in pairs if name in rows[1] and name in rows[2]
        ]
        for name in BY_ORDER
    }
    return {name: mean(values) for name, values in differences.items() if values}


def _stored_answers(file: Path | None) -> dict[str, Answers]:
    answers: dict[str, Answers] = {}
    if file and file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
                answers.setdefault(row["model"], {})[row["example"]] = row["answer"]
            except (ValueError, KeyError, TypeError):
                continue  # a line truncated by a kill
    return answers


def _asked(options: argparse.Namespace, examples: Sequence[Example]) -> dict[str, Answers]:
    recorded = _stored_answers(options.keep)
    answers: dict[str, Answers] = {}
    for given in options.model:
        name, _, url = given.partition("=")
        known = recorded.get(name, {})
        if not url:
            if any(example.id not in known for example in examples):
                raise AskdocsError(f"--model {given}: write NAME=URL of its engine, with /v1")
            answers[name] = known
            continue
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

        answers[name] = asyncio.run(
            ask(url.rstrip("/"), examples, known, keep_answer, options.max_tokens, options.at_once)
        )
    for name, reader in BASELINES.items():
        answers[name] = {e.id: reader(e.texts, e.question) for e in examples}
    return answers


def _show(facts: dict[str, Any]) -> Iterator[str]:
    arms = facts["scores"]
    yield f"{facts['examples']:,} examples of {facts['file']}; 95 % intervals by bootstrap"
    yield f"\n| | {' | '.join(arms)} |"
    yield f"|---|{'---|' * len(arms)}"
    for row in sorted({row for rows in arms.values() for row in rows}):
        cells = (_cell(facts, arm, row) for arm in arms)
        yield f"| {row} | {' | '.join(cells)} |"
    for pair, differences in facts["differences"].items():
        yield f"\n{pair}: {_differences(differences)}"
    for model, differences in facts["first_minus_second"].items():
        if differences:
            yield f"\n{model}, page that answers first minus second: {_differences(differences)}"


def _differences(differences: Mapping[str, Estimate]) -> str:
    return "; ".join(
        f"{name} {_interval(gap)}{', within noise' if gap.low <= 0 <= gap.high else ''}"
        for name, gap in differences.items()
    )


def _cell(facts: dict[str, Any], arm: str, row: str) -> str:
    if row not in facts["scores"][arm]:
        return ""
    of_seeds = [seed[row].value for seed in facts["seeds"].get(arm, ()) if row in seed]
    spread = f", seeds {min(of_seeds):.3f} to {max(of_seeds):.3f}" if of_seeds else ""
    return f"{_interval(facts['scores'][arm][row])}{spread}"


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} {in_brackets(estimate.low, estimate.high, '{:.3f}'.format)}"


def _plain(table: Mapping[Any, Mapping[str, Estimate]]) -> dict[str, Any]:
    return {
        reader: {
            name: {key: finite(round(value, 4)) for key, value in estimate._asdict().items()}
            for name, estimate in means.items()
        }
        for reader, means in table.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=Path, required=True, help="file of dataset build")
    parser.add_argument("--model", action="append", required=True, metavar="NAME[=URL]")
    parser.add_argument("--docs", type=Path, help="folder of the wiki, to check the answers")
    parser.add_argument("--keep", type=Path, help="file for the answers")
    parser.add_argument("--limit", type=int, help="number of examples, spread over the file")
    parser.add_argument("--max-tokens", type=int, default=160, help="maximum tokens of an answer")
    parser.add_argument("--at-once", type=int, default=2, help="concurrent requests")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        examples = read(options.examples, options.limit)
        support = Support(options.docs, examples) if options.docs else None
        answers = _asked(options, examples)
    except (AskdocsError, httpx.HTTPError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    arms: dict[str, list[Measured]] = {}
    models: dict[str, Measured] = {}
    for name, given in answers.items():
        rows = [measure(example, given[example.id], support) for example in examples]
        models[name] = rows
        arms.setdefault(name.partition(SEED)[0], []).append(rows)
    measured = {arm: over_seeds(seeds) for arm, seeds in arms.items()}
    first = next(iter(measured))
    facts: dict[str, Any] = {
        "file": str(options.examples),
        "examples": len(examples),
        "scores": {arm: scores(rows) for arm, rows in measured.items()},
        "seeds": {arm: [*map(scores, seeds)] for arm, seeds in arms.items() if len(seeds) > 1},
        "differences": {
            f"{first} minus {other}": compare(measured[first], rows)
            for other, rows in measured.items()
            if other != first
        },
        "first_minus_second": {
            name: by_order(examples, rows) for name, rows in {**measured, **models}.items()
        },
    }
    if options.json:
        plain = {key: _plain(facts[key]) for key in ("scores", "differences", "first_minus_second")}
        seeds = {
            arm: [*_plain(dict(enumerate(each))).values()] for arm, each in facts["seeds"].items()
        }
        print(json.dumps({**facts, **plain, "seeds": seeds}, indent=2))
    else:
        print("\n".join(_show(facts)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
