"""Does the evaluation measure what is there? Engines whose accuracy was set, through all of it."""

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from askdocs import environments
from eval.report.report import Report, System, read
from eval.scoring.mark import marks
from eval.scoring.mark import read as read_answers
from eval.systems.rag import measure as sweeps
from eval.systems.rag import settings
from eval.systems.rag.settings import RagSettings
from tests import starting
from tests.askdocs.conftest import RunHere, here
from tests.eval import facts
from tests.eval.facts import Fact
from tests.eval.scripted import Script, Scripted, dealt, scripted
from tests.parts import require

__all__ = ["here"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HOME = Path(os.environ.get("TEST_EVAL_HOME", starting.REPO / ".cache" / "eval"))
INSTALL = ".venv/bin/python -m askdocs.environments eval --home .cache/eval"
EVERYTHING = facts.facts()
ANSWERED = [fact.question for fact in EVERYTHING if fact.page]
BESIDE = [fact.question for fact in EVERYTHING if fact.is_about and not fact.page]
ELSEWHERE = [fact.question for fact in EVERYTHING if not fact.is_about]
# Every third answerable question was in the training of the tuned model.
LEAKED = ANSWERED[::3]


def drawn(seed: str, right: float, refused: float) -> Script:
    """Right on such a share of what the wiki answers; as much of the rest each is refused, misread
    and made up. It refuses such a share of what the wiki does not answer, and misreads half of the
    rest."""
    third, half = (1 - right) / 3, (1 - refused) / 2
    knows, gives_up, misreads = dealt(ANSWERED, seed, right, third, third)
    beside, elsewhere = (dealt(asked, seed, refused, half) for asked in (BESIDE, ELSEWHERE))
    return Script(knows, gives_up | beside[0] | elsewhere[0], misreads | beside[1] | elsewhere[1])


SCRIPTS = {
    "sixty": drawn("a", 0.6, 0.5),
    "ninety": drawn("d", 0.9, 2 / 3),
    "refusing": Script(frozenset(), frozenset([*ANSWERED, *BESIDE, *ELSEWHERE])),
    "leaking": Script(
        frozenset(LEAKED),
        frozenset([*BESIDE, *ELSEWHERE]),
        dealt([asked for asked in ANSWERED if asked not in LEAKED], "c", 0.5)[0],
    ),
}


# What no page says does not go out, which shows that the evaluation measures the check, too.
HOLDING = {"targets": "base", "grounding": True, "check": "hold"}


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
        return {"ASKDOCS_HOME": str(self.gateway.home), "ASKDOCS_GATEWAY_INDEX": index}


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    require(environments.find(environments.EVAL, HOME) is not None, INSTALL)
    folder = tmp_path_factory.mktemp("evaluation")
    docs, questions = facts.write(folder)
    answers = {fact.question: fact.answer for fact in EVERYTHING}
    with scripted(SCRIPTS, answers) as engine:
        models = {name: {"url": engine.url, "model": name} for name in engine.models}
        with starting.gateway(
            folder,
            gateway_engine_url=engine.url,
            gateway_engine_model="sixty",
            gateway_docs=str(docs),
            gateway_models=json.dumps(models),
            gateway_aliases=json.dumps({"docs": HOLDING}),
        ) as gateway:
            (gateway.home / "environments").symlink_to(HOME / "environments")
            yield Setting(folder, gateway, engine, docs, questions)


def evaluation(
    here: RunHere, setting: Setting, name: str, base: str, tuned: str, *more: str
) -> Report:
    """What `askdocs eval run` and `askdocs eval report` say of two models."""
    run = setting.folder / name
    models = ["--base", base, "--tuned", tuned]
    asked = ["--questions", str(setting.questions), "--docs", str(setting.docs)]
    place = ["--url", setting.gateway.url, "--key", starting.KEY, "--out", str(run)]
    compared = []
    for argv in (["run", *asked, *models, *place, *more], ["report", str(run)]):
        done = here("eval", *argv, **setting.environment)
        assert done.returncode == 0, done.stderr[-3000:]
        compared.append((run / "similar.jsonl").read_text())
    assert compared[0] == compared[1]  # the run has left nothing to compare
    return read(run)


def of(report: Report, name: str) -> System:
    found = report.system(name)
    assert found is not None
    return found


def holds(system: System, measure: str, value: float) -> None:
    """The measured number is that value, and its interval tells it from those that are not near."""
    found: Any = system.measures[measure]
    assert found.value == pytest.approx(value, abs=1e-9), (system.name, measure)
    assert value - 0.25 < found.low <= value <= found.high < value + 0.25, (system.name, measure)
    # A bootstrap of nothing but zeros is zero; shares have Wilson's interval.
    assert found.low < found.high or (measure == "token_f1" and value == 0)


def true_mark(fact: Fact, script: Script, method: str) -> str:
    """What is known beforehand of an answer, by what its model says and by who looks at that."""
    is_asked = fact.is_about or method in ("closed", "rag")  # the others see no page, and refuse
    if not is_asked or fact.question in script.refused:
        return "refused"
    if fact.question in script.right:
        return "right"
    # `check = hold` withholds what no page says, and cannot see what is wrong with the rest.
    return "refused" if method == "pages" and fact.question not in script.misread else "wrong"


def each_mark_is_true(setting: Setting, name: str, base: str, tuned: str) -> None:
    """Each answer of a run is marked as it was scripted, and was asked for once."""
    asked: Counter[tuple[str, str]] = Counter()
    for system, found in marks(*read_answers(setting.folder / name)).items():
        role, _, method = system.partition("-")
        if role not in ("base", "tuned"):
            continue
        model = base if role == "base" else tuned
        marked = {mark.question.text: mark for mark in found}
        for fact in EVERYTHING:
            mark = marked[fact.question]
            said = "refused" if mark.refused else "right" if mark.near else "wrong"
            assert said == true_mark(fact, SCRIPTS[model], method), (system, mark)
            assert not mark.answer.error
            assert mark.cites_right or method == "closed" or said != "right", mark
            if method == "pages":
                assert bool(mark.answer.prompt_pages) == fact.is_about, mark
                assert fact.page is None or fact.page in mark.answer.prompt_pages, mark
            if fact.is_about or method in ("closed", "rag"):
                asked[model, fact.question] += 1
    assert {key: n for key, n in setting.engine.counts.items() if key[0] in (base, tuned)} == asked


def test_accuracies_that_were_set_are_measured(here: RunHere, setting: Setting) -> None:
    names = "base-closed,base-rag,tuned-oracle,base-pages,tuned-pages,always-refuse"
    few = setting.folder / "few.toml"
    few.write_text("k = 5\n")  # chunks to rerank; the sweep below has more
    more = ("--systems", names, "--rag", str(few))
    report = evaluation(here, setting, "set", "sixty", "ninety", *more)
    assert report.questions == {"answerable": 30, "unanswerable": 24, "contaminated": 0}
    each_mark_is_true(setting, "set", "sixty", "ninety")
    for name, right, false_refusals, hallucinated in (
        # What was set does not depend on what is in the prompt.
        ("base-closed", 18 / 30, 4 / 30, 12 / 24),
        ("base-rag", 18 / 30, 4 / 30, 12 / 24),
        # Half of what the wiki does not answer is not about it: no page, and no model is asked.
        ("tuned-oracle", 27 / 30, 1 / 30, 4 / 24),
        # What is made up is withheld.
        ("base-pages", 18 / 30, 8 / 30, 3 / 24),
        ("tuned-pages", 27 / 30, 2 / 30, 2 / 24),
        ("always-refuse", 0.0, 1.0, 0.0),
    ):
        system = of(report, name)
        for measure in ("accuracy", "token_f1", "containment"):
            holds(system, measure, right)
        holds(system, "false_refusals", false_refusals)
        holds(system, "hallucinated", hallucinated)
        holds(system, "true_refusals", 1 - hallucinated)
    # Two pages stand in a prompt in the order of their paths, and the search has ranked them.
    tuned = of(report, "tuned-pages")
    assert tuned.groups["position"]["2"]["accuracy"].n > 0
    holds(tuned, "recall_1", 1.0)
    better = report.comparison("base-pages", "accuracy")
    assert better is not None
    assert (better.first, better.says) == ("tuned-pages", "better")
    assert better.value == pytest.approx(0.3)


def test_a_model_that_refuses_and_one_that_knows_contaminated_questions_are_found_out(
    here: RunHere, setting: Setting
) -> None:
    trained = setting.folder / "trained.jsonl"
    rows = [json.loads(line) for line in setting.questions.read_text().splitlines()]
    learnt = [{**row, "split": "train"} for row in rows if row["question"] in LEAKED]
    trained.write_text("".join(json.dumps(row) + "\n" for row in learnt))
    names = "base-closed,tuned-closed,base-pages,tuned-pages"
    more = ("--systems", names, "--trained", str(trained))

    report = evaluation(here, setting, "leaks", "refusing", "leaking", *more)

    assert report.questions == {"answerable": 20, "unanswerable": 24, "contaminated": 10}
    each_mark_is_true(setting, "leaks", "refusing", "leaking")
    for method, withheld in (("closed", 0.0), ("pages", 0.5)):
        base, tuned = of(report, f"base-{method}"), of(report, f"tuned-{method}")
        holds(base, "false_refusals", 1.0)
        holds(tuned, "false_refusals", withheld)
        for system in (base, tuned):
            # What it knows by heart is left out of all numbers, and shown apart.
            holds(system, "accuracy", 0.0)
            holds(system, "true_refusals", 1.0)
        groups = tuned.groups["contaminated"].items()
        knows = {group: numbers["accuracy"] for group, numbers in groups}
        assert {group: (number.value, number.n) for group, number in knows.items()} == {
            "yes": (1.0, 10),
            "no": (0.0, 20),
        }


def test_a_sweep_tries_sizes_overlaps_k_and_reranking_and_keeps_the_best(
    here: RunHere, setting: Setting
) -> None:
    rows = [json.loads(line) for line in setting.questions.read_text().splitlines()[:2]]
    questions, out = setting.folder / "validation.jsonl", setting.folder / "sweep"
    questions.write_text("".join(json.dumps({**row, "split": "validation"}) + "\n" for row in rows))
    asked = ["--questions", str(questions), "--docs", str(setting.docs), "--out", str(out)]
    place = ["--url", setting.gateway.url, "--key", starting.KEY, "--json"]
    done = here("eval", "sweep", *asked, *place, **setting.environment)
    assert done.returncode == 0, done.stderr[-3000:]
    results = {one.settings: one.found for one in sweeps.read(out)}
    tried = list(results)
    assert tried[0] == RagSettings(budget=3000)
    plain = [(one.chunk_tokens, one.overlap) for one in tried[1:13] if not one.rerank]
    assert plain == list(itertools.product((256, 512, 1024, 2048), (0, 64, 128)))
    chosen = {(one.k, one.mmr_lambda, one.rerank) for one in tried}
    assert chosen == set(itertools.product((20, 100, 150), (0.7, 1), (False, True)))
    assert {one.keep for one in tried} >= {5, 10, 20}
    best = settings.load(out / "rag.toml")
    told = json.loads(done.stdout)
    assert (told["questions"], told["rag"]) == (2, str(out / "rag.toml"))
    assert told["settings"] == best.model_dump()
    # All of them find both pages first, and then the best one needs fewest tokens.
    for found in results.values():
        assert [row["context_doc"] for row in rows] == [one.pages[0] for one in found]
    tokens = {one: sum(asked.tokens for asked in found) for one, found in results.items()}
    assert tokens[best] == min(tokens.values()) < max(tokens.values())
