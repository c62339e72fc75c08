"""How long it takes to score and compare 10,000 answers: `python research/timings/scoring.py`.

It makes a run of 11 systems and 910 questions in a temporary folder, and prints seconds of one
core: of the marks, of all statistics, and of the three files. Then seconds by the clock, on every
core, of the meanings of 10,000 answers of 60 words, of which no two are the same.
"""

import os
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.report import cost
from eval.report.build import report
from eval.report.html import html
from eval.report.markdown import markdown
from eval.scoring.scored import score
from eval.scoring.similarity import Similarity
from eval.systems.systems import NAMES
from tests.eval import runs
from tests.eval.runs import Behaviour
from wiki.index.embed import load

QUESTIONS = 910


def compare(place: Path) -> None:
    chance = random.Random(0)
    page = (Path(__file__).parents[2] / "research/notebook.md").read_text()
    words = [word for word in page.split() if word.isalpha()]
    texts = [" ".join(chance.choices(words, k=60)) for _ in range(11_000)]
    embedder = load()
    assert embedder
    pairs = [(text, texts[10_000 + number % 1000]) for number, text in enumerate(texts[:10_000])]
    Similarity(place, embedder).compare(pairs, lambda *_: None)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        does = {name: Behaviour(accuracy=0.3 + number / 20) for number, name in enumerate(NAMES)}
        run = runs.write(Path(place), does, runs.questions(QUESTIONS - 310, 310))
        began = time.process_time()
        scored = score(run)
        marked = time.process_time()
        made = report(scored, cost.read())
        compared = time.process_time()
        size = len(html(made)) + len(markdown(made)) + len(made.model_dump_json())
        ended = time.process_time()
        meanings = time.monotonic()
        compare(Path(place))
        meanings = time.monotonic() - meanings
    print(f"answers      {sum(len(found) for found in scored.marks.values()):,}")
    print(f"scores       {marked - began:.1f} s")
    print(f"statistics   {compared - marked:.1f} s")
    print(f"meanings     {meanings:.1f} s on {os.cpu_count()} cores")
    print(f"three files  {ended - compared:.1f} s, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
