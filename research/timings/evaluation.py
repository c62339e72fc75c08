"""What an evaluation adds to the time that its engine needs.

    .venv/bin/python research/timings/evaluation.py [--questions 1000] [--at-once 16] [--gap 0.029]

The system is given the right page of this project's own docs, and the engine is the stand-in
for GPUs (research/bench/gpu.py): it says the page word by word, 120 to 280 tokens, so that hardly
two answers are the same, and tells how long it took for each of them. Each has its written answer,
a line of the page, with which its meaning is compared. What the engine alone needs is as if each
question had been asked in the moment in which an answer ended. The environment is that of
.cache/eval, or of TEST_EVAL_HOME.
"""

import argparse
import heapq
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.running import answer, measured
from eval.scoring import similarity
from research.bench.gpu import GAP_S
from research.bench.sustained import timings, until_embedded
from research.bench.systems import engine
from tests import starting

SYSTEM = "base-oracle"  # whose answers nothing ends before the engine does
DOCS = starting.REPO / "docs"
HOME = Path(os.environ.get("TEST_EVAL_HOME", starting.REPO / ".cache" / "eval"))
LEAST = 80  # characters of a line that is asked for


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--gap", type=float, default=GAP_S, help="seconds between two tokens")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        evaluation(Path(place), options.questions, options.at_once, options.gap)


def evaluation(folder: Path, questions: int, at_once: int, gap: float) -> None:
    asked, run = folder / "rows.jsonl", folder / "run"
    asked.write_text("".join(json.dumps(row) + "\n" for row in rows(questions)))
    with engine("--gap", str(gap), module="research.bench.gpu") as upstream:
        serving = starting.gateway(folder, gateway_engine_url=upstream, gateway_docs=str(DOCS))
        with serving as gateway:
            until_embedded(folder / "index.db", lambda line: print(line, file=sys.stderr))
            gateway.home.mkdir(exist_ok=True)
            (gateway.home / "environments").symlink_to(HOME / "environments")
            argv: list[str | Path] = ["run", "--out", run, "--questions", asked, "--docs", DOCS]
            argv += ["--systems", SYSTEM, "--at-once", str(at_once)]
            argv += ["--url", gateway.url, "--key", starting.KEY]
            home = {
                "ASKDOCS_HOME": str(gateway.home),
                "ASKDOCS_GATEWAY_INDEX": str(folder / "index.db"),
            }
            command = _eval(argv, home)
            report = _eval(["report", run], home)
        alone = end([timing.last for timing in timings(upstream).values()], at_once)
    took = measured.read(run).took[SYSTEM]
    errors = sum(bool(one.error) for one in answer.latest(run).values())
    compared = len((run / similarity.FILE).read_text().splitlines())
    print(f"{compared} different answers compared, {errors} errors\n")
    print("| | seconds |\n|---|---|")
    print(f"| the engine alone | {alone:.1f} |")
    for name, seconds in (
        ("requests to the gateway", took.engine_s),
        ("the evaluation", took.wall_s),
        ("the command, with its start, the last meanings and the report", command),
    ):
        print(f"| {name} | {seconds:.1f} ({seconds / alone - 1:+.1%}) |")
    print(f"| `askdocs eval report` | {report:.1f} |")


def end(answers: Sequence[float], at_once: int) -> float:
    """When the last of these answers ends, in seconds, if so many are always under way."""
    ends = [0.0] * at_once
    for seconds in answers:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


def _eval(argv: Sequence[str | Path], home: Mapping[str, str]) -> float:
    """Seconds of `askdocs eval ...`."""
    began = time.monotonic()
    program = Path(sys.executable).with_name("askdocs")
    subprocess.run([program, "eval", *argv], env=os.environ | home, check=True, stdout=sys.stderr)
    return time.monotonic() - began


def rows(count: int) -> list[dict[str, str]]:
    """Questions with their written answers: lines of the docs, again and again if need be."""
    lines = [
        (page.name, line)
        for page in sorted(DOCS.rglob("*.md"))
        for line in page.read_text(encoding="utf-8").splitlines()
        if len(line) >= LEAST and line[0].isalpha() and "=" not in line
    ]
    found = []
    for number in range(count):
        page, line = lines[number % len(lines)]
        # With words of its own, so that no other one asks almost the same.
        asked = f"What is said in q{number} of {' '.join(line.split()[:8])} ({number})?"
        found.append({"question": asked, "answer": line, "context_doc": page})
    return found


if __name__ == "__main__":
    main()
