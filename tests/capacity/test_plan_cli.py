"""`askdocs plan` on the command line."""

import json
import shlex
from typing import Any

import pytest
from typer.testing import CliRunner

from askdocs.cli import app
from core.errors import AskdocsError
from tests.capacity.sizes import LLAMA

A10G = ["plan", "--gpu", "a10g", "--model", LLAMA, "--context", "32768"]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def planned(*arguments: str) -> Any:
    return json.loads(run(*A10G, *arguments, "--json"))


def test_json_has_all_that_a_script_needs() -> None:
    facts = planned("--quantization", "fp8", "--qps", "2")
    assert 81_000 < facts["kv_tokens"] < 90_000
    assert facts["fits"] is facts["fits_on_one"] is True
    assert facts["gpus"] == facts["replicas"] * facts["tensor_parallel"] > 1
    assert facts["month_usd"] == pytest.approx(facts["gpus"] * 1.006 * 730)
    assert facts["requests_at_context"] == facts["kv_tokens"] // 32_768
    assert facts["requests_typical"] > facts["requests_at_context"]
    assert facts["assumptions"]["max_num_batched_tokens"] == 2048
    assert facts["price"]["source"].startswith("https://")


def test_what_fits_by_less_than_a_plan_may_be_wrong_says_so() -> None:
    facts = planned()
    assert (facts["fits"], facts["tight"]) == (True, True)
    assert "note        tight: " in run(*A10G)
    assert planned("--quantization", "fp8")["tight"] is False


def test_what_nobody_can_read_as_fast_as_assumed_says_so() -> None:
    assert "note        slow: even one answer" in run(*A10G, "--assume", "prompt_tokens=30000")


def test_an_assumption_changes_the_plan_and_is_shown() -> None:
    text = run(*A10G, "--assume", "gpu_memory_utilization=0.95")
    assert "gpu_memory_utilization         0.95  Share of GPU memory" in text
    assert "--gpu-memory-utilization 0.95" in text
    more = planned("--assume", "gpu_memory_utilization=0.95")["kv_tokens"]
    assert more > planned()["kv_tokens"] + 8000


def test_the_command_that_is_shown_is_the_command_in_the_json() -> None:
    line = next(line for line in run(*A10G).splitlines() if line.startswith("  env "))
    facts = planned()
    variables = [f"{name}={value}" for name, value in facts["environment"].items()]
    assert shlex.split(line) == ["env", *variables, *facts["command"]]


def test_what_one_gpu_does_not_hold_is_planned_for_more_and_says_so() -> None:
    text = run("plan", "--gpu", "a10g", "--model", LLAMA, "--context", "131072")
    assert text.startswith("One a10g: does not fit on 1 GPU: needs 31.8 of 19.9 GiB")
    assert "2 a10g, 2 share a copy" in text
    facts = planned("--context", "131072", "--gpus", "4")
    assert (facts["fits"], facts["fits_on_one"], facts["gpus"]) == (True, False, 4)


def test_a_refusal_is_json_for_scripts_and_an_error_for_people() -> None:
    arguments = ["plan", "--gpu", "a10g", "--model", LLAMA, "--context", "131072", "--gpus", "1"]
    with pytest.raises(AskdocsError, match="does not fit on 1 GPU"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 2
    said = json.loads(result.stdout)
    assert said["fits"] is False
    assert said["why"].startswith("does not fit on 1 GPU")


def test_users_become_questions_a_second() -> None:
    assert planned("--users", "200")["qps"] == pytest.approx(200 * 10 / 28_800 * 3, abs=1e-4)


def test_a_gpu_without_a_price_says_how_to_give_one() -> None:
    arguments = ["plan", "--gpu", "a100-40g", "--model", LLAMA]
    assert "no price for a100-40g: add --gpu-hour USD" in run(*arguments)
    assert "$1,460 a month ($2.0 an hour" in run(*arguments, "--gpu-hour", "2")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([*A10G, "--quantization", "int3"], "--quantization int3: use one of fp8, int4"),
        ([*A10G, "--qps", "1", "--users", "5"], "--qps 1 and --users 5: give only one"),
    ],
)
def test_wrong_options_are_one_line_with_the_fix(arguments: list[str], says: str) -> None:
    with pytest.raises(AskdocsError) as raised:
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert says in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
