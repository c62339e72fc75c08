"""A sweep of a recipe: its candidates, its budget and its report."""

import json
from pathlib import Path

import pytest

from askdocs.models import sweeping
from askdocs.models.sweeping import Sweep, Tried
from askdocs.models.training_run import Run
from gateway.core.errors import AskdocsError
from tests.training import small
from training.data import dataset
from training.plan import recipe as recipes

RECIPE = recipes.load("smollm2-135m-smoke").settled(False)
GRID = Sweep(gpu_hours=10, seeds=(0, 1, 2), learning_rate=(1e-4, 2e-4), r=(8, 32))
# Losses by learning rate: the second one is better, and less so with seed 1.
LOSSES = {1e-4: (2.0, 2.1, 2.2), 2e-4: (1.0, 1.6, 1.0)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dataset.Dataset:
    return dataset.read(small.dataset(tmp_path_factory.mktemp("data")))


def trained(run: Run) -> None:
    """What a run of an hour leaves behind."""
    run.folder.mkdir(parents=True)
    run.write_job(run.folder / "job.json", "base", True)
    loss = LOSSES[run.recipe.learning_rate][run.recipe.seed]
    events = [
        {"event": "start", "steps": 2},
        {"event": "eval", "step": 2, "loss": loss},
        {"event": "done", "step": 2, "best_step": 2, "seconds": 3600.0},
    ]
    (run.folder / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events))
    (run.folder / "training.json").write_text(json.dumps({"seconds": 3600}))


def swept(
    grid: Sweep, data: dataset.Dataset, out: Path
) -> tuple[list[Tried], list[str], list[str]]:
    """Results, runs that were made, and what was said."""
    made: list[str] = []
    said: list[str] = []

    def train(run: Run) -> None:
        made.append(run.folder.name)
        trained(run)

    def choose(run: Run) -> None:
        """Of every run that is done, whether it was trained now or before."""
        score = {"step": 2, "scores": {"2": -run.metrics()["eval_loss"]}}
        (run.folder / "choice.json").write_text(json.dumps(score))

    return sweeping.run(grid, RECIPE, data, None, out, train, choose, said.append), made, said


def test_settings_are_ranked_by_the_mean_over_their_seeds(
    data: dataset.Dataset, tmp_path: Path
) -> None:
    found, made, _ = swept(GRID.model_copy(update={"gpu_hours": 100}), data, tmp_path)
    assert len(made) == 12
    assert [one.setting for one in found[:2]] == ["lr0.0002-r8", "lr0.0002-r32"]
    assert found[0].mean == pytest.approx(-1.2)
    assert found[0].half == pytest.approx(4.3027 * 0.34641 / 3**0.5, rel=1e-3)
    assert sweeping.table(found)[0] == ["lr0.0002-r8", "-1.2000 ± 0.8605", "3"]
    assert Tried("one", (1.0,)).half is None


def test_a_budget_ends_after_whole_rounds_and_a_larger_one_resumes(
    data: dataset.Dataset, tmp_path: Path
) -> None:
    few = GRID.model_copy(update={"gpu_hours": 4.5})
    found, made, said = swept(few, data, tmp_path)
    assert [name.rpartition("seed")[2] for name in made] == ["0"] * 4
    assert {len(one.scores) for one in found} == {1}
    assert "skipped, 4.00 GPU hours are used" in said[-1]
    _, more, _ = swept(GRID.model_copy(update={"gpu_hours": 6}), data, tmp_path)
    assert [name.rpartition("seed")[2] for name in more] == ["1"] * 2


def test_the_hours_of_killed_starts_and_of_answers_count(
    data: dataset.Dataset, tmp_path: Path
) -> None:
    recipe = RECIPE.model_copy(update={"learning_rate": 1e-4})
    made = Run(tmp_path / "one", recipe, data, None)
    assert made.gpu_hours == 0
    trained(made)
    before = [
        {"event": "start", "steps": 2},
        {"event": "step", "step": 1, "loss": 2.0, "seconds": 1800.0},
        {"event": "start", "steps": 2},
        {"event": "step", "step": 1, "loss": 2.0, "seconds": 5400.0},
        {"event": "saved", "step": 1},
    ]
    file = made.folder / "events.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in before) + file.read_text())
    assert made.gpu_hours == 3
    row = {"checkpoint": "checkpoint-2", "row": 0, "answer": "a", "seconds": 1800.0}
    (made.folder / "answers.jsonl").write_text(json.dumps(row) + '\n{"checkpoint": "che')
    assert made.gpu_hours == 3.5


def test_a_run_that_was_killed_and_is_left_out_counts_too(
    data: dataset.Dataset, tmp_path: Path
) -> None:
    few = Sweep(gpu_hours=2, seeds=(0,), learning_rate=(1e-4, 2e-4))
    killed = tmp_path / "lr0.0001-r8-seed0"
    killed.mkdir()
    step = {"event": "step", "step": 1, "loss": 2.0, "seconds": 3 * 3600.0}
    (killed / "events.jsonl").write_text(json.dumps(step) + "\n")
    (_, first), _ = sweeping.runs(few, RECIPE, data, None, tmp_path)
    first.write_job(killed / "job.json", "base", True)
    _, made, said = swept(few, data, tmp_path)
    assert not made
    assert "3.00 GPU hours are used" in said[-1]


def test_a_run_that_was_killed_before_its_choice_gets_one(
    data: dataset.Dataset, tmp_path: Path
) -> None:
    """Its loss would be compared with the scores of the others."""
    small = Sweep(gpu_hours=10, seeds=(0,), learning_rate=(1e-4, 2e-4))
    found, _, _ = swept(small, data, tmp_path)
    choice = tmp_path / "lr0.0001-r8-seed0" / "choice.json"
    choice.unlink()
    again, made, _ = swept(small, data, tmp_path)
    assert again == found
    assert not made
    assert choice.is_file()


def test_an_adapter_counts_as_much_at_every_rank_and_with_rslora_more_at_a_higher_one() -> None:
    plain, scaled = (
        Sweep(gpu_hours=1, seeds=(0,), r=(4, 64), rslora=(one,)) for one in (False, True)
    )
    loras = [one.lora for _, _, one in sweeping.recipes(plain, RECIPE)]
    assert {one.alpha / one.r for one in loras} == {RECIPE.lora.alpha / RECIPE.lora.r}
    low, high = (one.lora for _, _, one in sweeping.recipes(scaled, RECIPE))
    assert low.rslora
    assert high.rslora
    assert high.alpha / high.r**0.5 == 4 * low.alpha / low.r**0.5  # 64 is 4 * 4 * 4


def test_values_named_twice_are_tried_once_and_near_ones_have_other_folders() -> None:
    grid = Sweep.model_validate(
        {
            "gpu_hours": 1,
            "seeds": [0, 0],
            "learning_rate": [1e-4, 0.0001, 1.0000001e-4],
            "r": [8, 8],
            "rslora": [False, False],
        }
    )
    names = [name for name, _, _ in sweeping.recipes(grid, RECIPE)]
    assert names == ["lr0.0001-r8", "lr0.00010000001-r8"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gpu_hours = 0", "gpu_hours: Input should be greater than 0"),
        ("gpu_hours = 1\nrank = [1]", "rank: Extra inputs are not permitted; keys are gpu_hours"),
        ("gpu_hours = ", "is not TOML"),
        ("gpu_hours = 1\nr = [0]", "r.0: Input should be greater than 0"),
        ("gpu_hours = 1\nseeds = [-1]", "seeds.0: Input should be greater than or equal to 0"),
        ("gpu_hours = 1\nlearning_rate = [nan]", "learning_rate.0: Input should be"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(text)
    with pytest.raises(AskdocsError, match="sweep") as wrong:
        sweeping.load(file)
    assert said in str(wrong.value)
