"""How many GPUs, how fast, and what is said when it does not fit."""

import re
from pathlib import Path

import pytest

from askdocs.capacity import memory, speed
from askdocs.capacity.here import after, before
from askdocs.capacity.plan import (
    MARGIN,
    DoesNotFit,
    command,
    demand,
    make,
    memory_left,
    notes,
    refusal,
    slow,
    tight,
)
from askdocs.capacity.reported import Reported, parse
from askdocs.capacity.reported import refusal as too_small
from askdocs.capacity.setup import Setup
from core.errors import AskdocsError
from tests.capacity.sizes import LLAMA, setup
from tests.starting import shown
from training.plan.machine import Gpu

A10G = Gpu("NVIDIA A10G", 23028 * 2**20, 22700 * 2**20)


def test_the_default_context_fits_one_a10g_and_the_longest_does_not() -> None:
    assert refusal(setup(context=32_768)) == ""
    assert refusal(setup(context=131_072)) == (
        "does not fit on 1 GPU: needs 31.8 of 19.9 GiB (weights 15.0, one request of 131,072 tokens"
        " 16.0, the rest 0.8); use --context 29696, or 2 GPUs (--gpus 2)"
    )
    assert refusal(setup(context=65_536, quantization="fp8")) == ""


def test_what_fits_by_less_than_a_plan_may_be_wrong_is_tight_and_says_what_is_sure() -> None:
    assert [tight(setup(context=length)) for length in (29_696, 30_720, 32_768)] == [
        *(False, True, True)
    ]
    assert not tight(setup(context=131_072))  # it does not fit at all
    assert notes(setup()) == [
        "tight: a plan has been wrong by 0.45 GiB, and less is left, so vLLM may refuse to start;"
        " to be sure, use --quantization fp8, --context 29696, or 2 GPUs (--gpus 2)"
    ]
    assert notes(setup(context=29_696)) == []


def test_as_many_gpus_share_a_model_as_surely_hold_it() -> None:
    of = setup("Qwen/Qwen2.5-32B-Instruct", "l40s", gpus=2, gpu_memory_utilization=0.82)
    assert tight(of)
    assert make(of, None, None).setup.gpus == 4
    assert make(of, 2, None).setup.gpus == 2
    large = setup("meta-llama/Llama-3.1-70B-Instruct", gpus=8)
    assert tight(large)  # and no more than 8 can share it
    assert make(large, None, None).setup.gpus == 8


def test_every_fix_that_is_proposed_surely_fits() -> None:
    for model, gpu in [(LLAMA, "t4"), (LLAMA, "a10g"), ("Qwen/Qwen2.5-32B-Instruct", "l40s")]:
        of = setup(model, gpu, context=32_768, adapters=2)
        why = refusal(of)
        if not why:
            continue
        weights = re.search(r"--quantization (\w+)", why)
        context, gpus = re.search(r"--context (\d+)", why), re.search(r"--gpus (\d)", why)
        assert weights or context or gpus
        if weights:
            small = setup(model, gpu, quantization=weights[1], adapters=2)
            assert memory_left(small) >= MARGIN
        if context:
            length = int(context[1])
            assert memory_left(setup(model, gpu, context=length, adapters=2)) >= MARGIN
            assert memory_left(setup(model, gpu, context=length + 1024, adapters=2)) < MARGIN
        if gpus:
            assert memory_left(setup(model, gpu, gpus=int(gpus[1]), adapters=2)) >= MARGIN


def test_as_many_gpus_share_a_model_as_can_share_its_keys_and_values() -> None:
    """Phi 4 has 40 heads, and 10 of keys and values: vLLM asserts that those are shared evenly."""
    of = setup("microsoft/phi-4", "t4", context=8192)
    why = refusal(of)
    assert why.startswith("does not fit on 1 GPU")
    assert "--gpus" not in why
    with pytest.raises(DoesNotFit):
        make(of, None, None)
    four = "--gpus 4: cannot share 10 heads of keys and values evenly: use 1 or 2"
    with pytest.raises(AskdocsError, match=four):
        make(of, 4, None)
    assert make(setup("microsoft/phi-4", "a10g", context=8192), None, None).setup.gpus == 2
    # Two GPUs may have the same head.
    assert make(setup("Qwen/Qwen3-235B-A22B-FP8", "h100"), 8, None).setup.gpus == 8


def test_what_nothing_can_hold_is_sent_to_a_larger_gpu() -> None:
    with pytest.raises(DoesNotFit, match=r"use a larger --gpu, or a smaller --model$"):
        make(setup("Qwen/Qwen3-235B-A22B-FP8", "t4"), None, None)


def test_as_few_gpus_as_hold_a_model_share_it_and_the_reason_is_kept() -> None:
    made = make(setup("meta-llama/Llama-3.1-70B-Instruct", "a100-80g"), None, None)
    assert (made.setup.gpus, made.gpus) == (4, 4)  # two hold the weights, but no cache
    assert made.why.startswith("does not fit on 1 GPU: needs ")
    with pytest.raises(DoesNotFit, match=r"does not fit on 2 GPUs: needs .* each"):
        make(setup("meta-llama/Llama-3.1-70B-Instruct", "a10g"), 2, None)
    assert make(setup(), 4, None).setup.gpus == 4


def test_copies_follow_from_the_questions_of_the_busiest_minutes() -> None:
    one = make(setup(), None, None)
    rate = one.load.questions * 0.7
    assert make(setup(), None, rate * 2.5).replicas == 3
    assert make(setup(), None, rate).replicas == 1
    assert make(setup(), None, 0).replicas == 1
    # 200 people, 10 questions a day each in 8 hours, three times as many in the busiest minutes.
    assert demand(200, setup()) == pytest.approx(200 * 10 / 28_800 * 3)
    assert make(setup(), None, rate * 2.5).month(1.006) == pytest.approx(3 * 1.006 * 730)


def test_the_roofline_is_what_one_works_out_by_hand() -> None:
    of = setup()
    # 600 GB/s x 0.75; 6.98 billion weights of the blocks and 0.53 of the head, 2 bytes each.
    writing = speed.step(of, 1, 1)
    assert writing == pytest.approx((6.98e9 + 0.525e9) * 2 / 450e9, rel=0.002)
    # 70 TFLOPS x 0.5; 2 operations a weight and token.
    reading = speed.reading(of, 1000) - speed.step(of, 1, 1000)
    assert reading == pytest.approx(2 * 6.98e9 * 1000 / 35e12, rel=0.03)
    # A cold prompt of the whole context: attention is two thirds of the work.
    assert 150 < speed.reading(setup(quantization="fp8"), 131_072) < 200


def test_an_a10g_writes_about_as_fast_as_others_have_measured() -> None:
    """One reader of a 7B to 8B model gets 28 to 33 tokens/s; many short questions together 490."""
    of = setup(prompt_tokens=200, answer_tokens=200, stream_rate=8)
    assert 25 < 1 / speed.step(of, 1, 300) < 35
    load = speed.busiest(of, memory.at_once(of, 4 * 2**30, 400))
    assert 400 < load.tokens(200) < 1200
    assert 2 < load.questions < 10


def test_quantised_weights_are_written_faster_and_read_faster_only_by_gpus_that_can() -> None:
    assert speed.step(setup(quantization="fp8"), 1, 1) < 0.6 * speed.step(setup(), 1, 1)
    for gpu, factor in (("a10g", 1.0), ("l4", 2.0)):
        plain, small = setup(gpu=gpu), setup(gpu=gpu, quantization="fp8")
        ratio = speed.reading(plain, 8000) / speed.reading(small, 8000)
        assert ratio == pytest.approx(factor, rel=0.05)
    assert "do not speed up reading" in notes(setup(quantization="fp8"))[0]
    assert notes(setup(gpu="l4", quantization="fp8")) == []


def test_many_answers_need_nearly_all_experts() -> None:
    of = setup("Qwen/Qwen3-30B-A3B-Instruct-2507", "h100")
    one, many = speed.step(of, 1, 1), speed.step(of, 256, 1)
    assert 5 < many / one < 10  # 30.5 billion weights over 3.3


def test_nobody_gets_fewer_tokens_a_second_than_was_assumed() -> None:
    for rate in (5, 10, 20):
        of = setup(quantization="fp8", stream_rate=rate)
        assert make(of, None, None).load.stream >= rate
        assert slow(make(of, None, None)) == []
    long = make(setup(context=32_768, prompt_tokens=30_000), None, None)
    assert (long.load.answers, long.load.stream < 10) == (1, True)
    assert slow(long)[0].startswith(f"slow: even one answer at a time gets {long.load.stream:.1f} ")


def test_a_typical_question_is_shortened_to_the_context_unless_it_was_given() -> None:
    assert make(setup(context=2048), None, None).setup.assumed.prompt_tokens == 2048 - 250
    with pytest.raises(AskdocsError, match="--context 2048: too short for prompts of 6000"):
        make(setup(context=2048, prompt_tokens=6000), None, None)
    with pytest.raises(AskdocsError, match="--context 100: too short"):
        make(setup(context=100), None, None)


@pytest.mark.parametrize(
    ("of", "gpus", "says"),
    [
        (setup(context=200_000), None, "--context 200000: the model reads at most 131,072 tokens"),
        (
            setup("google/gemma-2-9b-it", "t4", context=8192),
            None,
            "vLLM refuses to compute this model in float16, and a GPU with compute capability 7.5"
            " has no bfloat16: use another --gpu",
        ),
        (setup(), 3, "--gpus 3: cannot share 32 attention heads evenly: use 1 or 2 or 4 or 8"),
        (
            setup("Qwen/Qwen3-235B-A22B-FP8", "h200", quantization="fp8"),
            None,
            "--quantization fp8: the model's weights have 8 bits already",
        ),
        (
            setup("mistralai/Mixtral-8x7B-Instruct-v0.1", "h200", adapters=1),
            None,
            "--adapters 1: cannot be planned for a model with experts",
        ),
    ],
    ids=["context", "float16", "gpus", "quantised", "experts"],
)
def test_what_cannot_be_planned_is_refused_with_its_fix(
    of: Setup, gpus: int | None, says: str
) -> None:
    with pytest.raises(AskdocsError) as raised:
        make(of, gpus, None)
    assert str(raised.value).startswith(says)


def test_the_command_has_what_the_plan_says_and_nothing_that_vllm_does_anyway() -> None:
    plain, env = command(setup(), LLAMA)
    assert {"--quantization", "--tensor-parallel-size"}.isdisjoint(plain)
    assert "--dtype" not in plain
    assert "VLLM_CACHE_ROOT" not in env
    of = setup(gpus=2, quantization="fp8", gpu_memory_utilization=0.95)
    line = " ".join(command(of, LLAMA)[0])
    for part in (
        *("--max-model-len 32768", "--tensor-parallel-size 2", "--quantization fp8_per_tensor"),
        "--gpu-memory-utilization 0.95",
    ):
        assert part in line
    assert line.count("--gpu-memory-utilization") == 1
    exact = command(setup(gpu_memory_utilization=0.876), LLAMA)[0]
    assert "--gpu-memory-utilization 0.876" in " ".join(exact)  # not rounded up to 0.88
    assert "--dtype half" in " ".join(command(setup(gpu="t4"), LLAMA)[0])


def test_up_refuses_on_a_gpu_what_cannot_fit_and_leaves_the_rest_to_vllm() -> None:
    said: list[str] = []
    before(LLAMA, 8192, 4, [A10G], said.append)
    before(LLAMA, 131_072, 0, [], said.append)
    assert said == []
    with pytest.raises(AskdocsError, match=r"\[up\] context = 131072 and 0 adapters does not fit"):
        before(LLAMA, 131_072, 0, [A10G], said.append)
    before(LLAMA, 131_072, 0, [A10G._replace(name="NVIDIA Z9")], said.append)
    before("nobody/nothing", 131_072, 0, [A10G], said.append)
    before(LLAMA, 32_768, 0, [A10G], said.append)
    assert [line.split()[0] for line in said] == ["NVIDIA", "nobody/nothing:", "tight:"]


def test_an_engine_whose_cache_is_smaller_than_the_context_is_refused() -> None:
    assert too_small(Reported(8192, 16, 131_072), 131_072) == ""
    assert "holds 131,072 tokens, fewer than the context of 131,073" in too_small(
        Reported(8192, 16, 131_072), 131_073
    )
    assert parse("# nothing\nup 1\n") is None


def test_an_engine_that_tells_no_cache_is_one_line_and_not_refused(tmp_path: Path) -> None:
    said: list[str] = []
    with shown(tmp_path) as url:
        after(f"{url}v1", 8192, said.append)  # 404
        (tmp_path / "metrics").write_text("<p>Welcome</p>")
        after(f"{url}v1", 8192, said.append)
    after(f"{url}v1", 8192, said.append)
    what = "does not report the cache size: use the address of a recent vLLM"
    assert said[:2] == [f"its cache is not checked: {url}metrics {what}"] * 2
    assert said[2].startswith(f"its cache is not checked: {url}metrics does not answer (")
