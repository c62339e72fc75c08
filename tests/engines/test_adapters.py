"""Which answers are another model's, and what is no adapter."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AskdocsError
from gateway.upstream.engines import adapters
from gateway.upstream.engines.adapters import TOLERANCE, mixed_up

scores = st.lists(st.floats(-20, 0), min_size=8, max_size=8)
noise = st.lists(st.floats(-TOLERANCE, TOLERANCE), min_size=8, max_size=8)


@given(st.dictionaries(st.text(), st.tuples(scores, noise)))
def test_rounding_makes_no_model_another_one(
    told: dict[str, tuple[list[float], list[float]]],
) -> None:
    alone = {name: said for name, (said, _) in told.items()}
    beside = {
        name: [a + b * 0.99 for a, b in zip(*both, strict=True)] for name, both in told.items()
    }
    assert mixed_up(alone, beside) == []


@given(scores, scores)
def test_an_answer_that_is_another_models_is_reported(
    base: list[float], tuned: list[float]
) -> None:
    apart = sum(abs(a - b) for a, b in zip(base, tuned, strict=True)) / len(base)
    found = mixed_up({"base": base, "hr@v1": tuned}, {"base": tuned, "hr@v1": tuned})
    assert found == (["base"] if apart > TOLERANCE else [])


def test_an_answer_that_is_nobodys_is_reported() -> None:
    alone = {"base": [-1.0] * 8, "hr@v1": [-3.0] * 8}
    assert mixed_up(alone, {"base": [-9.0] * 8, "hr@v1": [float("nan")] * 8}) == ["base", "hr@v1"]


@pytest.mark.parametrize("there", [[], ["adapter_config.json"], ["adapter_model.safetensors"]])
def test_a_folder_that_is_no_adapter_is_refused_before_the_engine_is_asked(
    tmp_path: Path, there: list[str]
) -> None:
    for name in there:
        (tmp_path / name).touch()
    loading = adapters.load("http://127.0.0.1:9/v1", None, "hr@v1", tmp_path)
    with pytest.raises(AskdocsError, match=r"is not an adapter: adapter_\w+\.\w+ is missing"):
        asyncio.run(loading)


def test_an_engine_that_is_away_is_named(tmp_path: Path) -> None:
    for name in adapters.FILES:
        (tmp_path / name).touch()
    with pytest.raises(AskdocsError, match=r"no engine answers at http://127\.0\.0\.1:9/v1"):
        asyncio.run(adapters.load("http://127.0.0.1:9/v1", None, "hr@v1", tmp_path))
