"""The plan beside the real vLLM, and the real llama.cpp: what they report, and what they take."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from typer.testing import CliRunner

from askdocs.capacity import attention, here, memory, models, ram, reported
from askdocs.capacity.assumptions import Assumptions
from askdocs.capacity.gpus import GPUS
from askdocs.capacity.plan import command
from askdocs.capacity.setup import GIB, Setup
from askdocs.cli import app
from gateway.core.errors import AskdocsError
from tests.capacity.sizes import LLAMA, setup
from tests.end_to_end.running import up
from tests.libraries import Libraries
from tests.starting import engine, shipped
from tests.vllm_serving import CONTEXT, PARSES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TOLD = f" requests of {CONTEXT:,}\n"
"""The end of what `up` says of its engine's cache."""


def test_the_cache_of_a_running_vllm_is_what_was_planned_for_its_memory(
    vllm_url: str, small_folder: Path
) -> None:
    shape = models.find(str(small_folder)).shape
    # As tests/vllm_serving.py starts it: a cache of 1 GiB, and blocks of 32 tokens.
    of = Setup(shape, GPUS["t4"], 1, None, "auto", CONTEXT, 0, Assumptions(block_size=32))
    found = reported.read(f"{vllm_url}/v1")
    assert found.block_size == 32
    assert found.blocks == GIB // of.page
    assert found.tokens == memory.tokens(of, GIB)


@pytest.fixture
def wiki(tmp_path: Path) -> Path:
    folder = tmp_path / "wiki"
    folder.mkdir()
    (folder / "coffee.md").write_text("# Coffee\n\nThe machine stands in the kitchen.\n")
    return folder


def test_the_cache_of_a_running_vllm_is_checked_against_the_context(
    vllm_url: str, wiki: Path, tmp_path: Path
) -> None:
    with up(tmp_path / "home", wiki, "--engine-url", f"{vllm_url}/v1", until=TOLD) as started:
        assert "its cache holds 46,592 tokens, 22.8 requests of 2,048\n" in started.text()
    with pytest.raises(AskdocsError, match="fewer than the context of 131,072"):
        here.after(vllm_url, 131_072, print)
    options = ["plan", "--gpu", "a10g", "--model", LLAMA, "--running", vllm_url]
    shown = CliRunner().invoke(app, [*options, "--context", "2048"], catch_exceptions=False)
    assert "vLLM says   46," in shown.stdout
    long = ["--context", "131072", "--quantization", "fp8", "--kv-cache-dtype", "fp8"]
    with pytest.raises(AskdocsError, match="the engine's cache holds 46,"):
        CliRunner().invoke(app, [*options, *long], catch_exceptions=False)


def test_an_engine_that_is_not_vllm_is_reported_apart(tmp_path: Path) -> None:
    with (
        engine(tmp_path) as other,
        pytest.raises(AskdocsError, match="does not report the cache size"),
    ):
        reported.read(other.url)


PLANS = [
    setup(),
    setup(gpus=2, quantization="fp8", kv="fp8", adapters=4),
    setup(gpu="t4", max_num_seqs=8, max_num_batched_tokens=512, block_size=32),
    setup(tokens_per_step=2.3),
]
CACHES = [
    setup("Qwen/Qwen3-8B"),
    setup("google/gemma-3-1b-it"),  # 4 layers see all, 22 have windows
    setup("google/gemma-3-1b-it", context=2048),  # shorter than what is under way
    setup("google/gemma-2-9b-it", context=8192),
]
CACHES_OF_8_BITS = [
    dataclasses.replace(of, shape=dataclasses.replace(of.shape, head_dim=length))
    for of in (setup(gpu=gpu, kv="fp8") for gpu in ("t4", "a100-80g", "a10g", "l4", "h100"))
    for length in (64, 80, 96, 128, 256)
]


@pytest.fixture(scope="module")
def vllm_says(vllm_libraries: Libraries, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """vLLM's arithmetic about `CACHES`, and its backends about `CACHES_OF_8_BITS`."""
    folder = tmp_path_factory.mktemp("model")
    config = models.known()["HuggingFaceTB/SmolLM2-135M-Instruct"] | {
        "architectures": ["LlamaForCausalLM"],
        "max_position_embeddings": 131_072,
    }
    (folder / "config.json").write_text(json.dumps(config))
    caches = [
        {
            "context": of.context,
            "block_size": of.assumed.block_size,
            "in_flight": 2 * of.step,
            "num_kv_heads": of.shape.kv_heads,
            "head_size": of.shape.head_dim,
            "windows": of.shape.windows,
            "memory": 20 * GIB,
        }
        for of in CACHES
    ]
    eight_bit = [
        {"capability": str(of.gpu.capability), "head_size": of.shape.head_dim}
        for of in CACHES_OF_8_BITS
    ]
    program = Path(__file__).with_name("vllm_says.py").read_text()
    program += "said = answers(folder, caches, asked)"
    return vllm_libraries.said(program, folder=str(folder), caches=caches, asked=eight_bit)


def test_every_command_is_known_to_vllms_own_parser(vllm_libraries: Libraries) -> None:
    commands = [command(of, LLAMA)[0][3:] for of in PLANS]
    names = ["tensor_parallel_size", "quantization", "kv_cache_dtype", "dtype", "attention_backend"]
    names.append("speculative_config")
    drafts = json.loads(commands[-1][commands[-1].index("--speculative-config") + 1])
    commands.append([*commands[0], "--no-such-option"])
    assert vllm_libraries.said(PARSES, commands=commands, names=names) == [
        [1, None, "auto", "auto", None, None],
        [2, "fp8_per_tensor", "fp8", "auto", "FLASHINFER", None],
        [1, None, "auto", "half", None, None],
        [1, None, "auto", "auto", None, drafts],
        2,
    ]
    # The parser takes any JSON here.
    known = vllm_libraries.said(
        "from vllm.config import SpeculativeConfig; said = list(SpeculativeConfig.__annotations__)"
    )
    assert drafts.keys() <= set(known)


def test_the_backends_that_take_an_8_bit_cache_are_those_that_say_so(vllm_says: Any) -> None:
    assert "FLASHINFER" in vllm_says["backends"]
    assert vllm_says["eight_bit"] == [attention.backends(of) for of in CACHES_OF_8_BITS]


def test_blocks_and_tokens_are_those_of_vllms_own_arithmetic(vllm_says: Any) -> None:
    assert vllm_says["planned"] == [
        [20 * GIB // of.page, memory.tokens(of, 20 * GIB)] for of in CACHES
    ]


@pytest.mark.parametrize(("context", "parallel"), [(2048, 1), (8192, 4)])
def test_the_embedded_engine_takes_the_memory_that_was_planned(
    context: int, parallel: int, tmp_path: Path
) -> None:
    need = ram.of_file(shipped(), context, parallel)
    with engine(tmp_path, context=context, parallel=parallel) as started:
        body = {"model": "base", "max_tokens": 4, "messages": [{"role": "user", "content": "Hi"}]}
        httpx.post(f"{started.url}/chat/completions", json=body, timeout=60).raise_for_status()
        taken = psutil.Process(started.process.pid).memory_info().rss
    # The prompts that it keeps, and buffers for long ones, come later.
    assert 0.85 < taken / (need.total - need.prompts) < 1
