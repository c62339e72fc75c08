"""What a run needs, against numbers worked out by hand, and what it refuses."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.answering.grounding.prompt import fingerprint
from training.data.dataset import Dataset
from training.plan import memory, recipe
from training.plan.machine import Gpu, Machine
from training.plan.preflight import preflight
from training.plan.recipe import Lora, Recipe
from training.plan.shape import KNOWN, Shape

GIB = 2**30
LLAMA = KNOWN["meta-llama/Llama-3.1-8B-Instruct"]
SMOL = Shape(576, 1536, 30, 9, 3, 64, 49152, 8192, True)
A10G = Gpu("NVIDIA A10G", 23_028 * 2**20, int(22.1 * GIB))
HERE = Machine(2, 22 * GIB, (), True, True)
TOKENIZER = "a" * 64


def dataset(train: list[int], validation: list[int] | None = None, **card: Any) -> Dataset:
    facts = {
        "prompt_fingerprint": fingerprint(),
        "options": {"instructions": ""},
        "tokenizer": {"name": "t", "sha256": TOKENIZER},
    }
    lengths = {"train": train, "validation": validation or train[:1]}
    return Dataset(Path("data"), facts | card, lengths, ["grounded"] * len(train), "d")


def problems(
    one: Recipe, data: Dataset, shape: Shape = SMOL, machine: Machine = HERE, disk: int = 99 * GIB
) -> list[str]:
    return list(preflight(one, shape, data, TOKENIZER, machine, disk).problems)


SMALL = recipe.load("smollm2-135m-cpu").settled(prefers_bfloat16=True)
LARGE = recipe.load("llama31-8b-4xa10g")


def test_the_parameters_are_those_that_the_makers_publish() -> None:
    assert LLAMA.parameters == 8_030_261_248
    assert SMOL.parameters == 134_515_008
    assert KNOWN["HuggingFaceTB/SmolLM3-3B"].parameters == 3_075_098_624
    # Without the norms of queries and keys.
    assert KNOWN["Qwen/Qwen3-4B-Instruct-2507"].parameters == 4_022_468_096 - 36 * 2 * 128
    # PEFT's own count for r = 64 on all linear layers of Llama 3.1 8B.
    assert memory.adapter_parameters(LLAMA, LARGE) == 167_772_160


def test_the_weights_of_the_large_model_are_those_of_the_table() -> None:
    whole = LARGE.model_copy(update={"load_in_4bit": False})
    assert memory.estimate(LLAMA, whole, 4000, True).weights / GIB == pytest.approx(14.96, abs=0.01)
    assert memory.estimate(LLAMA, LARGE, 4000, True).weights / GIB == pytest.approx(5.33, abs=0.05)


def test_the_adapter_costs_itself_its_gradient_and_two_moments() -> None:
    n = memory.adapter_parameters(SMOL, SMALL)
    assert memory.estimate(SMOL, SMALL, 100, False).adapter == n * (4 + 4 + 4 + 4)
    small = SMALL.model_copy(update={"optimizer": "adamw_8bit"})
    assert memory.estimate(SMOL, small, 100, True).adapter == n * (4 + 4 + 1 + 1)


def test_logits_are_computed_in_parts_of_four_gib() -> None:
    assert memory.estimate(SMOL, SMALL, 1000, True).logits == 1000 * 49152 * 16
    assert memory.estimate(LLAMA, LARGE, 8192, True).logits == 4 * GIB


def test_several_processes_exchange_gradients_in_buckets() -> None:
    n = memory.adapter_parameters(LLAMA, LARGE)
    assert memory.estimate(LLAMA, LARGE, 8192, True).buckets == 4 * n
    alone = LARGE.model_copy(update={"processes": 1})
    assert memory.estimate(LLAMA, alone, 8192, True).buckets == 0


def test_activations_that_wait_in_main_memory_are_counted() -> None:
    # Two rows of 8,192 tokens, 4,096 numbers of 2 bytes each, before 32 blocks, in 4 processes.
    assert memory.offloaded(LLAMA, LARGE, 8192) == 4 * 32 * 2 * 8192 * 4096 * 2 == 16 * GIB
    kept = LARGE.model_copy(update={"gradient_checkpointing": False})
    assert memory.offloaded(LLAMA, kept, 8192) == 0
    large = Machine(48, 180 * GIB, (A10G,) * 4, True, True)
    assert problems(LARGE, dataset([8000] * 40), LLAMA, large) == []
    (said,) = problems(LARGE, dataset([8000] * 40), LLAMA, large._replace(memory=12 * GIB))
    assert "GiB of activations in main memory, and 12.0 GiB are free" in said


KNOBS = {
    "batch_size": st.integers(1, 64),
    "max_length": st.integers(16, 8192),
    "gradient_checkpointing": st.sampled_from([True, False]),
    "load_in_4bit": st.sampled_from([True, False]),
    "dtype": st.sampled_from(["bfloat16", "float32"]),
    "optimizer": st.sampled_from(["adamw_8bit", "adamw_torch"]),
    "packing": st.booleans(),
}
LORA = {"r": st.integers(1, 256), "dropout": st.sampled_from([0.0, 0.05])}
ONES = st.builds(
    Recipe,
    base_model=st.just("a"),
    lora=st.builds(Lora, **LORA),
    **KNOBS,
)


@pytest.mark.parametrize(
    ("key", "less", "more"),
    [
        ("batch_size", lambda one: one.batch_size, lambda one: one.batch_size + 1),
        ("max_length", lambda one: one.max_length, lambda one: one.max_length + 100),
        ("gradient_checkpointing", lambda one: True, lambda one: False),
        ("load_in_4bit", lambda one: True, lambda one: False),
        ("dtype", lambda one: "bfloat16", lambda one: "float32"),
        ("optimizer", lambda one: "adamw_8bit", lambda one: "adamw_torch"),
        ("packing", lambda one: False, lambda one: True),
    ],
)
@given(one=ONES, longest=st.integers(16, 9000), on_gpu=st.booleans())
def test_the_estimate_grows_with_every_knob(
    one: Recipe, longest: int, on_gpu: bool, key: str, less: Any, more: Any
) -> None:
    totals = [
        memory.estimate(SMOL, one.model_copy(update={key: value(one)}), longest, on_gpu).total
        for value in (less, more)
    ]
    assert totals[0] <= totals[1]


@given(one=ONES, longest=st.integers(16, 9000))
def test_the_estimate_grows_with_the_adapter(one: Recipe, longest: int) -> None:
    lora = one.lora
    for update in ({"r": lora.r + 1}, {"dropout": 0.5}):
        larger = one.model_copy(update={"lora": lora.model_copy(update=update)})
        before, after = (memory.estimate(SMOL, r, longest, False).total for r in (one, larger))
        assert before <= after


def test_the_published_recipe_fits_its_four_gpus() -> None:
    machine = Machine(48, 180 * GIB, (A10G,) * 4, True, True)
    found = preflight(LARGE, LLAMA, dataset([4000] * 100), TOKENIZER, machine, 99 * GIB)
    assert found.problems == ()
    assert 12 * GIB < found.memory.total < A10G.free
    assert found.seconds is None  # no speed is known there


def test_what_does_not_fit_gets_the_knob_and_the_value_with_which_it_would() -> None:
    data = dataset([4000] * 100)
    one = LARGE.model_copy(update={"batch_size": 8, "gradient_accumulation": 1})
    (said,) = problems(one, data, LLAMA, Machine(48, 180 * GIB, (A10G,) * 4, True, True))
    assert "GiB on each GPU (weights 5.3" in said
    assert said.endswith("22.1 GiB are free: set batch_size = 2 and gradient_accumulation = 4")
    assert problems(LARGE, data, LLAMA, Machine(48, 180 * GIB, (A10G,) * 4, True, True)) == []


@given(one=ONES, longest=st.integers(100, 9000), free=st.integers(2, 200))
def test_the_fix_fits(one: Recipe, longest: int, free: int) -> None:
    machine = Machine(8, 99 * GIB, (Gpu("a", free * GIB, free * GIB),), True, True)
    one = one.model_copy(update={"max_length": 8192})
    found = [p for p in problems(one, dataset([longest]), SMOL, machine) if "it needs about" in p]
    if not found or "use a machine" in found[0]:
        return
    update = tomllib.loads(found[0].rpartition(": set ")[2].replace(" and ", "\n"))
    changed = Recipe.model_validate(one.model_dump() | update)
    assert not [p for p in problems(changed, dataset([longest]), SMOL, machine) if "it needs" in p]
    assert changed.examples_per_step >= one.examples_per_step


def test_the_steps_after_training_fit_the_gpu_or_main_memory() -> None:
    data = dataset([4000] * 100)
    one = LARGE.model_copy(update={"processes": 1})

    def said(free: float, main: int) -> list[str]:
        card = A10G._replace(free=int(free * GIB))
        found = problems(one, data, LLAMA, Machine(4, main * GIB, (card,), True, True))
        return [text for text in found if text.startswith("after training")]

    assert not said(22.1, 15)  # a host of 16 GiB with an A10G
    assert "takes 17.9 GiB; the GPU has 15.0 GiB and main memory 15.0 GiB" in said(15, 15)[0]
    assert not said(15, 31)
    assert said(22.1, 4)


def test_the_second_stage_is_checked_before_the_first() -> None:
    machine = Machine(48, 180 * GIB, (A10G,) * 4, True, True)

    def said(longest: int) -> list[str]:
        found = preflight(
            *(LARGE, LLAMA, dataset([longest] * 9), TOKENIZER, machine, 99 * GIB), preference=True
        )
        return list(found.problems)

    assert said(4000) == []
    (text,) = said(8000)
    fits = int(text.rpartition("at most ")[2].partition(" tokens")[0].replace(",", ""))
    assert "logits 11.5" in text
    assert said(fits) == []
    assert len(said(fits + 50)) == 1


def test_what_never_fits_is_said() -> None:
    (said,) = problems(SMALL, dataset([900] * 9), machine=Machine(2, GIB // 2, (), True, True))
    assert "use a machine with more memory" in said


@pytest.mark.parametrize("bfloat16", [True, False])
def test_a_gpu_recipe_is_refused_without_one(bfloat16: bool) -> None:
    plain = HERE._replace(bfloat16=bfloat16)
    found = problems(LARGE, dataset([4000] * 100), LLAMA, plain)
    assert [text.split(" needs an NVIDIA GPU")[0] for text in found] == [
        "load_in_4bit = true",
        'optimizer = "adamw_8bit"',
    ]


def test_a_processor_that_does_not_multiply_bfloat16_gets_float32() -> None:
    plain = HERE._replace(bfloat16=False, prefers_bfloat16=False)
    (said,) = problems(SMALL, dataset([900] * 9), machine=plain)
    assert said.endswith('set dtype = "auto"')
    auto = SMALL.model_copy(update={"dtype": "auto"}).settled(plain.prefers_bfloat16)
    assert auto.dtype == "float32"
    assert problems(auto, dataset([900] * 9), machine=plain) == []


def test_more_processes_than_gpus_are_refused_with_as_many_examples_in_a_step() -> None:
    (said,) = problems(LARGE, dataset([400] * 9), LLAMA, Machine(8, 99 * GIB, (A10G,), True, True))
    assert said.endswith("set processes = 1 and gradient_accumulation = 16")


def test_rows_that_are_too_long_are_counted_and_the_first_is_named() -> None:
    (said,) = problems(SMALL, dataset([500, 2100, 600, 2200], [900]))
    assert said.startswith("data/train.jsonl:2: 2 of 4 examples have more tokens than max_length")
    assert "set max_length = 2200, or build the dataset again" in said


def test_a_dataset_of_another_prompt_is_refused() -> None:
    (said,) = problems(SMALL, dataset([500], prompt_fingerprint="0123"))
    assert f"fingerprint 0123, and the gateway's have {fingerprint()}" in said


def test_a_dataset_with_the_instructions_of_an_alias_is_taken() -> None:
    told, now = {"instructions": "Be brief."}, fingerprint("Be brief.")
    assert not problems(SMALL, dataset([500], options=told, prompt_fingerprint=now))
    assert problems(SMALL, dataset([500], options=told))


def test_a_dataset_of_another_tokenizer_is_refused() -> None:
    (said,) = problems(SMALL, dataset([500], tokenizer={"name": "other.gguf", "sha256": "b" * 64}))
    assert "another tokenizer (other.gguf)" in said


def test_what_is_longer_than_the_model_reads_is_refused() -> None:
    one = SMALL.model_copy(update={"max_length": 9000})
    (said,) = problems(one, dataset([500]))
    assert said.endswith("set max_length = 8192")


def test_a_full_disk_is_refused() -> None:
    by_loss = SMALL.model_copy(update={"answers": 0})
    (said,) = problems(by_loss, dataset([500]), disk=GIB // 10)
    assert "the run writes 1.0 GiB, 0.1 GiB are free" in said
    # Every checkpoint is kept until its answers are compared.
    (said,) = problems(SMALL, dataset([500]), disk=GIB // 10)
    assert "the run writes 3.0 GiB, 0.1 GiB are free" in said


@pytest.mark.parametrize(
    ("dtype", "bfloat16", "prefers", "rate"),
    [
        ("bfloat16", True, True, 228),
        ("bfloat16", True, False, 92),
        ("float32", True, False, 177),
        ("float32", False, False, 110),
    ],
)
def test_the_time_follows_from_the_processor(
    dtype: str, bfloat16: bool, prefers: bool, rate: int
) -> None:
    one = SMALL.model_copy(
        update={"dtype": dtype, "max_steps": 10, "eval_rows": 1, "evals_per_epoch": 1}
    )
    machine = HERE._replace(bfloat16=bfloat16, prefers_bfloat16=prefers)
    found = preflight(one, SMOL, dataset([1000] * 80), TOKENIZER, machine, 99 * GIB)
    assert found.seconds * rate == pytest.approx(10 * 8 * 1000, rel=0.02)


def test_the_steps_and_the_time_are_those_of_the_recipe() -> None:
    found = preflight(SMALL, SMOL, dataset([820] * 1600, [820] * 100), TOKENIZER, HERE, 99 * GIB)
    assert found.tokens == 1_312_000
    assert found.steps == SMALL.max_steps
    # 160 steps of 8 examples, and 6 evaluations of 40 of them at a third of the cost.
    by_hand = (160 * 8 * 820 + 6 * 40 * 820 / 3) / 228
    assert found.seconds == pytest.approx(by_hand, rel=0.01)
    assert by_hand < 90 * 60
    fewer = preflight(SMALL, SMOL, dataset([820] * 80), TOKENIZER, HERE, 99 * GIB, max_steps=3)
    assert fewer.steps == 3
