"""What an exam adds to the time that its engine needs.

    .venv/bin/python tests/bench/exam.py [--questions 1000] [--at-once 16]

The engine is the fake one of the benchmark, which writes 20 chunks in one second, however many ask;
it needs no processor, so all that is added is the exam's and the gateway's. The environment is that
of .cache/eval, or of TEST_EVAL_HOME.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from askdocs.checks import free_port
from tests import starting

CHUNKS, GAP = 20, 0.05
HOME = Path(os.environ.get("TEST_EVAL_HOME", starting.REPO / ".cache" / "eval"))
PAGE = "# Valves\n\nA valve is opened by turning it left.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=16)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        took = exam(Path(place), options.questions, options.at_once)
    alone = options.questions * CHUNKS * GAP / options.at_once
    print("| | seconds |\n|---|---|")
    print(f"| the engine alone | {alone:.1f} |")
    for name, seconds in (
        ("requests to the gateway", took["engine_s"]),
        ("the exam", took["wall_s"]),
    ):
        print(f"| {name} | {seconds:.1f} ({seconds / alone - 1:+.1%}) |")


def exam(folder: Path, questions: int, at_once: int) -> dict[str, float]:
    """What a contender that is asked all questions took."""
    docs, rows, port = folder / "docs", folder / "rows.jsonl", free_port()
    docs.mkdir()
    (docs / "valves.md").write_text(PAGE)
    text = {"answer": "Turn it left.", "context_doc": "valves.md"}
    asked = [{"question": f"How do I open valve {n}?", **text} for n in range(questions)]
    rows.write_text("".join(json.dumps(row) + "\n" for row in asked))
    engine = [sys.executable, "-m", "eval.bench.upstream", "--port", str(port)]
    upstream = subprocess.Popen([*engine, "--chunks", str(CHUNKS), "--gap", str(GAP)])
    url = f"http://127.0.0.1:{port}/v1"
    try:
        with starting.gateway(folder, gateway_engine_url=url, gateway_docs=str(docs)) as gateway:
            gateway.home.mkdir(exist_ok=True)
            (gateway.home / "environments").symlink_to(HOME / "environments")
            argv = [Path(sys.executable).with_name("askdocs"), "eval", "run"]
            argv += ["--questions", rows, "--docs", docs, "--contenders", "base-closed"]
            argv += ["--url", gateway.url, "--key", starting.KEY, "--at-once", str(at_once)]
            variables = {
                "ASKDOCS_HOME": str(gateway.home),
                "ASKDOCS_GATEWAY_INDEX": str(folder / "index.db"),
            }
            told = subprocess.run(
                [*argv, "--json"], env=os.environ | variables, stdout=subprocess.PIPE, check=True
            )
    finally:
        upstream.terminate()
        upstream.wait()
    took: dict[str, float] = json.loads(told.stdout)["contenders"]["base-closed"]["took"]
    return took


if __name__ == "__main__":
    main()
