"""A model that only the hub has. The hub's address is read at import: each in a process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from askdocs.capacity import models
from tests.askdocs.hub import Hub
from tests.capacity.sizes import LLAMA
from tests.widget.stand_in import serve

pytestmark = pytest.mark.slow
ASKDOCS = Path(sys.executable).with_name("askdocs")


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    config = json.dumps(models.known()[LLAMA] | {"vocab_size": 1000}).encode()
    files = {"owner/new": {"config.json": config}, "owner/empty": {}, "owner/gated": {"a": b""}}
    with serve(Hub(files, gated={"owner/gated"}).app) as url:
        yield url


def plan(model: str, url: str, cache: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "HF_ENDPOINT": url, "HF_HUB_CACHE": str(cache), "HF_TOKEN": ""}
    argv = [ASKDOCS, "plan", "--gpu", "l4", "--model", model, "--json"]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)


def test_a_config_comes_from_the_hub_once_and_then_from_its_cache(hub: str, tmp_path: Path) -> None:
    first = json.loads(plan("owner/new", hub, tmp_path).stdout)
    assert 6.97e9 < first["parameters"] < 7e9
    assert str(tmp_path) in first["sizes_from"]
    assert json.loads(plan("owner/new", "http://127.0.0.1:9", tmp_path).stdout) == first


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("owner/none", "the hub has no such repository, or shows it only with HF_TOKEN"),
        ("owner/empty", "the hub did not return config.json"),
        ("owner/gated", "the hub requires that you accept its terms and set HF_TOKEN"),
    ],
)
def test_what_the_hub_does_not_give_is_one_line_with_the_fix(
    model: str, says: str, hub: str, tmp_path: Path
) -> None:
    done = plan(model, hub, tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"askdocs: {model}: {says}")
    assert done.stderr.endswith(": name its config.json with --config FILE\n")
    assert done.stderr.count("\n") == 1


def test_a_hub_that_cannot_be_reached_is_an_error_within_seconds(tmp_path: Path) -> None:
    began = time.monotonic()
    done = plan("owner/new", "http://127.0.0.1:9", tmp_path)
    assert time.monotonic() - began < 30
    assert done.stderr.startswith("askdocs: owner/new: the hub did not return config.json (Conn")
    assert done.stderr.count("\n") == 1
