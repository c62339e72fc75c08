"""What inspect-ai keeps of a task, in its own environment."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from askdocs import environments
from tests import starting
from tests.parts import require

pytestmark = pytest.mark.slow

HOME = Path(os.environ.get("TEST_EVAL_HOME", starting.REPO / ".cache" / "eval"))
INSTALL = ".venv/bin/python -m askdocs.environments eval --home .cache/eval"
PROGRAM = """
import json
import inspect_ai
from eval.running.answer import Answer
from eval.questions.question import Question
from eval.running.tasks import task

there = {"id": "q1", "answer": "Press it.", "answerable": True, "text": "How?", "type": "how"}
nowhere = {"id": "q2", "answer": "", "answerable": False, "text": "Why?", "type": "why"}
asked = [Question(line=1, **each) for each in (there, nowhere)]

async def answering(id):
    return Answer(system="base-rag", question=id, text="Press it.")

for some in (asked, asked[:1], asked[1:]):
    of = task("base-rag", some, answering)
    (log,) = inspect_ai.eval(of, model=None, log_dir="logs", display="none")
    print(json.dumps({one.name: one.metrics["mean"].value for one in log.results.scores}))
"""


def test_only_what_was_asked_has_a_mean(tmp_path: Path) -> None:
    python = environments.find(environments.EVAL, HOME)
    require(python is not None, INSTALL)
    done = subprocess.run(
        [str(python), "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(starting.REPO), "XDG_DATA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    both, answerable, unanswerable = map(json.loads, done.stdout.splitlines())
    assert answerable == {"f1": 1.0, "contains": 1.0}
    assert unanswerable == {"refuses": 0.0}
    assert both == answerable | unanswerable
