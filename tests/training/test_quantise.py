"""Merged and quantised weights, by the libraries that make them: what they say next."""

from pathlib import Path

import pytest

from askdocs.capacity import gpu_check, random_adapter
from askdocs.capacity.gpu_check import Budget
from tests import starting
from tests.parts import require
from tests.training.test_finetune import base, python  # noqa: F401 -- fixtures

QUANTISER = starting.REPO / ".cache" / "quantise" / "bin" / "python"


@pytest.mark.slow
def test_merged_and_quantised_weights_say_what_the_adapter_says(
    python: Path,  # noqa: F811
    base: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    require(QUANTISER.is_file(), "sh tests/training/quantiser.sh")
    adapter = random_adapter.write(tmp_path / "adapter", base, seed=1, size=0.5)
    checks = gpu_check.artefacts(python, QUANTISER, base, adapter, tmp_path, Budget(3600))
    found = {one.name: one for one in checks}
    assert list(found) == ["merge", "quantise fp8", "quantise w4a16"]
    assert {one.outcome for one in found.values()} == {"passed"}, found
    config = (tmp_path / "w4a16" / "config.json").read_text()
    assert "pack-quantized" in config


def test_the_quantiser_of_the_tests_has_the_pins_of_the_real_one() -> None:
    pins = {
        name: set((starting.REPO / "requirements" / f"{name}.in").read_text().split("\n"))
        for name in ("train", "quantise")
    }
    more = {line for line in pins["quantise"] - pins["train"] if "==" in line}
    names = {line.partition("==")[0] for line in more}
    assert names == {"compressed-tensors", "llmcompressor", "loguru"}
