"""An evaluation on the real engine: all systems, killed in the middle, and resumed."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from askdocs import environments
from eval.running import answer, measured, run
from eval.systems import systems as systems
from gateway.answering.grounding.prompt import fingerprint
from tests.end_to_end.running import COMMAND, REPO, Askdocs, up
from tests.parts import require

pytestmark = pytest.mark.slow

HOME = Path(os.environ.get("TEST_EVAL_HOME", REPO / ".cache" / "eval"))
INSTALL = ".venv/bin/python -m askdocs.environments eval --home .cache/eval"
TOLD = "You work at the desk of the office."
ROWS = [
    {
        "question": "How do I descale the coffee machine?",
        "answer": "Press the blue button for 7 seconds.",
        "context_doc": "docs/coffee.md",
    },
    {
        "question": "How do I book a train?",
        "answer": "Write to the travel desk.",
        "context_doc": "travel.md",
    },
    {"question": "What is the capital of France?", "answer": "", "answerable": False},
]
# Nothing is trained here: `docs` is the base model, which is asked once.
NAMES = [name for name in systems.NAMES if not name.startswith("tuned")] + [systems.RECORDED]


@pytest.fixture
def running(wiki: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Askdocs]:
    """With an alias that has instructions, which the gateway and the commands know."""
    require(environments.find(environments.EVAL, HOME) is not None, INSTALL)
    home = tmp_path / "home"
    home.mkdir()
    (home / "environments").symlink_to(HOME / "environments")
    docs = {"targets": "base", "grounding": True, "instructions": TOLD}
    aliases = json.dumps({"docs": docs})
    monkeypatch.setenv("ASKDOCS_GATEWAY_ALIASES", aliases)
    with up(home, wiki, up_prefill="false", gateway_aliases=aliases) as askdocs:
        yield askdocs


def test_an_evaluation_that_was_killed_goes_on_and_asks_nothing_twice(
    running: Askdocs, wiki: Path, tmp_path: Path
) -> None:
    rows, folder = tmp_path / "rows.jsonl", tmp_path / "run"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    words = ["eval", "run", "--questions", str(rows), "--docs", str(wiki), "--json"]
    words += ["--max-tokens", "16", "--out", str(folder)]
    recorded = tmp_path / "recorded.jsonl"
    recorded.write_text(
        "".join(
            json.dumps({"question": row["question"], "answer": "I do not know."}) + "\n"
            for row in ROWS
        )
    )
    words += ["--recorded", str(recorded)]

    argv = [COMMAND, *words, "--home", running.home]
    killed = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list(answer.read(folder))) < 7:
        assert killed.poll() is None, killed.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = list(answer.read(folder))
    assert len(before) < len(NAMES) * len(ROWS)
    with (folder / answer.FILE).open("ab") as file:
        file.write(b'{"system":"base-pa')  # half a line, as a kill may leave it

    refused = running.cli(*words)
    assert refused.returncode == 2
    assert "add --resume" in refused.stderr
    resumed = running.cli(*words, "--resume")
    assert resumed.returncode == 0, resumed.stderr

    told = json.loads(resumed.stdout)["systems"]
    assert {name: (one["answers"], one["errors"]) for name, one in told.items()} == {
        name: (len(ROWS), 0) for name in NAMES
    }
    answers = list(answer.read(folder))
    assert answers[: len(before)] == before
    asked = Counter((one.system, one.question) for one in answers)
    assert len(asked) == len(NAMES) * len(ROWS)
    assert set(asked.values()) == {1}
    latest = {
        (one.system, run.read(folder).questions.ids.index(one.question)): one for one in answers
    }
    for name in ("base-closed", "base-rag", "base-oracle"):
        one = latest[name, 0]
        assert one.text
        assert one.confidence is not None
        assert one.prompt_tokens > 0
        assert one.first_token_s is not None
    assert latest["base-oracle", 0].prompt_pages == ("coffee.md",)
    assert latest["base-pages", 0].found_pages
    assert latest["base-pages", 0].text.startswith("Press the blue button")
    assert latest["base-pages", 0].completion_tokens == 0  # quoted, as readers get it
    found = measured.read(folder)
    assert found.engine_bytes["base-rag"] > 50e6
    made = run.read(folder)
    assert (made.answers, made.models["base"].serves) == ("quote", "SmolLM2-135M-Instruct")
    assert made.prompt_fingerprint == fingerprint(TOLD)
    assert made.rag is not None
    assert made.rag.budget == made.page_budget
    assert made.provenance.versions["gateway"] == made.provenance.versions["askdocs"]
    assert set(found.index_bytes) == {"pages", "rag"}
