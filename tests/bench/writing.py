"""Milliseconds to the first token of a written answer: the writer alone, and through the gateway.

    .venv/bin/python tests/bench/writing.py [--rounds 20]

The recorded writer answers at once (eval/bench/writer.py), so that the difference is the gateway's:
search, reading the pages, counting tokens, and passing on. Also the time from the last token to the
last chunk, in which the answer is checked.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from tests import starting

FOLDER = Path(__file__).parents[1] / "answers"
AUTH = {"authorization": f"Bearer {starting.KEY}"}


def ask(http: httpx.Client, url: str, model: str, question: str) -> tuple[float, float] | None:
    """Seconds to the first token, and from the last one to the end; None: no answer."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": question}]}
    began = time.perf_counter()
    first = last = 0.0
    with http.stream("POST", f"{url}/chat/completions", json=body, headers=AUTH) as reply:
        for line in reply.iter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line[6:])
            if chunk.get("askdocs", {}).get("reason") == "no_page":
                return None
            if any(choice["delta"].get("content") for choice in chunk.get("choices", [])):
                last = time.perf_counter()
                first = first or last
    return (first - began, time.perf_counter() - last) if first else None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    file = FOLDER / "own_docs.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    questions = [row["question"] for row in rows if row["kind"] == "good"]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with (
            starting.writer(folder, file) as writer,
            starting.gateway(
                folder,
                gateway_engine_url=writer,
                gateway_docs=str(FOLDER / "wiki"),
                gateway_max_pages="3",
            ) as gateway,
            httpx.Client(timeout=60) as http,
        ):
            alone, through = [], []
            for number in range(options.rounds * len(questions)):
                question = questions[number % len(questions)]
                one = ask(http, writer, "writer", question)
                other = ask(http, gateway.url, "docs", question)
                if one and other and number >= len(questions):  # the first round warms up
                    alone.append(one)
                    through.append(other)
    ms = 1000
    one = statistics.median(first for first, _ in alone) * ms
    other = statistics.median(first for first, _ in through) * ms
    check = statistics.median(end for _, end in through) * ms
    print(
        f"{len(alone)} answers; first token p50: writer {one:.1f} ms, gateway {other:.1f} ms,"
        f" added {other - one:.1f} ms; last token to last chunk p50 {check:.1f} ms"
    )


if __name__ == "__main__":
    main()
