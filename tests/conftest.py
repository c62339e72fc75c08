"""Fixtures of several folders, where one engine serves them all, and what runs side by side."""

import pytest

from tests.vllm_serving import small_folder, small_gguf, vllm_python, vllm_url

__all__ = ["small_folder", "small_gguf", "vllm_python", "vllm_url"]

SHARED = ("small_folder", "served", "own_docs")
"""Fixtures that take long and serve several files: their tests run in one process, and first."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each process of pytest-xdist take whole files, those that take long before the others."""
    if not hasattr(config, "workerinput"):
        return
    groups = {item: _group(item) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    slow = {groups[item] for item in items if item.get_closest_marker("slow")}
    ranks = {group: len(SHARED) + (group not in slow) for group in groups.values()}
    ranks |= {name: rank for rank, name in enumerate(SHARED)}
    items.sort(key=lambda item: ranks[groups[item]])


def _group(item: pytest.Item) -> str:
    """A shared fixture, else the file."""
    names = getattr(item, "fixturenames", ())
    return next((name for name in SHARED if name in names), item.nodeid.split("::")[0])
