"""What the gateway adds to embedding one short text: milliseconds over HTTP beside the bare model.

    ASKDOCS_KEY=... .venv/bin/python research/timings/embedding.py --url http://127.0.0.1:4000/v1

The two take turns, so that a busy machine is as busy for both; there, p10 is nearest to the truth.
No text comes twice.
"""

import argparse
import json
import os
import statistics
import time

import httpx

from wiki.index import embed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", required=True, help="base URL of the gateway, with /v1")
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()
    embedder = embed.load()
    if embedder is None:
        parser.exit(1, "embedding: the model is not installed: run make setup\n")
    headers = {"authorization": f"Bearer {os.environ.get('ASKDOCS_KEY', '')}"}
    bare, asked = [], []
    with httpx.Client(base_url=options.url, headers=headers, timeout=60) as http:
        for number in range(options.rounds):
            text = f"Where is coffee machine {number} on the second floor?"
            began = time.perf_counter()
            embedder.embed([text])
            between = time.perf_counter()
            reply = http.post("/embeddings", json={"model": "minilm", "input": text})
            ended = time.perf_counter()
            reply.raise_for_status()
            bare.append(1000 * (between - began))
            asked.append(1000 * (ended - between))
    told = {name: _shown(took) for name, took in (("bare", bare), ("gateway", asked))}
    print(json.dumps({"rounds": options.rounds, **told, "load": os.getloadavg()[0]}, indent=2))


def _shown(took: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(took, n=100)
    return {f"p{at}_ms": round(cuts[at - 1], 2) for at in (10, 50, 99)}


if __name__ == "__main__":
    main()
