"""Does the exam measure what is there? Engines whose accuracy was set, through the whole of it."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from askdocs import environments
from eval.rag import measure as sweeps
from eval.rag import settings
from eval.rag.settings import RagSettings
from eval.report.report import Contender, Report, read
from tests import starting
from tests.eval import facts
from tests.eval.scripted import Script, Scripted, scripted, share
from tests.parts import require

pytestmark = pytest.mark.slow

HOME = Path(os.environ.get("TEST_EVAL_HOME", starting.REPO / ".cache" / "eval"))
INSTALL = ".venv/bin/python -m askdocs.environments eval --home .cache/eval"
ASKDOCS = Path(sys.executable).with_name("askdocs")
EVERYTHING = facts.facts()
ANSWERED = [fact.question for fact in EVERYTHING if fact.page]
NOT_ANSWERED = [fact.question for fact in EVERYTHING if not fact.page]
# Every third answerable question was in the training of the tuned model.
LEAKED = ANSWERED[::3]

SCRIPTS = {
    "sixty": Script(share(ANSWERED, 0.6, "a"), share(NOT_ANSWERED, 0.5, "a")),
    "ninety": Script(share(ANSWERED, 0.9, "b"), share(NOT_ANSWERED, 0.8, "b")),
    "refusing": Script(frozenset(), frozenset([*ANSWERED, *NOT_ANSWERED])),
    "leaking": Script(frozenset(LEAKED), frozenset(NOT_ANSWERED)),
}


class Setting(NamedTuple):
    """A gateway in front of the scripted engine, and what it is asked."""

    folder: Path
    gateway: starting.Gateway
    engine: Scripted
    docs: Path
    questions: Path

    @property
    def environment(self) -> dict[str, str]:
        """Of `askdocs` there."""
        index = str(self.folder / "index.db")
        return os.environ | {
            "ASKDOCS_HOME": str(self.gateway.home),
            "ASKDOCS_GATEWAY_INDEX": index,
        }


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    require(environments.find(environments.EVAL, HOME) is not None, INSTALL)
    folder = tmp_path_factory.mktemp("exam")
    docs, questions = facts.write(folder)
    answers = {fact.question: fact.answer for fact in EVERYTHING}
    with scripted(SCRIPTS, answers) as engine:
        models = {name: {"url": engine.url, "model": name} for name in engine.models}
        with starting.gateway(
            folder,
            gateway_engine_url=engine.url,
            gateway_engine_model="sixty",
            gateway_docs=str(docs),
            gateway_max_pages="2",
            gateway_models=json.dumps(models),
        ) as gateway:
            (gateway.home / "environments").symlink_to(HOME / "environments")
            yield Setting(folder, gateway, engine, docs, questions)


def exam(setting: Setting, name: str, base: str, tuned: str, *more: str) -> Report:
    """What `askdocs eval run` and `askdocs eval report` say of two models."""
    run = setting.folder / name
    models = ["--base", base, "--tuned", tuned]
    asked = ["--questions", str(setting.questions), "--docs", str(setting.docs)]
    place = ["--url", setting.gateway.url, "--key", starting.KEY, "--out", str(run)]
    compared = []
    for argv in (["run", *asked, *models, *place, *more], ["report", str(run)]):
        done = subprocess.run(
            [ASKDOCS, "eval", *argv], capture_output=True, text=True, env=setting.environment
        )
        assert done.returncode == 0, done.stderr[-3000:]
        compared.append((run / "similar.jsonl").read_text())
    assert compared[0] == compared[1]  # the run has left nothing to compare
    return read(run)


def of(report: Report, name: str) -> Contender:
    found = report.contender(name)
    assert found is not None
    return found


def holds(contender: Contender, measure: str, value: float) -> None:
    """The measured number is that value, and so is its interval's inside."""
    found: Any = contender.measures[measure]
    assert found.value == pytest.approx(value, abs=1e-9), (contender.name, measure)
    assert found.low <= value <= found.high


def test_accuracies_that_were_set_are_measured(setting: Setting) -> None:
    names = "base-closed,base-rag,tuned-oracle,base-pages,tuned-pages,always-refuse"
    report = exam(setting, "set", "sixty", "ninety", "--contenders", names)
    assert report.questions == {"answerable": 60, "unanswerable": 40, "leaked": 0}
    # What was set does not depend on what is in the prompt.
    for name in ("base-closed", "base-rag", "tuned-oracle"):
        right, refused = (0.6, 0.5) if name.startswith("base") else (0.9, 0.8)
        contender = of(report, name)
        for measure in ("accuracy", "token_f1", "containment"):
            holds(contender, measure, right)
        holds(contender, "false_refusals", 0.0)
        if name != "tuned-oracle":  # where no page answers and none is found, it asks no model
            holds(contender, "hallucinated", 1 - refused)
            holds(contender, "true_refusals", refused)
    # The product may refuse more than its model does, and says nothing that the model did not.
    pages = {role: of(report, f"{role}-pages").measures for role in ("base", "tuned")}
    assert 0.4 <= pages["base"]["accuracy"].value <= 0.6
    assert pages["base"]["accuracy"].value + 0.2 < pages["tuned"]["accuracy"].value <= 0.9
    # Two pages stand in a prompt in the order of their paths, and the search has ranked them.
    places = {
        place: found["accuracy"].n
        for place, found in of(report, "tuned-pages").groups["position"].items()
    }
    assert places["2"] > 0
    assert pages["tuned"]["recall_1"].value > places["1"] / len(ANSWERED)
    better = report.comparison("base-pages", "accuracy")
    assert better is not None
    assert (better.first, better.says) == ("tuned-pages", "better")
    holds(of(report, "always-refuse"), "true_refusals", 1.0)
    holds(of(report, "always-refuse"), "accuracy", 0.0)
    # Each contender with a model has asked it each question once.
    asked = sum(n for (model, _), n in setting.engine.counts.items() if model == "ninety")
    assert len(EVERYTHING) <= asked <= 2 * len(EVERYTHING)


def test_a_model_that_refuses_and_one_that_knows_leaked_questions_are_found_out(
    setting: Setting,
) -> None:
    trained = setting.folder / "trained.jsonl"
    rows = [json.loads(line) for line in setting.questions.read_text().splitlines()]
    learnt = [{**row, "split": "train"} for row in rows if row["question"] in LEAKED]
    trained.write_text("".join(json.dumps(row) + "\n" for row in learnt))
    more = ("--contenders", "base-closed,tuned-closed", "--trained", str(trained))

    report = exam(setting, "leaks", "refusing", "leaking", *more)

    assert report.questions["leaked"] == len(LEAKED)
    base, tuned = (of(report, name) for name in ("base-closed", "tuned-closed"))
    holds(base, "false_refusals", 1.0)
    holds(base, "true_refusals", 1.0)
    holds(base, "accuracy", 0.0)
    # What it knows by heart is left out of all numbers, and shown apart.
    holds(tuned, "accuracy", 0.0)
    assert tuned.groups["leaked"]["yes"]["accuracy"].value == 1.0
    assert tuned.groups["leaked"]["no"]["accuracy"].value == 0.0


def test_a_sweep_tries_sizes_overlaps_k_and_reranking_and_keeps_the_best(setting: Setting) -> None:
    rows = [json.loads(line) for line in setting.questions.read_text().splitlines()[:2]]
    questions, out = setting.folder / "validation.jsonl", setting.folder / "sweep"
    questions.write_text("".join(json.dumps({**row, "split": "validation"}) + "\n" for row in rows))
    done = subprocess.run(
        [
            *(ASKDOCS, "eval", "sweep", "--questions", questions, "--docs", setting.docs),
            *("--url", setting.gateway.url, "--key", starting.KEY, "--out", out, "--json"),
        ],
        capture_output=True,
        text=True,
        env=setting.environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = {one.settings: one.found for one in sweeps.read(out)}
    tried = list(results)
    assert tried[0] == RagSettings(budget=3000)
    plain = [(one.chunk_tokens, one.overlap) for one in tried[1:13] if not one.rerank]
    assert plain == list(itertools.product((256, 512, 1024, 2048), (0, 64, 128)))
    chosen = {(one.k, one.mmr_lambda, one.rerank) for one in tried}
    assert chosen == set(itertools.product((10, 20, 40), (0.7, 1), (False, True)))
    best = settings.load(out / "rag.toml")
    told = json.loads(done.stdout)
    assert (told["questions"], told["rag"]) == (2, str(out / "rag.toml"))
    assert told["settings"] == best.model_dump()
    for row, found in zip(rows, results[best], strict=True):
        assert row["context_doc"] == found.pages[0]
