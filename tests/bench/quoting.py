"""Writing against quoting: token F1 of a small model's answers to questions with a known section.

    .venv/bin/python tests/bench/quoting.py --engine http://127.0.0.1:PORT/v1 --docs DIR \
        --questions qa_pairs.jsonl --source sumo-kb-heading [--limit 20]

The questions are rows of `eval.retrieval` with an `answer`. The engine must have grammars
(llama.cpp, vLLM). What the gate lets through of written answers is scored too: a refusal is 0.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
from pathlib import Path

import httpx

from eval.retrieval import read
from gateway.engine import Engine
from gateway.grounding import prompt, quote
from gateway.grounding.excerpt import Excerpt, beginning, focus
from gateway.grounding.support import SentenceGate, Support
from gateway.search import index
from gateway.sources import folder
from gateway.wiki.words import stems


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engine", required=True)
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--source")
    parser.add_argument("--limit", type=int, default=20)
    options = parser.parse_args()
    pages = {Path(page.path).stem: page for page in folder.read(options.docs, "http://w/").pages}
    rows = [
        row
        for row in read(options.questions, None)
        if row.get("source") == options.source
        and (page := pages.get(Path(row["context_doc"]).stem))
        and len(page.text) < 4500  # so that the whole page is read
    ]
    random.Random(3).shuffle(rows)
    scores: dict[str, list[float]] = {"written": [], "written, gated": [], "quoted": []}
    engine = Engine(options.engine)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "index.db"
        index.build(file, list(pages.values()))
        found = index.Index(file)
        await engine.count("which engine is it?")
        for row in rows[: options.limit]:
            question, gold = row["question"], row["answer"]
            page = pages[Path(row["context_doc"]).stem]
            excerpts = [Excerpt(page, page.sections, 0)]
            section = focus(excerpts, question, found.idf(stems(question)))
            assert section is not None
            messages = prompt.render(excerpts, f"{beginning(section)}\n\nQuestion: {question}")
            written = answer(options.engine, messages, {})
            gate = SentenceGate(Support(excerpts, question, found.idf), 0.6)
            gate.feed(written)
            gate.close()
            grammar = await engine.constraint(quote.grammar(section))
            scores["written"].append(f1(written, gold))
            scores["written, gated"].append(0.0 if gate.refused else f1(gate.passed, gold))
            scores["quoted"].append(f1(answer(options.engine, messages, grammar), gold))
        found.close()
    await engine.close()
    for name, values in scores.items():
        print(f"| {name} | {statistics.mean(values):.2f} |")


def answer(url: str, messages: list[prompt.Message], more: dict[str, object]) -> str:
    body = {"messages": messages, "max_tokens": 120, "temperature": 0, "model": "base", **more}
    reply = httpx.post(f"{url}/chat/completions", json=body, timeout=300)
    reply.raise_for_status()
    return str(reply.json()["choices"][0]["message"]["content"])


def f1(said: str, gold: str) -> float:
    """Token F1 over distinct stems."""
    one, two = set(stems(said)), set(stems(gold))
    return 2 * len(one & two) / (len(one) + len(two)) if one & two else 0.0


if __name__ == "__main__":
    asyncio.run(main())
