"""Fixtures of several folders, where one engine serves them all, and what runs side by side."""

import os
import re
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from core import database
from tests import databases, starting
from tests.engines import gguf_variant
from tests.garbage import uncollected
from tests.gateway.postgres import postgres
from tests.vllm_serving import (
    small_folder,
    small_gguf,
    vllm_libraries,
    vllm_python,
    vllm_spans,
    vllm_url,
)

# pytest starts a fixture of the session once for each file that imports it; from here, once.
__all__ = [
    "postgres",
    "small_folder",
    "small_gguf",
    "vllm_libraries",
    "vllm_python",
    "vllm_spans",
    "vllm_url",
]

# How long an example takes says nothing where other processes share the cores.
# In CI each run draws the same examples: a commit is not refused for what it did not change.
settings.register_profile("askdocs", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("askdocs")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    with uncollected():
        return (yield)


def pytest_configure() -> None:
    pytest.MonkeyPatch().setattr(database, "migrate", databases.migrate)


@pytest.fixture
def migrations(monkeypatch: pytest.MonkeyPatch) -> None:
    """New databases are migrated, not copied."""
    monkeypatch.setattr(database, "migrate", databases.UNCOPIED)


@pytest.fixture(scope="session")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of the small model, for tests that do not look at its words: a tenth of its time
    for a prompt, a quarter for an answer."""
    file = tmp_path_factory.mktemp("shallow") / "shallow.gguf"
    return gguf_variant.make(starting.shipped(), file, layers=2)


TOGETHER = {
    "tests/capacity/test_vllm_slow.py": "vllm",
    "tests/conformance/test_vllm.py": "vllm",
    "tests/engines/test_adapters_slow.py": "vllm",
    "tests/engines/test_vllm_slow.py": "vllm",
    "tests/monitoring/test_vllm.py": "vllm",
    "tests/scale/test_vllm_options.py": "vllm",
    "tests/security/test_prefix_cache.py": "vllm",
    "tests/end_to_end/test_box.py": "own docs",
    "tests/end_to_end/test_commands.py": "own docs",
    "tests/end_to_end/test_gateway.py": "own docs",
    "tests/end_to_end/test_slack.py": "own docs",
    "tests/end_to_end/test_images.py": "images",
}
"""Files that share what takes long to start, as all tests of clients do. They begin first."""


_ON_VLLM = re.compile(r"[\[-]vllm[\]-]")
"""Tests of tests/conformance that run on each engine."""


def group(nodeid: str) -> str:
    """What one process runs: a file, or some that share what they start."""
    file = nodeid.split("::")[0]
    if file.startswith("tests/conformance/") and _ON_VLLM.search(nodeid):
        return "vllm"
    return "clients" if file.startswith("tests/clients/") else TOGETHER.get(file, file)


class Grouped(LoadScopeScheduling):
    """A scope of pytest-xdist is a group. Its own --dist loadgroup does nothing with pytest 9.2."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Grouped | None:
    return Grouped(config, log) if config.getoption("dist") == "loadscope" else None


@pytest.hookimpl(trylast=True)  # when the tests that -m leaves out are out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that all processes end at the same time. With CASES=first,
    leave all cases of a test out but its first."""
    if os.environ.get("CASES") == "first":
        first = {item.nodeid.partition("[")[0]: item for item in reversed(items)}
        items[:] = [item for item in items if first[item.nodeid.partition("[")[0]] is item]
    if hasattr(config, "workerinput"):
        shared = {"clients", *TOGETHER.values()}
        slow = {group(item.nodeid) for item in items if item.get_closest_marker("slow")}

        def order(item: pytest.Item) -> tuple[bool, bool]:
            name = group(item.nodeid)
            return name not in shared, name not in slow

        items.sort(key=order)
