"""`askdocs gpu check`: what a machine has and a recipe takes, beside the plan."""

import json
import random
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from askdocs import environments
from askdocs.capacity import gpu_check, gpu_serving, models, plan
from askdocs.capacity.assumptions import Assumptions
from askdocs.capacity.gpu_check import Budget, Checked
from askdocs.capacity.gpu_serving import Load
from askdocs.capacity.gpus import GPUS
from askdocs.capacity.setup import Setup
from askdocs.cli import app
from askdocs.environments import gpu
from askdocs.models import model
from askdocs.models.base import Base
from askdocs.supervision.checks import free_port
from core.errors import AskdocsError
from tests.training.test_finetune import python  # noqa: F401 -- a fixture
from training.data.tokens import Tokens
from training.plan import recipe as recipes
from training.plan.machine import Gpu, Machine
from training.plan.memory import GIB, estimate
from training.plan.shape import KNOWN, Shape
from training.tuning.options import quantisation

LLAMA = KNOWN["meta-llama/Llama-3.1-8B-Instruct"]
SMALL = Shape(64, 128, 2, 4, 2, 16, 512, 2048, True)
RECIPE = recipes.load("smollm2-135m-smoke").settled(False)
CPU = Machine(2, 8 * GIB, (), True, False)
A10G = Machine(8, 64 * GIB, (Gpu("NVIDIA A10G", 23 * GIB, 22 * GIB),), True, True)


TIME = Budget(600, lambda: 0.0)  # whenever the test runs


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
    good = list(gpu_check.training(saying(tmp_path, GIB), RECIPE, SMALL, CPU, TIME))
    assert outcomes(good) == {
        "training memory": "passed",
        "training speed": "passed",
        "training loss": "passed",
    }
    assert "100 million tokens take 28 hours" in good[1].measured
    bad = saying(tmp_path, 4 * GIB, (3.0, 3.0, 3.1))
    found = list(gpu_check.training(bad, RECIPE, SMALL, CPU, TIME))
    assert outcomes(found)["training memory"] == outcomes(found)["training loss"] == "failed"
    assert "halve batch_size" in found[0].fix


def test_what_a_gpu_cannot_hold_is_not_tried(tmp_path: Path) -> None:
    big = recipes.load("llama31-8b-1gpu").settled(True)
    few = A10G._replace(gpus=(Gpu("NVIDIA T4", 15 * GIB, 14 * GIB),))
    (found,) = gpu_check.training(tmp_path / "never", big, LLAMA, few, TIME)
    assert found.outcome == "skipped"
    assert "14.0 GiB are free" in found.measured
    assert found.planned.startswith("2 x 8,192 tokens")


def test_a_card_of_24_gb_takes_the_steps_of_the_recipe(tmp_path: Path) -> None:
    """In 4 bits, with packed rows and the optimiser in 8 bits, in the memory of the same plan."""
    big = recipes.load("llama31-8b-1gpu").settled(True)
    takes = script(tmp_path, f'cp "$3" {tmp_path}/job.json; echo stopped >&2; exit 1')
    (found,) = gpu_check.training(takes, big, LLAMA, A10G, TIME)
    assert found.measured == "stopped"
    job = json.loads((tmp_path / "job.json").read_text())
    assert job["quantisation"] == quantisation(big.model_dump(mode="json"))
    assert job["quantisation"]["bnb_4bit_quant_type"] == "nf4"
    assert (job["optimizer"], job["packing"], job["tokens"]) == ("adamw_8bit", True, 8192)
    taken = saying(tmp_path, estimate(LLAMA, big, 8192, True).total)
    by_name = outcomes(list(gpu_check.training(taken, big, LLAMA, A10G, TIME)))
    assert by_name["training memory"] == "passed"


def test_steps_that_crash_or_take_too_long_are_reported(tmp_path: Path) -> None:
    (found,) = gpu_check.training(
        script(tmp_path, "echo 'CUDA out of memory' >&2; exit 1"), RECIPE, SMALL, CPU, TIME
    )
    assert (found.outcome, found.measured) == ("failed", "CUDA out of memory")
    slow = script(tmp_path, "exec sleep 60")
    (found,) = gpu_check.training(slow, RECIPE, SMALL, CPU, Budget(0.2, lambda: 0.0))
    assert "not done after" in found.measured
    (found,) = gpu_check.training(tmp_path / "no python", RECIPE, SMALL, CPU, TIME)
    assert "does not start (No such file or directory)" in found.measured
    assert found.fix == "name another --python"


def test_what_does_not_fit_into_the_time_is_named_and_not_run(tmp_path: Path) -> None:
    now = [0.0]
    budget = Budget(600, lambda: now[0])
    assert budget.left == 600
    now[0] = 599
    assert budget.left == 1
    now[0] = 601
    never = tmp_path / "never"
    found = list(gpu_check.training(never, RECIPE, SMALL, CPU, budget))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    found += gpu_serving.serving(never, tmp_path, never, tmp_path, CPU, 2048, budget)
    found.append(gpu_serving._load("", Load(5, 4, 1, (3,)), None, tmp_path, CPU, budget))
    assert list(outcomes(found)) == ["training memory", "vLLM", "load"]
    for one in found:
        assert (one.outcome, one.measured) == (
            "skipped",
            "not run: the limit of 10 minutes was reached",
        )
        assert "--only" in one.fix


def test_a_check_without_time_reports_what_it_has_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_check, "SECONDS", 0.0)
    never = tmp_path / "never"
    done = CliRunner().invoke(app, words_for(tmp_path, never, never))
    assert done.exit_code == 0, done.output
    by_name = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    assert by_name["vLLM"]["measured"].startswith("not run")


def test_libraries_that_cannot_be_installed_cost_nobody_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> Path:
        raise AskdocsError("pip: no route to the registry")

    monkeypatch.setattr(environments, "ensure_vllm", fails)
    words = words_for(tmp_path, tmp_path / "trains", tmp_path / "serves")
    at = words.index("--vllm")
    done = CliRunner().invoke(app, [*words[:at], *words[at + 2 :], "--out", str(tmp_path / "out")])
    assert done.exit_code == 1, done.output
    *machine_checks, last = json.loads(done.stdout)["checks"]
    assert [one["name"] for one in machine_checks][-2:] == ["disk", "hub"]
    assert (last["name"], last["outcome"]) == ("environments", "failed")
    assert last["measured"] == "pip: no route to the registry"
    assert "| environments | failed |" in (tmp_path / "out" / "check.md").read_text()


def test_the_memory_of_serving_is_compared_with_the_plan() -> None:
    after = A10G._replace(gpus=(A10G.gpus[0]._replace(free=2 * GIB),))
    found = gpu_serving._memory(20 * GIB, A10G, after)
    assert (found.outcome, found.measured) == ("passed", "20.0 GiB")
    assert gpu_serving._memory(15 * GIB, A10G, after).outcome == "failed"


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
    words += ["--only", "training"]
    words += ["--home", str(tmp_path / "none yet")]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out"), "--json"])
    found = json.loads(done.stdout)
    by_name = {one["name"]: one for one in found["checks"]}
    assert by_name["training memory"]["outcome"] == "passed", by_name
    assert by_name["training loss"]["outcome"] == "passed"
    assert done.exit_code == 0
    assert json.loads((tmp_path / "out" / "check.json").read_text()) == found
    assert "| training memory | passed |" in (tmp_path / "out" / "check.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_vllm_has_the_cache_of_the_plan_and_takes_adapters(
    python: Path,  # noqa: F811
    vllm_python: Path,
    shallow: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The real vLLM with two layers of the small model: the checks of a GPU machine, at the size of
    this one."""
    monkeypatch.setattr(gpu_check, "SECONDS", 3600.0)  # of a busy machine
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f"base_model = {json.dumps(str(shallow))}\nmax_length = 2048\n")
    words = ["gpu", "check", "--recipe", str(recipe), "--python", str(python)]
    words += ["--only", "serving", "--vllm", str(vllm_python), "--home", str(tmp_path / "home")]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out"), "--json"])
    found = json.loads(done.stdout)
    by_name = {one["name"]: one for one in found["checks"]}
    for name in ("vLLM", "KV cache", "prefix cache", "adapter", "load"):
        assert by_name[name]["outcome"] == "passed", by_name[name]
    assert done.exit_code == 0
    assert "nats" in by_name["adapter"]["measured"]
    assert not list((tmp_path / "home").glob(".gpu-check-*"))
    assert "| KV cache | passed |" in (tmp_path / "out" / "check.md").read_text()


@pytest.mark.slow
def test_random_weights_of_a_shape_are_a_model_with_a_tokenizer(
    python: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    folder = gpu_check.drawn(python, RECIPE, SMALL, tmp_path / "random", TIME)
    config = json.loads((folder / "config.json").read_text())
    assert (config["hidden_size"], config["num_hidden_layers"]) == (64, 2)
    assert {"tokenizer.json", "model.safetensors"} <= {one.name for one in folder.iterdir()}


def test_vllm_is_started_on_a_gpu_with_the_flags_of_the_plan(tmp_path: Path) -> None:
    name = "meta-llama/Llama-3.1-8B-Instruct"
    (tmp_path / "config.json").write_text(json.dumps(models.known()[name]))
    shape = models.find(str(tmp_path)).shape
    setup = Setup(shape, GPUS["a10g"], 1, None, 8192, 1, Assumptions())
    made = plan.make(setup, 1, None)
    found = gpu_serving._planned(Path("/opt/python"), tmp_path, 9, shape, A10G, 8192)
    assert found.launch.argv[1:] == plan.command(setup, str(tmp_path), 9)[0][1:]
    assert found.launch.argv[0] == "/opt/python"
    assert found.cache == made.kv_tokens
    assumed = made.setup.assumed
    assert found.load.prompt + gpu_serving.TEMPLATE == assumed.prompt_tokens
    assert found.load.answer == assumed.answer_tokens
    few = Machine(8, 64 * GIB, (Gpu("NVIDIA Unheard Of", 23 * GIB, 22 * GIB),), True, True)
    (skipped,) = gpu_serving.serving(Path("none"), tmp_path, tmp_path, tmp_path, few, 8192, TIME)
    assert (skipped.outcome, skipped.name) == ("skipped", "vLLM")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gap", "planned", "outcome"),
    [
        ("0.0001", 9.0, "passed"),
        ("0.05", 9.0, "failed"),
        ("0.05", 0.0, "passed"),
        ("0.05", None, "passed"),
    ],
)
def test_the_load_is_the_highest_rate_at_which_answers_are_fast(
    tmp_path: Path,
    gap: str,
    planned: float | None,
    outcome: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Against the stand-in that is as slow as its options say: here seconds between two tokens."""
    if gap == "0.0001":  # fast is what a busy machine manages, too
        monkeypatch.setattr(gpu_serving, "P99", 20_000.0)
    port = free_port()
    argv = [sys.executable, "-m", "research.bench.gpu", "--port", str(port), "--gap", gap]
    load = Load(prompt=5, answer=4, seconds=3, rates=(3, 4))
    with subprocess.Popen(argv) as engine:
        try:
            url = f"http://127.0.0.1:{port}/v1"
            until = time.monotonic() + 60
            while not answers(url):
                assert time.monotonic() < until
                time.sleep(0.1)
            found = gpu_serving._load(url, load, planned, tmp_path, CPU, TIME)
        finally:
            engine.kill()
    assert found.outcome == outcome, found
    assert found.measured.startswith("none:" if gap == "0.05" else ("3 q", "4 q")), found
    assert bool(found.fix) == (outcome == "failed")


def test_a_load_test_that_the_time_ends_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second rate takes longer than what is left; then the first one does."""
    answers = json.dumps({"answers": [[1, "whole", 0.1, 0.2]], "error": ""})
    again = tmp_path / "again"
    line = f"test -e {again} && exec sleep 600; touch {again}; echo '{answers}'"
    monkeypatch.setattr(sys, "executable", str(script(tmp_path, line)))
    load = Load(5, 4, 0, (3, 4))
    budget = Budget(600, lambda: 599.8 if again.exists() else 0.0)
    found = gpu_serving._load("", load, 9.0, tmp_path, A10G, budget)
    assert (found.outcome, found.fix) == ("passed", "")
    assert found.measured.startswith("3 questions/s, or more: the time limit was reached")
    found = gpu_serving._load("", load, 9.0, tmp_path, CPU, budget)
    assert (found.outcome, found.measured[:7]) == ("skipped", "not run")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("echo 'no such module' >&2; exit 3", "ended (exit code 3): no such module"),
        ("echo 'a slow start' >&2; echo half", "printed no JSON: a slow start"),
    ],
)
def test_a_load_test_that_breaks_is_a_failed_check_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, said: str
) -> None:
    monkeypatch.setattr(sys, "executable", str(script(tmp_path, line)))
    found = gpu_serving._load(
        "http://127.0.0.1:9/v1", Load(5, 4, 1, (3,)), 9.0, tmp_path, CPU, TIME
    )
    assert found.outcome == "failed"
    assert found.measured.startswith("at 3 questions/s: the load test")
    assert said in found.measured


def test_answers_that_all_fail_are_counted(tmp_path: Path) -> None:
    """The real load test: nothing listens on the port."""
    url = f"http://127.0.0.1:{free_port()}/v1"
    found = gpu_serving._load(url, Load(5, 4, 1, (9,)), 9.0, tmp_path, CPU, TIME)
    assert found.outcome == "failed"
    assert re.match(r"none: all \d+ answers failed at 9 questions/s \(question 1: ", found.measured)


def test_questions_of_the_load_fit_and_have_other_beginnings() -> None:
    """With the tokenizer that random weights get, too."""
    tokens = Tokens(Path(model.shipped().source))
    prompt, chance = Assumptions().prompt_tokens, random.Random(0)
    asked = [gpu_serving._question(chance, prompt - gpu_serving.TEMPLATE) for _ in range(3)]
    assert max(tokens.count(asked)) <= prompt - gpu_serving.TEMPLATE + 10
    assert len({text[:100] for text in asked}) == 3


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/models").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize(("name", "is_fast"), [("a10g", False), ("h100", False), ("b200", True)])
def test_no_rate_is_planned_where_one_answer_alone_is_too_slow(
    tmp_path: Path, name: str, is_fast: bool
) -> None:
    llama = models.known()["meta-llama/Llama-3.1-8B-Instruct"]
    (tmp_path / "config.json").write_text(json.dumps(llama))
    shape = models.find(str(tmp_path)).shape
    card = Gpu(f"NVIDIA {GPUS[name].seen}", 0, 0)
    here = Machine(8, 64 * GIB, (card,), True, True)
    found = gpu_serving._planned(Path("python"), tmp_path, 9, shape, here, 8192)
    setup = Setup(shape, GPUS[name], 1, None, 8192, 1, Assumptions())
    rate = plan.make(setup, 1, None).load.questions * setup.assumed.utilisation
    assert found.rate == (rate if is_fast else 0)


def test_a_vllm_that_does_not_start_says_why(tmp_path: Path) -> None:
    name = "meta-llama/Llama-3.1-8B-Instruct"
    (tmp_path / "config.json").write_text(json.dumps(models.known()[name]))
    failing = script(tmp_path, "echo 'no such device'; exit 3")
    (failed,) = gpu_serving.serving(failing, tmp_path, tmp_path, tmp_path, CPU, 2048, TIME)
    assert failed.outcome == "failed"
    assert "vLLM does not start: no such device" in failed.measured


CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}


def words_for(folder: Path, trains: Path, serves: Path) -> list[str]:
    """A check of what serves a small model."""
    (folder / "base").mkdir()
    (folder / "base" / "config.json").write_text(json.dumps(CONFIG))
    recipe = folder / "recipe.toml"
    recipe.write_text(f"base_model = {json.dumps(str(folder / 'base'))}\nmax_length = 2048\n")
    words = ["gpu", "check", "--recipe", str(recipe), "--only", "serving", "--json"]
    words += ["--python", str(trains), "--vllm", str(serves)]
    return [*words, "--home", str(folder / "home")]


@pytest.mark.slow
def test_a_check_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    starts = script(tmp_path, "exec sleep 600")
    argv = [str(Path(sys.executable).with_name("askdocs")), *words_for(tmp_path, starts, starts)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 120
            while not list((tmp_path / "home").rglob("vllm.log")):
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)
            process.terminate()
            assert process.wait(60)
        finally:
            process.kill()
    assert not list((tmp_path / "home").iterdir())


def test_a_part_that_is_none_is_refused() -> None:
    done = CliRunner().invoke(app, ["gpu", "check", "--only", "driving"])
    assert str(done.exception) == "--only driving: use one of training, serving"
