"""How long `askdocs dataset check` takes for many rows.

    .venv/bin/python -m research.timings.check --home .cache/dataset [--rows 15000]

The rows are made up: questions of 5 to 60 words, answers of 30 to 200, contexts of up to 300, of
20,000 words with the frequencies of a language; every twentieth question is nearly an earlier one.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from itertools import accumulate
from pathlib import Path

COMMAND = Path(sys.executable).with_name("askdocs")
WORDS = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=15_000)
    parser.add_argument("--home", type=Path, required=True, help="has the dataset environment")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        file = Path(name, "rows.jsonl")
        write(file, options.rows)
        words = ["dataset", "check", str(file), "--home", str(options.home), "--json"]
        began = time.monotonic()
        done = subprocess.run([COMMAND, *words], capture_output=True, text=True, check=False)
        seconds = time.monotonic() - began
        if done.returncode > 1:
            sys.exit(done.stderr)
        found = json.loads(done.stdout)
        size = file.stat().st_size / 1e6
    count = len(found["findings"])
    print(f"{options.rows:,} rows, {size:.0f} MB: {seconds:.0f} s, {count:,} findings")


def write(file: Path, count: int) -> None:
    chance = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 10))) for _ in range(WORDS)]
    weights = list(accumulate(1 / place for place in range(1, WORDS + 1)))

    def text(least: int, most: int) -> str:
        return " ".join(chance.choices(words, cum_weights=weights, k=chance.randint(least, most)))

    questions: list[str] = []
    with file.open("w", encoding="utf-8") as rows:
        for number in range(count):
            question = text(5, 60)
            if number % 20 == 19:
                question = chance.choice(questions) + " " + chance.choice(words)
            questions.append(question)
            row = {
                "question": question + "?",
                "answer": text(30, 200),
                "context": text(0, 300),
                "answerable": number % 8 != 0,
                "split": chance.choices(["train", "validation", "test"], [90, 5, 5])[0],
                "id": str(number),
            }
            rows.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
