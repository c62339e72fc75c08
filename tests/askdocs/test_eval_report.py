"""`askdocs eval report|compare|gate` on whole runs, and what `models promote` gets of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from askdocs.cli import app
from askdocs.evaluation import reports
from askdocs.state.home import Home
from core.errors import AskdocsError
from eval.gate import gate, verdict
from eval.questions import question
from eval.report import html
from eval.running.answer import Answer
from eval.running.run import Provenance, Run
from eval.statistics import bootstrap
from eval.systems.rag.settings import RagSettings
from gateway.answering.grounding.prompt import fingerprint
from tests.eval import runs
from tests.eval.judging import Endpoint, endpoint
from tests.eval.runs import Behaviour
from tests.training.versions import FACTS, trained
from training.versions.local import Folder
from training.versions.manifest import sha256
from training.versions.promote import objections
from training.versions.store import Store

pytestmark = pytest.mark.slow

__all__ = ["endpoint"]

BASE = Behaviour(accuracy=0.5)
SYSTEMS = {
    "base-pages": BASE,
    "tuned-pages": Behaviour(accuracy=0.75),
    "first-sentence": Behaviour(first_sentence=True),
    "best-overlap": Behaviour(accuracy=0.2, false_refusals=0, true_refusals=0),
    "always-refuse": Behaviour(accuracy=0, false_refusals=1, true_refusals=1),
}
PAGES = {name: SYSTEMS[name] for name in ("base-pages", "tuned-pages")}


@pytest.fixture(autouse=True)
def few_draws(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots, which take most of a report's time, are left out unless a test asks for `plots`."""
    monkeypatch.setattr(bootstrap, "SAMPLES", 150)
    monkeypatch.setattr(bootstrap, "SAMPLES_OF_PERCENTILES", 60)
    if "plots" not in request.fixturenames:
        for name in ("front_plots", "plots"):
            monkeypatch.setattr(html, name, lambda report: [])


@pytest.fixture
def plots() -> None:
    """The report has its plots."""


@pytest.fixture
def store(home: Home) -> Store:
    """The home's store, with docs@v1, which the runs have measured."""
    store = Store(Folder(home.root / "versions"))
    store.add("docs", trained(home.root / "one", "one"), FACTS)
    return store


@pytest.fixture(autouse=True)
def grounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages support what is right."""

    def share(asked: question.Question, given: Answer) -> float:
        return float(asked.answerable and asked.answer in given.text)

    monkeypatch.setattr(reports, "groundedness", lambda *_: share)


def call(*words: str) -> Result:
    return CliRunner().invoke(app, ["eval", *words])


def said(*words: str, code: int = 0) -> Any:
    done = call(*words, "--json")
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return json.loads(done.stdout, parse_constant=pytest.fail)  # JSON has no Infinity


@pytest.mark.usefixtures("plots")
def test_a_report_is_three_files(tmp_path: Path) -> None:
    run = runs.write(tmp_path / "run", SYSTEMS, runs.questions(30, 10))
    done = call("report", str(run), "--no-similarity", "--assume", "questions_a_day=50")
    assert done.exit_code == 0
    assert "59 %" in done.stdout
    assert done.stdout.startswith("tuned-pages ")
    declared, exploratory = map(done.stdout.index, ("Declared contrasts. ", "\nExploratory."))
    assert declared < exploratory
    assert "always-refuse" not in done.stdout[declared:exploratory]
    assert "report.html" in done.stdout
    report = json.loads((run / "report.json").read_text())
    assert report["prices"]["assumptions"]["questions_a_day"] == 50
    assert report["subject"] == "tuned-pages"
    assert (run / "report.md").read_text().startswith("# Report of run")
    assert "<svg" in (run / "report.html").read_text()
    assert not list(run.glob("*.new"))
    other = said("report", str(run), "--no-similarity", "--system", "base-pages")
    assert other["subject"] == "base-pages"


def test_the_gate_passes_a_version_that_promote_takes(
    home: Home, store: Store, tmp_path: Path
) -> None:
    run = runs.write(tmp_path / "run", SYSTEMS)
    found = said("gate", str(run), "--home", str(home.root))
    assert found["decision"] == "promote"
    assert all(check["passed"] for check in found["checks"])
    (verdict,) = store.verdicts("docs@v1")
    assert verdict.decision == "promote"
    manifest = store.manifest("docs@v1").model_copy(update={"prompt_fingerprint": fingerprint()})
    assert objections(manifest, verdict, fingerprint()) == []
    again = said("gate", str(run), "--home", str(home.root))
    assert again == {**found, "verdict": again["verdict"]}
    (slowest,) = (one for one in again["checks"] if one["asks"].startswith("99 of 100"))
    assert slowest["found"].endswith(" or more)"), "210 answers do not bound it"
    digests = {one.report_sha256 for one in store.verdicts("docs@v1")}
    assert digests == {verdict.report_sha256}, "a report is made once"


def test_a_judge_url_with_a_query_is_refused_and_not_shown(tmp_path: Path) -> None:
    run = runs.write(tmp_path / "run", SYSTEMS, runs.questions(2, 1))
    url = "https://models.example.com/v1?key=secret"
    done = call("report", str(run), "--judge-model", "j", "--judge-url", url)
    assert "--judge-url: has a query" in str(done.exception)
    assert "secret" not in str(done.exception).replace("may be a secret", "")


def test_the_gate_makes_no_report_again(home: Home, tmp_path: Path, endpoint: Endpoint) -> None:
    """It may have been made with a judge, labels or prices, which the gate does not know."""
    run = runs.write(tmp_path / "run", SYSTEMS, runs.questions(12, 3))
    words = ["--no-similarity", "--judge-model", "j", "--judge-url", endpoint.url]
    said("report", str(run), *words, "--assume", "questions_a_day=50")
    made = (run / "report.json").read_bytes()
    asked = ["gate", str(run), "--home", str(home.root)]
    assert said(*asked, code=1)["system"] == "tuned-pages"
    again = f"create it again with `askdocs eval report {run} --system"
    done = call(*asked, "--system", "base-pages")
    assert f"was made for tuned-pages: {again} base-pages --judge-model j" in str(done.exception)
    with (run / "answers.jsonl").open("a") as file:
        file.write(Answer(system="tuned-pages", question="q0", text="No.").model_dump_json())
    done = call(*asked)
    told = f"does not cover all answers: {again} tuned-pages --judge-model j"
    assert told in str(done.exception)
    assert (run / "report.json").read_bytes() == made


def test_the_gate_takes_no_report_that_counts_copies(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of earlier releases do, of questions that were drawn by them or are made by hand."""
    asked = runs.questions(6, 4)
    again = [one.model_copy(update={"id": f"{one.id}-{n}"}) for one in asked for n in range(3)]
    run = runs.write(tmp_path / "run", PAGES, again)
    with monkeypatch.context() as earlier:
        earlier.setattr(question, "distinct", list)
        said("report", str(run), "--no-similarity")
    done = call("gate", str(run), "--home", str(home.root))
    assert "report.json: counts near copies of questions: create it again with" in str(
        done.exception
    )
    (run / "report.json").unlink()
    checks = said("gate", str(run), "--home", str(home.root), code=1)["checks"]
    assert checks[1]["found"] == "6 and 4 (0 contaminated, 20 near copies)"
    assert not checks[1]["passed"]


def test_the_gate_takes_other_thresholds(home: Home, tmp_path: Path) -> None:
    run = runs.write(tmp_path / "run", PAGES, runs.questions(12, 3))
    file = tmp_path / "thresholds.toml"
    text = gate.FILE.read_text(encoding="utf-8").replace("unanswerable = 40", "unanswerable = 3")
    words = ["gate", str(run), "--home", str(home.root), "--thresholds", str(file)]
    for least, enough in ((12, True), (13, False)):
        file.write_text(text.replace("answerable = 100", f"answerable = {least}"))
        first, second, third, *_ = said(*words, code=1)["checks"]
        assert second["asks"].startswith(f"at least {least} answerable and 3 unanswerable")
        passed = [one["passed"] for one in (first, second, third)]
        assert passed == [True, enough, enough]


def test_a_verdict_is_about_the_version_that_was_measured(
    home: Home, store: Store, tmp_path: Path
) -> None:
    """Another machine has another docs@v1."""
    run = runs.write(tmp_path / "run", PAGES, runs.questions(12, 3), manifest="e" * 64)
    words = ["gate", str(run), "--home", str(home.root)]
    assert "is not the one that was measured" in said(*words, code=1)["verdict"]
    with pytest.raises(AskdocsError, match="about a different docs@v1 from the one in"):
        store.add_verdict("docs@v1", verdict.read(run / "verdict.json"))
    assert store.verdicts("docs@v1") == []
    measured = Run.model_validate_json((run / "run.json").read_bytes())
    same = measured.models["tuned"].model_copy(
        update={"manifest_sha256": sha256(store.manifest_bytes("docs@v1"))}
    )
    models = {**measured.models, "tuned": same}
    (run / "run.json").write_text(measured.model_copy(update={"models": models}).model_dump_json())
    (run / "report.json").unlink()
    assert "and beside docs@v1" in said(*words, code=1)["verdict"]
    assert len(store.verdicts("docs@v1")) == 1


def test_the_gate_refuses_with_reasons_that_promote_tells(
    home: Home, store: Store, tmp_path: Path
) -> None:
    worse = {**SYSTEMS, "tuned-pages": Behaviour(0.5, false_refusals=0.6, true_refusals=0.6)}
    run = runs.write(tmp_path / "run", worse)
    done = call("gate", str(run), "--home", str(home.root))
    assert done.exit_code == 1
    assert "FAILED  false refusals: no significant increase" in done.stdout
    assert "tuned-pages: stop" in done.stdout
    (verdict,) = store.verdicts("docs@v1")
    told = objections(store.manifest("docs@v1"), verdict, fingerprint())
    assert any(
        "the release gate rejected docs@v1: " in one and "false refusals" in one for one in told
    )


def test_the_gate_compares_with_the_version_in_use(home: Home, tmp_path: Path) -> None:
    run = runs.write(tmp_path / "run", SYSTEMS)
    better = {**SYSTEMS, "tuned-pages": Behaviour(accuracy=0.95)}
    before = runs.write(tmp_path / "before", better, seed=2, tuned="docs@v7")
    words = ["gate", str(run), "--home", str(home.root), "--against", str(before)]
    found = said(*words, code=1)
    failed = [check["asks"] for check in found["checks"] if not check["passed"]]
    assert "token F1: at most 0.03 below tuned-pages of before" in failed
    assert "is not in" in found["verdict"], "the store has no such version"
    made = {file.name for file in before.iterdir()}
    assert "report.json" not in made, "nothing is written there"


def rewrite(run: Path, **update: Any) -> None:
    """What its run.json says."""
    file = run / "run.json"
    changed = Run.model_validate_json(file.read_bytes()).model_copy(update=update)
    file.write_text(changed.model_dump_json(), encoding="utf-8")


def elsewhere(run: Path) -> Provenance:
    made = Run.model_validate_json((run / "run.json").read_bytes()).provenance
    return made.model_copy(update={"machine": {**made.machine, "cores": 64}})


@pytest.mark.parametrize("changed", ["", "load", "machine", "went on"])
def test_times_are_compared_only_of_one_machine_under_one_load(
    home: Home, tmp_path: Path, changed: str
) -> None:
    run, before = (
        runs.write(tmp_path / name, PAGES, runs.questions(12, 3), tuned=tuned)
        for name, tuned in (("run", "docs@v8"), ("before", "docs@v7"))
    )
    if changed == "load":
        rewrite(before, at_once=32)
    elif changed == "machine":
        rewrite(before, provenance=elsewhere(before))
    elif changed == "went on":
        for folder in (run, before):
            rewrite(folder, resumed=(elsewhere(folder),))
    alike = {"same_machine": changed in ("", "load"), "same_load": changed != "load"}
    differs: dict[str, Any] = {"models.tuned.name": ["docs@v8", "docs@v7"]}
    if changed == "load":
        differs["at_once"] = [2, 32]
    asked = ["gate", str(run), "--home", str(home.root), "--against", str(before)]
    found, compared = said(*asked, code=1), said("compare", str(run), str(before))
    for one in (found, compared):
        assert {name: one[name] for name in alike} == alike
        assert one["differs"] == differs
    timed = [one for one in found["checks"] if one["asks"].startswith("p95 of the whole answer")]
    assert len(timed) == (not changed)
    for shown in (call(*asked).stdout, call("compare", str(run), str(before)).stdout):
        assert f'models.tuned.name is "docs@v8" in {run}, "docs@v7" in {before}' in shown
        assert ("times cannot be compared" in shown) == bool(changed)


def test_the_gate_compares_no_times_of_a_run_that_went_on_elsewhere(
    home: Home, tmp_path: Path
) -> None:
    run = runs.write(tmp_path / "run", PAGES, runs.questions(12, 3))
    asked = ["gate", str(run), "--home", str(home.root)]

    def timed() -> int:
        checks = said(*asked, code=1)["checks"]
        return sum(one["asks"].startswith("p95 of the whole answer") for one in checks)

    assert timed() == 1
    rewrite(run, resumed=(elsewhere(run),))
    (run / "report.json").unlink()
    assert timed() == 0
    assert "times cannot be compared" in call(*asked).stdout


def test_what_else_differs_between_two_runs_is_reported(tmp_path: Path) -> None:
    one, other = (runs.write(tmp_path / name, PAGES, runs.questions(6, 2)) for name in "ab")
    words = ["compare", str(one), str(other)]
    assert said(*words)["differs"] == {}
    rag = RagSettings(chunk_tokens=256)
    rewrite(other, page_budget=622, max_tokens=64, rag=rag, systems=tuple(reversed(PAGES)))
    assert said(*words)["differs"] == {
        "page_budget": [1500, 622],
        "max_tokens": [200, 64],
        "rag.chunk_tokens": [512, 256],
    }
    assert f"rag.chunk_tokens is 512 in {one}, 256 in {other}" in call(*words).stdout
    rewrite(other, rag=None)
    assert said(*words)["differs"]["rag"][1] is None


def test_runs_are_compared_only_where_one_judge_has_judged_both(
    home: Home, tmp_path: Path, endpoint: Endpoint
) -> None:
    run, before = (
        runs.write(tmp_path / name, PAGES, runs.questions(12, 3), seed=seed)
        for seed, name in enumerate(("run", "before"))
    )
    judge = f"j at {endpoint.url}"
    judged = ["--no-similarity", "--judge-url", endpoint.url, "--judge-model"]
    said("report", str(run), *judged, "j")
    asked = ["gate", str(run), "--home", str(home.root), "--against", str(before)]
    told = str(call(*asked).exception)
    assert f"{before}: {judge} has not judged" in told
    again = f"`askdocs eval report {before} --system tuned-pages --judge-model j --judge-url http"
    assert again in told
    compared = ["compare", str(run), str(before)]
    assert f"different judges ({judge} and nobody" in call(*compared).stdout
    assert not any(one["measure"] == "judged" for one in said(*compared)["comparisons"])

    said("report", str(before), *judged, "another")
    assert f"{before}: {judge} has not judged" in str(call(*asked).exception)
    said("report", str(before), *judged, "j")
    (accuracy,) = [
        one["found"]
        for one in said(*asked, code=1)["checks"]
        if one["asks"].startswith("accuracy (judge): at most 3 points below")
    ]
    assert ", 12 questions" in accuracy
    found = said(*compared)
    assert found["judge"] == judge
    judged_of = [one["n"] for one in found["comparisons"] if one["measure"] == "judged"]
    assert judged_of == [12, 12]


def test_meanings_that_are_kept_are_compared(tmp_path: Path) -> None:
    folders = [
        runs.write(tmp_path / name, PAGES, runs.questions(6, 2), seed=seed)
        for seed, name in enumerate(("one", "other"))
    ]
    compared = ["compare", *map(str, folders)]

    def meanings() -> int:
        return sum(one["measure"] == "similarity" for one in said(*compared)["comparisons"])

    assert meanings() == 0
    for folder in folders:
        (folder / "similar.jsonl").touch()  # as an evaluation does
    assert meanings() == 2


def test_what_is_no_version_or_not_the_product_gets_no_verdict(
    home: Home, store: Store, tmp_path: Path
) -> None:
    run = runs.write(tmp_path / "run", SYSTEMS, tuned="some-model")
    assert said("gate", str(run), "--home", str(home.root))["verdict"] is None
    closed = {"tuned-closed": Behaviour(), "base-closed": BASE}
    run = runs.write(tmp_path / "closed", closed, runs.questions(12, 3))
    found = said("gate", str(run), "--home", str(home.root), code=1)
    assert (found["system"], found["verdict"]) == ("tuned-closed", None)
    assert store.verdicts("docs@v1") == []
    alone = runs.write(tmp_path / "alone", {"tuned-pages": Behaviour()})
    done = call("gate", str(alone), "--home", str(home.root))
    assert isinstance(done.exception, AskdocsError)
    assert "nothing to compare tuned-pages with" in str(done.exception)


def test_two_runs_are_compared_on_what_both_asked(tmp_path: Path) -> None:
    one = runs.write(tmp_path / "one", SYSTEMS, runs.questions(40, 10))
    other = runs.write(tmp_path / "other", PAGES, runs.questions(40, 10)[5:], seed=2)
    found = said("compare", str(one), str(other))
    assert found["shared"] == {"base-pages": 45, "tuned-pages": 45}
    assert found["alone"][str(one)] == {"base-pages": 5, "tuned-pages": 5}
    assert found["systems_alone"] == ["always-refuse", "best-overlap", "first-sentence"]
    assert found["same_wiki"]
    assert found["same_machine"]
    compared = {(each["first"], each["second"]) for each in found["comparisons"]}
    assert ("tuned-pages", "tuned-pages of other") in compared
    shown = call("compare", str(one), str(other)).stdout
    assert "only in one of them: always-refuse" in shown
    stranger = runs.write(tmp_path / "stranger", {"base-rag": Behaviour()})
    done = call("compare", str(one), str(stranger))
    assert "no system in common" in str(done.exception)


def test_runs_are_found_by_their_names_in_the_state_folder(home: Home) -> None:
    for name in ("one", "other"):
        runs.write(home.root / "evals" / name, PAGES, runs.questions(20, 5))
    found = said("compare", "one", "other", "--home", str(home.root))
    assert found["shared"] == {"base-pages": 25, "tuned-pages": 25}


def test_labels_of_another_run_are_named(tmp_path: Path) -> None:
    run = runs.write(tmp_path / "run", SYSTEMS, runs.questions(12, 3))
    row = {"question": "q1", "system": "tuned-pages", "correct": True}
    labels = runs.labels(tmp_path / "labels.jsonl", [row])
    found = said("report", str(run), "--no-similarity", "--labels", str(labels))
    assert [(one["rater"], one["n"]) for one in found["agreements"]] == [("word comparison", 1)]
    runs.labels(labels, [{**row, "question": "of another"}])
    done = call("report", str(run), "--no-similarity", "--labels", str(labels))
    assert "none of the 1 labels matches an answer" in str(done.exception)


def test_a_judge_decides_what_accuracy_is(tmp_path: Path, endpoint: Endpoint) -> None:
    """It takes no answer of these for right, and the words take many."""
    run = runs.write(tmp_path / "run", SYSTEMS, runs.questions(12, 3))
    words = ["report", str(run), "--no-similarity", "--judge-model", "j", "--judge-url"]
    found = said(*words, endpoint.url)
    asked = len(endpoint.asked)
    assert found["accuracy"] == "judged"
    assert found["judge"] == f"j at {endpoint.url}"
    subject = next(one for one in found["systems"] if one["name"] == "tuned-pages")
    assert subject["measures"]["judged"]["value"] == 0 < subject["measures"]["accuracy"]["value"]
    assert said(*words, endpoint.url) == found
    assert len(endpoint.asked) == asked > 0


def test_two_judges_are_of_two_families_and_tell_how_well_they_agree(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    run = runs.write(tmp_path / "run", SYSTEMS, runs.questions(12, 3))
    words = ["report", str(run), "--no-similarity", "--judge-url", endpoint.url, "--judge-model"]
    done = call(*words, "gpt-5", "--judge-model", "o3")
    assert "the judges are of one family (openai, openai)" in str(done.exception)
    assert not endpoint.asked
    found = said(*words, "gpt-5", "--judge-model", "grader", "--judge-family", "grader=Acme")
    assert found["judge"] == f"gpt-5 at {endpoint.url} and grader at {endpoint.url}"
    (both,) = found["agreements"]
    assert (both["rater"], both["share"]) == ("both judges with each other", 1.0)
    assert both["n"] > 0
    again = said("gate", str(run), "--home", str(tmp_path), code=1)
    assert again["decision"] == "stop"


def test_half_a_judge_is_none(tmp_path: Path) -> None:
    run = runs.write(tmp_path / "run", SYSTEMS, runs.questions(3, 1))
    done = call("report", str(run), "--judge-model", "j")
    assert "both --judge-model and --judge-url" in str(done.exception)


def test_the_gate_judges_several_runs_of_one_version_together(home: Home, tmp_path: Path) -> None:
    run, other = (
        runs.write(tmp_path / f"run{seed}", SYSTEMS, runs.questions(120, 45), seed)
        for seed in (1, 2)
    )
    asked = ["gate", str(run), "--home", str(home.root), "--repeat"]
    checks = said(*asked, str(other))["checks"]
    assert any("; 2 runs: " in check["found"] for check in checks)
    another = runs.write(tmp_path / "v2", SYSTEMS, tuned="docs@v2")
    assert "is about another version" in str(call(*asked, str(another)).exception)
    unmarked = runs.write(tmp_path / "unmarked", PAGES, runs.questions(120, 45), 3, trained=None)
    refused = str(call(*asked, str(unmarked)).exception)
    assert "another setup" in refused
    assert "(questions.trained_sha256)" in refused
    failing = {**PAGES, "base-pages": Behaviour(fails=0.1)}
    broken = runs.write(tmp_path / "broken", failing, runs.questions(120, 45), 4)
    assert "questions to base-pages ended in an error" in str(call(*asked, str(broken)).exception)
    file = other / "run.json"
    file.write_text(file.read_text().replace(fingerprint(), "another prompt"))
    assert "(prompt_fingerprint)" in str(call(*asked, str(other)).exception)
