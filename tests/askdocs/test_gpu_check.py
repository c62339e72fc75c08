"""`askdocs gpu check`: what a machine has and a recipe takes, beside the plan."""

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from askdocs.capacity import gpu_check
from askdocs.capacity.gpu_check import Checked
from askdocs.cli import app
from askdocs.environments import gpu
from askdocs.models.base import Base
from tests.training.test_finetune import python  # noqa: F401 -- a fixture
from training.plan import recipe as recipes
from training.plan.machine import Gpu, Machine
from training.plan.memory import GIB
from training.plan.shape import KNOWN, Shape

LLAMA = KNOWN["meta-llama/Llama-3.1-8B-Instruct"]
SMALL = Shape(64, 128, 2, 4, 2, 16, 512, 2048, True)
RECIPE = recipes.load("smollm2-135m-smoke").settled(False)
CPU = Machine(2, 8 * GIB, (), True, False)
A10G = Machine(8, 64 * GIB, (Gpu("NVIDIA A10G", 23 * GIB, 22 * GIB),), True, True)


def saying(folder: Path, memory: float, losses: tuple[float, ...] = (3.0, 2.9, 2.8)) -> Path:
    """A Python that tells what steps took on some machine."""
    told = {"device": "some GPU", "memory": int(memory), "tokens_per_second": 1000.0}
    return script(folder, f"echo '{json.dumps({**told, 'losses': losses})}'")


def script(folder: Path, line: str) -> Path:
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def outcomes(checks: list[Checked]) -> dict[str, str]:
    return {one.name: one.outcome for one in checks}


def test_memory_above_the_plan_and_a_loss_that_does_not_fall_are_failures(tmp_path: Path) -> None:
    good = list(gpu_check.training(saying(tmp_path, GIB), RECIPE, SMALL, CPU))
    assert outcomes(good) == {
        "training memory": "passed",
        "training speed": "passed",
        "training loss": "passed",
    }
    assert "100 million tokens take 28 hours" in good[1].measured
    bad = saying(tmp_path, 4 * GIB, (3.0, 3.0, 3.1))
    found = list(gpu_check.training(bad, RECIPE, SMALL, CPU))
    assert outcomes(found)["training memory"] == outcomes(found)["training loss"] == "failed"
    assert "halve batch_size" in found[0].fix


def test_what_a_gpu_cannot_hold_unquantised_is_not_tried(tmp_path: Path) -> None:
    big = recipes.load("llama31-8b-1gpu").settled(True)
    (found,) = gpu_check.training(tmp_path / "never", big, LLAMA, A10G)
    assert found.outcome == "skipped"
    assert "22.0 GiB are free" in found.measured
    assert found.planned.startswith("2 x 8,192 tokens")


def test_steps_that_crash_or_take_too_long_are_told(tmp_path: Path) -> None:
    (found,) = gpu_check.training(
        script(tmp_path, "echo 'CUDA out of memory' >&2; exit 1"), RECIPE, SMALL, CPU
    )
    assert (found.outcome, found.measured) == ("failed", "CUDA out of memory")
    (found,) = gpu_check.training(script(tmp_path, "exec sleep 60"), RECIPE, SMALL, CPU, 0.2)
    assert "not done after" in found.measured
    (found,) = gpu_check.training(tmp_path / "no python", RECIPE, SMALL, CPU)
    assert "does not start (No such file or directory)" in found.measured
    assert found.fix == "name another --python"


def test_an_out_that_is_a_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    out = tmp_path / "file"
    out.touch()
    words = ["gpu", "check", "--recipe", "smollm2-135m-smoke", "--out", str(out)]
    assert "name another" in str(CliRunner().invoke(app, words).exception)


def test_an_old_driver_and_a_small_disk_are_failures_with_their_fix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu, "problems", lambda: ["the driver is old: install a newer one"])
    found = list(gpu_check.machine(A10G))
    assert [one.outcome for one in found] == ["passed", "failed"]
    assert found[1].fix == "install a newer one"
    assert [one.outcome for one in gpu_check.machine(CPU)] == ["skipped"]
    huge = Shape(2**20, 2**20, 1000, 8, 8, 128, 2**20, 8192, False)
    assert gpu_check.disk(tmp_path, huge, CPU).outcome == "failed"
    assert gpu_check.disk(tmp_path, SMALL, CPU).outcome == "passed"
    assert gpu_check.hub(Base("small", tmp_path)).outcome == "skipped"


@pytest.mark.slow
def test_the_small_model_takes_the_memory_of_the_plan(
    python: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """With the real libraries, and the report."""
    words = ["gpu", "check", "--recipe", "smollm2-135m-smoke", "--python", str(python)]
    words += ["--home", str(tmp_path / "none yet")]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out"), "--json"])
    found = json.loads(done.stdout)
    by_name = {one["name"]: one for one in found["checks"]}
    assert by_name["training memory"]["outcome"] == "passed", by_name
    assert by_name["training loss"]["outcome"] == "passed"
    assert done.exit_code == 0
    assert json.loads((tmp_path / "out" / "check.json").read_text()) == found
    assert "| training memory | passed |" in (tmp_path / "out" / "check.md").read_text()
