"""What fits: against the table that this project starts from, and logs of vLLM on real GPUs."""

import pytest

from askdocs.capacity import memory
from askdocs.capacity.plan import MARGIN
from askdocs.capacity.setup import GIB, Setup
from tests.capacity.sizes import setup


def cache(of: Setup) -> int:
    return memory.available(of) - memory.taken(of).total


def kv_tokens(of: Setup) -> int:
    return memory.tokens(of, cache(of))


# Llama 3.1 8B on one A10G: GiB of weights, thousands of tokens of cache, worked out by
# hand with 0.4 GiB for all the rest. vLLM has counted CUDA graphs, too, since 0.21; so 3 to
# 10 % fewer tokens are planned than there.
@pytest.mark.parametrize(
    ("quantization", "weights", "tokens"),
    [(None, 14.96, 37), ("fp8", 8.46, 90), ("int4", 5.33, 116)],
)
def test_the_table_of_one_a10g(quantization: str | None, weights: float, tokens: int) -> None:
    of = setup(quantization=quantization)
    assert memory.taken(of).weights / GIB == pytest.approx(weights, abs=0.01)
    assert 0.90 * tokens <= kv_tokens(of) / 1000 <= tokens


def test_an_a10g_with_llama_3_1_8b_before_vllm_counted_graphs() -> None:
    """A log of vLLM 0.6: 22.07 GiB x 0.90, weights 14.99, activations 0.22, 37,696 tokens.

    github.com/oracle-samples/oci-data-science-ai-samples, ai-quick-actions/troubleshooting-tips.md
    """
    of = setup(graph_mib=0)
    assert memory.taken(of).activations / GIB == pytest.approx(0.22, abs=0.04)
    assert kv_tokens(of) == pytest.approx(37_696, rel=0.02)


def test_an_rtx_4090_with_qwen3_8b() -> None:
    """A log of vLLM 0.21: graphs 0.52 GiB, 46,368 tokens; github.com/LMCache/LMCache/issues/3430"""
    of = setup("Qwen/Qwen3-8B", "rtx-4090", context=16_384, gpu_memory_utilization=0.9764)
    assert memory.taken(of).graphs / GIB == pytest.approx(0.52, abs=0.01)
    assert kv_tokens(of) == pytest.approx(46_368, rel=0.07)
    # The largest error that was found: what fits with the margin, fits.
    assert 0.98 * 46_368 < memory.tokens(of, cache(of) - MARGIN) <= 46_368


def test_a_cache_that_four_h100_share() -> None:
    """A log of vLLM: 8.11 GiB are 178,880 tokens; github.com/vllm-project/vllm/issues/21348"""
    of = setup("Qwen/Qwen3-235B-A22B-FP8", "h100", gpus=4, context=40_960)
    assert memory.tokens(of, int(8.11 * GIB)) == pytest.approx(178_880, rel=0.015)


def test_weights_are_shared_evenly() -> None:
    """A log of vLLM 0.6: 14.96 GiB on one GPU, 7.48 on each of two; its pull request 10511"""
    weights = memory.taken(setup(gpu="a100-80g", gpus=2)).weights
    assert weights / GIB == pytest.approx(7.48, abs=0.01)


def test_what_leads_to_experts_is_not_shared() -> None:
    """By hand: 94 layers, each with 128 experts."""
    of = setup("Qwen/Qwen3-235B-A22B-FP8", "h200", gpus=8)
    assert of.shape.whole == 94 * 4096 * 128
    shared = of.shape.linear - of.shape.whole + 2 * of.shape.other
    assert memory.taken(of).weights == pytest.approx(shared / 8 + of.shape.whole)


def test_experts_keep_what_they_work_in() -> None:
    """By hand, of vllm/model_executor/layers/fused_moe/experts/triton_moe.py: 8 experts a token."""
    of = setup("Qwen/Qwen3-30B-A3B-Instruct-2507", "h100")
    sampling = 1024 * 151_936 * 8
    assert memory.taken(of).activations == 8192 * 8 * (2048 + 2048) * 2 + sampling
    # What an expert is wide is shared, what a token is wide is not.
    wide = setup("mistralai/Mixtral-8x7B-Instruct-v0.1", "h100", gpus=8)
    step = 8192 * (4 * 4096 + (32 + 16) * 128 // 8) * 2
    assert memory.taken(wide).activations == 8192 * 2 * (4096 + 4096) * 2 + step


def test_places_for_adapters_take_memory_and_one_of_them_stays_empty() -> None:
    of = setup(adapters=4)
    # Rank 64 on all linear layers is 167.8 million parameters (docs/reference/training.md).
    layers = 64 * (memory.lora_width(of.shape) - 2 * (of.shape.hidden + of.shape.vocab))
    assert layers == pytest.approx(167.8e6, rel=0.001)
    assert memory.taken(of).adapters >= 5 * layers * 2
    assert memory.taken(setup()).adapters == 0


def test_layers_with_a_window_are_planned_as_if_they_saw_everything() -> None:
    """By hand: 26 layers of one head of 256."""
    of = setup("google/gemma-3-1b-it", context=32_768)
    assert of.page == 26 * 16 * (2 * 256) * 2
    assert of.blocks(32_768) == 2048


def test_nothing_fits_into_a_cache_of_less_than_nothing() -> None:
    of = setup()
    assert memory.tokens(of, -GIB) == 0
    assert memory.at_once(of, -GIB, 100) == 0


@pytest.mark.parametrize(
    ("gpu", "step", "answers"), [("a10g", 2048, 256), ("a100-80g", 2048, 256), ("h100", 8192, 1024)]
)
def test_a_step_is_as_large_as_vllm_makes_it(gpu: str, step: int, answers: int) -> None:
    assert (setup(gpu=gpu).step, setup(gpu=gpu).seqs) == (step, answers)
    assert setup(gpu=gpu, max_num_batched_tokens=512).step == 512
