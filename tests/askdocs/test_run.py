"""The folder of a training run: whose it is, and what becomes a version of it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from askdocs.models.training_run import JOB, Run, default_folder
from askdocs.state import claim
from askdocs.state.home import Home
from core.errors import AskdocsError
from tests.training import small
from training.data import dataset
from training.plan.recipe import Lora, Preference, Recipe
from training.versions.local import Folder
from training.versions.store import Store

RECIPE = Recipe(base_model="a/b", batch_size=2)


def test_a_commit_is_dirty_where_files_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "askdocs" / "state" / "claim.py"
    code.parent.mkdir(parents=True)
    code.write_text("one\n")
    monkeypatch.setattr(claim, "__file__", str(code))
    assert claim.commit() == "", "it is no checkout"

    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        argv = ["git", "-C", str(tmp_path), *who, *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("add", "askdocs")
    git("commit", "-q", "-m", "one")
    assert claim.commit() == git("rev-parse", "HEAD")
    code.write_text("two\n")
    assert claim.commit() == f"{git('rev-parse', 'HEAD')}-dirty"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dataset.Dataset:
    return dataset.read(small.dataset(tmp_path_factory.mktemp("data")))


@pytest.fixture
def run(tmp_path: Path, data: dataset.Dataset) -> Run:
    return Run(tmp_path / "run", RECIPE, data, None)


def done(run: Run) -> Run:
    """As the process that trains leaves it."""
    said: list[dict[str, Any]] = [
        {"event": "start", "steps": 4},
        {"event": "step", "step": 1, "loss": 3.0, "tokens": 100, "seconds": 1.0},
        {"event": "eval", "step": 2, "loss": 2.5},
        {"event": "saved", "step": 2},
        {"event": "step", "step": 4, "loss": 2.0, "tokens": 400, "seconds": 4.0},
        {"event": "eval", "step": 4, "loss": 2.75},
        {"event": "saved", "step": 4},
        {"event": "done", "step": 4, "best_step": 2, "stopped": "end", "tokens_per_second": 99.5},
    ]
    run.write_job(run.folder / JOB, "base", False)
    (run.folder / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in said))
    (run.folder / "adapter").mkdir()
    (run.folder / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
    (run.folder / "training.json").write_text('{"seconds": 4}')
    (run.folder / "probes.json").write_text("{}")
    run.draw()
    return run


def test_a_new_run_may_start_and_one_that_saved_something_is_to_be_resumed(run: Run) -> None:
    run.can_start(False)
    with run.claimed():
        run.write_job(run.folder / JOB, "base", False)
    run.can_start(False)  # it ended before its first checkpoint
    (run.folder / "events.jsonl").write_text('{"event": "saved", "step": 1}\n')
    with pytest.raises(AskdocsError, match=r"holds this run, unfinished: add --resume"):
        run.can_start(False)
    run.can_start(True)


@pytest.mark.parametrize(
    ("other", "steps", "said"),
    [
        (RECIPE.model_copy(update={"batch_size": 3}), None, r"batch_size = 2 there, 3 here"),
        (RECIPE.model_copy(update={"lora": Lora(r=8)}), None, r"r = 64 there, 8 here"),
        (RECIPE, 5, r"max_steps = null there, 5 here"),
    ],
)
def test_the_folder_of_another_run_is_refused_by_what_differs(
    run: Run, data: dataset.Dataset, other: Recipe, steps: int | None, said: str
) -> None:
    with run.claimed():
        run.write_job(run.folder / JOB, "base", False)
    for resume in (False, True):
        with pytest.raises(AskdocsError, match=said):
            Run(run.folder, other, data, steps).can_start(resume)


def test_the_run_of_another_dataset_is_refused(run: Run, tmp_path: Path) -> None:
    with run.claimed():
        run.write_job(run.folder / JOB, "base", False)
    card = json.loads((run.data.folder / "card.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    for split in ("train", "validation"):
        (other / f"{split}.jsonl").write_bytes((run.data.folder / f"{split}.jsonl").read_bytes())
    (other / "card.json").write_text(json.dumps(card | {"wiki": "elsewhere"}))
    with pytest.raises(AskdocsError, match=r"holds another run \(of another dataset\)"):
        Run(run.folder, RECIPE, dataset.read(other), None).can_start(True)


def test_a_folder_with_something_else_in_it_is_refused(run: Run) -> None:
    run.folder.mkdir()
    (run.folder / "notes.txt").write_text("mine")
    with pytest.raises(AskdocsError, match=r"is not empty, and holds no run: name another --out"):
        run.can_start(True)
    assert (run.folder / "notes.txt").read_text() == "mine"


def test_a_run_is_claimed_once_until_the_last_process_of_it_has_gone(run: Run) -> None:
    with run.claimed() as lock:
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock]
        )
        with pytest.raises(AskdocsError, match=r"is in use by another training process"):
            Run.claimed(run).__enter__()
    with pytest.raises(AskdocsError, match=r"is in use by another training process"):
        Run.claimed(run).__enter__()
    child.communicate(b"\n")
    with run.claimed():
        pass


def test_the_same_run_has_the_same_folder_and_another_has_another(
    data: dataset.Dataset, home: Home
) -> None:
    place = default_folder(home, "docs", RECIPE, data, None)
    assert place == default_folder(home, "docs", RECIPE.model_copy(), data, None)
    assert place != default_folder(home, "docs", RECIPE, data, 9)
    assert place != default_folder(home, "hr", RECIPE, data, None)
    assert place.parent == home.root / "training"


def test_other_preferences_are_another_second_stage_of_the_same_first_one(
    run: Run, data: dataset.Dataset, home: Home, tmp_path: Path
) -> None:
    (tmp_path / "pairs.jsonl").write_text("{}\n")
    with run.claimed():
        done(run)
    nearer = RECIPE.model_copy(update={"preference": Preference(beta=0.5)})
    assert default_folder(home, "docs", nearer, data, None) == default_folder(
        home, "docs", RECIPE, data, None
    )
    same = Run(run.folder, nearer, data, None)
    same.can_start(False)
    before, after = (one.second(tmp_path) for one in (run, same))
    assert before.folder != after.folder
    before.folder.mkdir()
    before.write_job(before.folder / JOB, "base", False)
    assert json.loads((before.folder / JOB).read_text())["recipe"]["preference"]["beta"] == 0.1
    assert json.loads((run.folder / JOB).read_text())["recipe"]["preference"]["beta"] == 0.1


def test_a_run_that_is_done_becomes_a_version_once(run: Run, tmp_path: Path) -> None:
    with run.claimed():
        done(run)
    store = Store(Folder(tmp_path / "versions"))
    assert run.known(store, "docs") is None
    with run.version() as folder:
        name = store.add("docs", folder, run.facts({"a": True}))
    manifest = store.manifest(name)
    assert manifest.recipe == RECIPE.model_dump(mode="json")
    assert manifest.dataset.sha256 == run.data.digest
    assert manifest.dataset.examples["train"] == len(run.data.lengths["train"])
    assert manifest.prompt_fingerprint == run.data.card["prompt_fingerprint"]
    assert sorted(manifest.files) == [
        "adapter/adapter_model.safetensors",
        "loss.png",
        "probes.json",
        "trained.json",
        "training.json",
    ]
    assert run.known(store, "docs") == name
    assert run.known(store, "hr") is None
    assert not list(run.folder.glob("tmp*"))


def test_the_metrics_are_those_of_the_best_checkpoint(run: Run) -> None:
    with run.claimed():
        done(run)
    assert run.metrics() == {
        "eval_loss": 2.5,
        "train_loss": 2.0,
        "steps": 4,
        "best_step": 2,
        "tokens_per_second": 99.5,
    }


def test_a_version_says_that_memory_was_too_small_to_choose_by_answers(run: Run) -> None:
    with run.claimed():
        done(run)
    assert run.facts({"a": True}).checks == {"a": True}
    (run.folder / "choice.json").write_text('{"problem": "out of memory"}')
    assert run.facts({"a": True}).checks == {"a": True, "answers": "out of memory"}
    assert run.metrics()["best_step"] == 2
    assert "answer_score" not in run.metrics()


def test_resuming_is_reported_with_the_step(run: Run) -> None:
    with run.claimed():
        assert run.resumable().endswith("to start again")
        done(run)
    assert run.resumable().endswith("continue from step 4")
