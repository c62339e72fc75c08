"""Facts about GPUs, and what may be assumed instead."""

from datetime import date
from pathlib import Path

import pytest

from askdocs.capacity.assumptions import Assumptions, read
from askdocs.capacity.gpus import GPUS, find, seen
from eval.report import cost
from gateway.core.errors import AskdocsError


def test_every_gpu_says_when_and_where_its_facts_were_read() -> None:
    for gpu in GPUS.values():
        assert gpu.source.startswith("https://")
        assert date(2026, 1, 1) < gpu.read
        assert gpu.tflops[gpu.dtype] > 0


def test_every_price_is_of_a_gpu_that_is_known() -> None:
    assert set(cost.read().gpu_hours) < set(GPUS)


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA A10G", "a10g"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40", None),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-40GB", "a100-40g"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("Tesla T4", "t4"),
        ("NVIDIA A10", None),
    ],
)
def test_a_gpu_is_known_by_what_nvidia_smi_calls_it(device: str, name: str | None) -> None:
    assert seen(device) == name


def test_assumptions_come_from_the_command_line_then_the_file_then_the_defaults(
    tmp_path: Path,
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        "prompt_tokens = 6000\ncached = 0.5\n"
        "[gpus.a10g]\nmemory_gib = 23.0\n"
        "[gpus.mine]\nmemory_gib = 48\nbandwidth_gbs = 900\ntflops = { bf16 = 200 }\n"
        'capability = 8.6\nseen = "X"\nread = 2026-11-25\nsource = "https://example.org"\n'
    )
    assumed, gpus = read(["cached=0.25"], file)
    assert (assumed.prompt_tokens, assumed.cached, assumed.answer_tokens) == (6000, 0.25, 250)
    assert gpus["a10g"].memory_gib == 23
    assert gpus["a10g"].bandwidth_gbs == GPUS["a10g"].bandwidth_gbs
    assert find("mine", gpus).dtype == "bf16"


@pytest.mark.parametrize(
    ("given", "text", "says"),
    [
        (
            ["cache=1"],
            "",
            "--assume cache = '1': unknown name; known names are gpu_memory_utilization",
        ),
        (["cached=2"], "", "--assume cached = '2': Input should be less than 1"),
        (["peak=1e300"], "", "peak = '1e300': write a number from 0.000001 to 1,000,000,000"),
        (["peak=inf"], "", "--assume peak = 'inf': write a number from 0.000001"),
        (["busy_hours=1e-300"], "", "--assume busy_hours = '1e-300': write a number from 0.000001"),
        ([], "other_gib = 1e300", "mine.toml: other_gib = 1e+300: write a number from 0.000001"),
        (["cached"], "", "--assume cached = '': Input should be a valid number"),
        ([], "prompt = 1", "mine.toml: prompt = 1: unknown name"),
        ([], "[gpus.x]\nmemory_gib = 1", "mine.toml: gpus.x.bandwidth_gbs"),
        ([], "x", "mine.toml: is not TOML"),
    ],
)
def test_what_cannot_be_assumed_is_refused_with_its_place(
    given: list[str], text: str, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(AskdocsError) as raised:
        read(given, file)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("A10G", "--gpu A10G: unknown GPU, did you mean a10g? They are t4, l4, a10g"),
        ("a100", "unknown GPU, did you mean a100-40g or a100-80g? They"),
        ("RTX 4090", "unknown GPU, did you mean rtx-4090? They"),
        ("mi300x", "--gpu mi300x: unknown GPU, they are t4, l4, a10g"),
    ],
)
def test_an_unknown_gpu_is_refused_with_those_that_may_be_meant(name: str, says: str) -> None:
    with pytest.raises(AskdocsError) as raised:
        find(name, GPUS)
    assert says in str(raised.value)


def test_the_page_has_every_assumption_and_gpu() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to/plan.md").read_text("utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line[:3] == "| `"]
    assert rows == [
        [
            f"`{name}`",
            "not set" if field.default is None else f"`{field.default:g}`",
            field.description,
        ]
        for name, field in Assumptions.model_fields.items()
    ]
