"""Facts about GPUs, and what may be assumed instead."""

from datetime import date

import pytest

from askdocs.capacity.assumptions import read
from askdocs.capacity.gpus import GPUS, find, seen
from core.errors import AskdocsError
from eval.report import cost


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


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("cache=1", "--assume cache = '1': unknown name; known names are gpu_memory_utilization"),
        ("cached=2", "--assume cached = '2': Input should be less than 1"),
        ("peak=1e300", "peak = '1e300': write a number from 0.000001 to 1,000,000,000"),
        ("peak=inf", "--assume peak = 'inf': write a number from 0.000001"),
        ("busy_hours=1e-300", "--assume busy_hours = '1e-300': write a number from 0.000001"),
        ("cached", "--assume cached = '': Input should be a valid number"),
    ],
)
def test_what_cannot_be_assumed_is_refused(given: str, says: str) -> None:
    with pytest.raises(AskdocsError) as raised:
        read([given])
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
        find(name)
    assert says in str(raised.value)
