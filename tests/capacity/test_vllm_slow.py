"""The plan beside the real vLLM: what it reports."""

import json
from pathlib import Path

import pytest

from askdocs.capacity import here, memory, models, reported
from askdocs.capacity.assumptions import Assumptions
from askdocs.capacity.gpus import GPUS
from askdocs.capacity.plan import command
from askdocs.capacity.setup import BLOCK, GIB, Setup
from core.errors import AskdocsError
from tests.capacity.sizes import LLAMA, setup
from tests.end_to_end.running import up
from tests.libraries import Libraries
from tests.starting import engine
from tests.vllm_serving import CONTEXT, PARSES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TOLD = f" requests of {CONTEXT:,}\n"
"""The end of what `up` says of its engine's cache."""


def test_the_cache_of_a_running_vllm_is_what_was_planned_for_its_memory(
    vllm_url: str, small_folder: Path
) -> None:
    shape = models.find(str(small_folder)).shape
    # As tests/vllm_serving.py starts it: a cache of 1 GiB.
    of = Setup(shape, GPUS["t4"], 1, None, CONTEXT, 0, Assumptions())
    found = reported.read(f"{vllm_url}/v1")
    assert found.blocks * found.block_size == pytest.approx(GIB // of.page * BLOCK, rel=0.01)
    assert found.tokens == pytest.approx(memory.tokens(of, GIB), rel=0.01)


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


def test_an_engine_that_is_not_vllm_is_reported_apart(tmp_path: Path) -> None:
    with (
        engine(tmp_path) as other,
        pytest.raises(AskdocsError, match="does not report the cache size"),
    ):
        reported.read(other.url)


PLANS = [
    setup(),
    setup(gpus=2, quantization="fp8", adapters=4),
    setup(gpu="t4", max_num_seqs=8, max_num_batched_tokens=512),
]


def test_every_command_is_known_to_vllms_own_parser(vllm_libraries: Libraries) -> None:
    commands = [command(of, LLAMA)[0][3:] for of in PLANS]
    names = ["tensor_parallel_size", "quantization", "dtype"]
    commands.append([*commands[0], "--no-such-option"])
    assert vllm_libraries.said(PARSES, commands=commands, names=names) == [
        [1, None, "auto"],
        [2, "fp8_per_tensor", "auto"],
        [1, None, "half"],
        2,
    ]


def test_blocks_and_tokens_are_those_of_vllms_own_arithmetic(
    vllm_libraries: Libraries, tmp_path: Path
) -> None:
    config = models.known()["HuggingFaceTB/SmolLM2-135M-Instruct"] | {
        "architectures": ["LlamaForCausalLM"],
        "max_position_embeddings": 131_072,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    of = setup("Qwen/Qwen3-8B")
    cache = {
        "context": of.context,
        "block_size": BLOCK,
        "in_flight": 2 * of.step,
        "num_kv_heads": of.shape.kv_heads,
        "head_size": of.shape.head_dim,
        "layers": of.shape.layers,
        "memory": 20 * GIB,
    }
    program = Path(__file__).with_name("vllm_says.py").read_text()
    program += "said = planned(folder, cache)"
    found = vllm_libraries.said(program, folder=str(tmp_path), cache=cache)
    assert found == [20 * GIB // of.page, memory.tokens(of, 20 * GIB)]
