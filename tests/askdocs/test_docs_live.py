"""Gateways that run while their wikis change."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import starting
from tests.askdocs.conftest import COMMAND
from tests.waiting import until

pytestmark = pytest.mark.slow

SITE = "https://wiki.example.com/"
QUESTION = "How do I descale the coffee machine?"
MANY = 20


@pytest.fixture
def gateway(tmp_path: Path, shallow: Path) -> Iterator[starting.Gateway]:
    """Two workers, an engine, and no wiki yet."""
    with (
        starting.engine(tmp_path, gguf=shallow) as engine,
        starting.gateway(
            tmp_path,
            gateway_engine_url=engine.url,
            gateway_workers="2",
            gateway_answers="quote",
        ) as gateway,
    ):
        yield gateway


def docs(folder: Path, *words: str) -> None:
    env = os.environ | {"ASKDOCS_GATEWAY_INDEX": str(folder / "index.db")}
    subprocess.run([COMMAND, "docs", *words], env=env, check=True, timeout=60)


def ask(gateway: starting.Gateway) -> dict[str, Any]:
    reply = httpx.post(  # a connection of its own, which any worker may take
        f"{gateway.url}/chat/completions",
        headers={"authorization": f"Bearer {starting.KEY}"},
        json={
            "model": "docs",
            "max_tokens": 60,
            "messages": [{"role": "user", "content": QUESTION}],
        },
        timeout=120,
    )
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def all_say(gateway: starting.Gateway, right: Callable[[dict[str, Any]], bool]) -> bool:
    """Do both workers come to say so? Of MANY answers each has given some."""
    until(lambda: all(right(ask(gateway)) for _ in range(MANY)))
    return True


def content(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"])


def test_every_worker_follows_each_sync_without_a_restart(
    gateway: starting.Gateway, tmp_path: Path
) -> None:
    assert "askdocs" not in ask(gateway)  # the model's own words: there is no wiki
    wiki = tmp_path / "wiki"
    wiki.mkdir()
    page = wiki / "coffee.md"
    page.write_text(
        "# Coffee machine\n\n## How do I descale the coffee machine?\n\nPress the blue button.\n"
    )
    (wiki / "other.md").write_text("# Travel\n\nThe travel desk books trains.\n")
    docs(tmp_path, "sync", str(wiki), "--site-url", SITE)
    assert all_say(gateway, lambda answer: "blue button" in content(answer))
    (source,) = ask(gateway)["choices"][0]["message"]["annotations"]
    assert source["url_citation"]["url"].startswith(f"{SITE}coffee/#how-do-i-descale")
    page.write_text(
        "# Coffee machine\n\n## How do I descale the coffee machine?\n\nPress the red lever.\n"
    )
    docs(tmp_path, "sync", str(wiki))
    assert all_say(gateway, lambda answer: "red lever" in content(answer))
    page.unlink()
    docs(tmp_path, "sync", str(wiki))
    assert all_say(gateway, lambda answer: bool(answer["askdocs"]["refused"]))
    docs(tmp_path, "remove", str(wiki), "--yes")
    assert all_say(gateway, lambda answer: "askdocs" not in answer)
