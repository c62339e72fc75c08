"""Models that are named in one word."""

import re

import pytest

from askdocs.models import curated, model
from core.errors import AskdocsError


def test_names_are_words_and_lead_to_repositories() -> None:
    assert len({one.name for one in curated.MODELS}) == len(curated.MODELS)
    for one in curated.MODELS:
        assert re.fullmatch(r"[a-z0-9.-]+", one.name)
        assert model.HUB_ID.fullmatch(one.repo)
        assert curated.find(one.name.upper()) is one
    assert curated.find("owner/name") is None


def test_the_best_model_is_the_largest_that_memory_disk_and_cores_take() -> None:
    def best(*machine: float) -> str | None:
        found = curated.best(machine[0], machine[1], int(machine[2]))
        return found and found.name

    assert best(2, 100, 2) is None
    assert best(4, 100, 2) == "qwen2.5-1.5b"
    assert best(16, 100, 2) == "llama-3.2-3b"
    assert best(16, 1.5, 2) == "qwen2.5-1.5b"
    assert best(16, 100, 8) == "llama-3.1-8b"
    assert best(64, 100, 16) == "qwen2.5-14b"


def test_a_model_that_is_too_large_is_refused_before_its_download(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(curated, "free_memory", lambda: 4.5)
    monkeypatch.setattr(curated, "free_disk", lambda: 100.0)
    large = curated.MODELS[-1]
    with pytest.raises(AskdocsError, match=r"needs 11\.9 GB of memory, and 4\.5 GB are free: take"):
        curated.refuse_too_large(large)
    monkeypatch.setattr(curated, "free_memory", lambda: 100.0)
    monkeypatch.setattr(curated, "free_disk", lambda: 1.0)
    with pytest.raises(AskdocsError, match=r"on the disk.*: take --model qwen2\.5-1\.5b"):
        curated.refuse_too_large(large)


def test_vllm_gets_the_repository_of_the_makers() -> None:
    found = model.find("llama-3.2-3b", "vllm", lambda text: None)
    assert found.source == "meta-llama/Llama-3.2-3B-Instruct"
