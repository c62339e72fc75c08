"""The weekly message, sent to a real HTTP server."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from core.database import reading, writing
from core.tasks import Tasks
from tests.review.conftest import NOW, PORTS, ask, unindexed
from tests.review.test_gaps import days_before
from tests.waiting import async_until
from tests.widget.stand_in import serve
from widget.review import clusters, digest, gaps, keeper, weeks
from widget.review.clusters import Sorter
from widget.review.tables import digest_table, member_table
from widget.service.store import Store
from wiki.index import embed
from wiki.rights import EVERYTHING

WEEK = weeks.monday(NOW.date()) - weeks.WEEK


class Hook:
    """Takes messages, or refuses them with a status."""

    def __init__(self) -> None:
        self.status = 200
        self.got: list[dict[str, Any]] = []
        self.app = Starlette(routes=[Route("/hook", self.take, methods=["POST"])])
        self.url = ""
        self.called = threading.Event()

    async def take(self, request: Request) -> Response:
        if self.status == 200:
            self.got.append(await request.json())
            self.called.set()
            await asyncio.sleep(0.2)  # others come while it is sent
        return PlainTextResponse("no_service", self.status)


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()
    with serve(found.app) as url:
        found.url = f"{url}/hook"
        yield found


@pytest.fixture
def gap(store: Store) -> Store:
    """A store with gaps of the last week."""
    for question in ("How do I <print>?", "how do I <print>", "Where & when?"):
        ask(store, question, days=days_before(WEEK), outcome={"pages": [PORTS]})
    Sorter(store.engine).sort()
    return store


def test_a_week_is_sent_once_by_many(gap: Store, hook: Hook) -> None:
    outcomes: list[bool] = []

    def send() -> None:
        outcomes.append(digest.send(gap.engine, unindexed(gap), hook.url, WEEK))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False, False, False, True]
    assert digest.send(gap.engine, unindexed(gap), hook.url, WEEK) is False
    assert len(hook.got) == 1
    message = hook.got[0]
    assert message["week"] == weeks.name(WEEK)
    assert [(one["asked"], one["trend"]) for one in message["gaps"]] == [(2, 2), (1, 1)]
    assert "3 questions, 2 gaps" in message["text"]
    assert "• 2 × how do I &lt;print&gt;, +2 on the week before" in message["text"]
    assert f"near <{PORTS['url']}|Ports>" in message["text"]
    assert "Where &amp; when?" in message["text"]


def test_what_was_refused_can_be_sent_again_and_the_address_is_not_told(
    gap: Store, hook: Hook
) -> None:
    hook.status = 404
    with pytest.raises(digest.NotSent, match="answered 404 'no_service'") as caught:
        digest.send(gap.engine, unindexed(gap), hook.url, WEEK)
    assert "/hook" not in str(caught.value)
    with pytest.raises(digest.NotSent, match="cannot be reached"):
        digest.send(gap.engine, unindexed(gap), "http://127.0.0.1:9/secret", WEEK)
    hook.status = 200
    assert digest.send(gap.engine, unindexed(gap), hook.url, WEEK) is True


def test_the_turn_of_a_process_that_was_killed_ends(gap: Store, hook: Hook) -> None:
    for minutes, sends in ((9, False), (11, True)):
        claimed = datetime.now(UTC) - timedelta(minutes=minutes)
        with writing(gap.engine) as connection:
            connection.execute(digest_table.delete())
            connection.execute(digest_table.insert(), {"week": WEEK, "claimed": claimed})
        assert digest.send(gap.engine, unindexed(gap), hook.url, WEEK) is sends
    with reading(gap.engine) as connection:
        assert connection.execute(digest_table.select()).one().sent is not None


def test_slack_gets_the_text_alone(gap: Store) -> None:
    found = gaps.find(gap.engine, WEEK, 2, EVERYTHING, unindexed(gap))
    assert digest.message(found, "https://hooks.slack.com/services/T/B/x").keys() == {"text"}
    nothing = gaps.find(gap.engine, WEEK - 9 * weeks.WEEK, 2, EVERYTHING, unindexed(gap))
    assert "no gaps" in digest.text_of(nothing)


def test_the_message_links_to_the_review(gap: Store) -> None:
    found = gaps.find(gap.engine, WEEK, 2, EVERYTHING, unindexed(gap))
    last = digest.text_of(found, "https://ask.example.com").splitlines()[-1]
    assert last == "<https://ask.example.com/review/gaps|all gaps in the review>"


def test_an_address_cannot_end_its_link_and_begin_another() -> None:
    page = {"url": "https://w/a?b=1&c=<!channel>|x", "title": "A <b> & c"}
    gap = gaps.Gap(1, "What?", 3, (0, 3), (page,), "open")
    found = gaps.Gaps((WEEK - weeks.WEEK, WEEK), (gap,), 1, 3)
    _, line = digest.text_of(found).splitlines()
    assert line.endswith("near <https://w/a?b=1&amp;c=%3C!channel%3E%7Cx|A &lt;b&gt; &amp; c>")


async def test_the_widget_clusters_and_sends_by_itself(
    store: Store, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LOOK", 0.05)
    monkeypatch.setattr(keeper, "FROM", 0)
    ask(store, "How do I print?", days=days_before(WEEK))
    keeping = asyncio.create_task(keeper.Keeper(store.engine, unindexed(store), hook.url).run())
    assert await asyncio.to_thread(hook.called.wait, 20)
    keeping.cancel()
    await asyncio.wait([keeping])
    assert [gap["question"] for gap in hook.got[0]["gaps"]] == ["How do I print?"]
    assert len(hook.got) == 1


async def test_clustering_that_fails_begins_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LOOK", 0.01)
    failures = 0

    class FailsOnce:
        """An embedder without memory for its first text."""

        model = "fails"

        def embed(self, texts: list[str]) -> embed.Vectors:
            nonlocal failures
            failures += 1
            if failures == 1:
                raise MemoryError
            return embed.unit(np.ones((len(texts), embed.SIZE), np.float32))

    ask(store, "How do I print?")
    keeping = keeper.Keeper(store.engine, unindexed(store), None)
    keeping.sorter = clusters.Sorter(store.engine, FailsOnce)  # type: ignore[arg-type]
    tasks = Tasks()
    tasks.start("clusters", keeping.run)

    def is_sorted() -> bool:
        with reading(store.engine) as connection:
            return len(connection.execute(member_table.select()).all()) == 1

    await async_until(is_sorted)
    assert tasks.failing == ["clusters"]
    await tasks.close()


async def test_a_widget_that_stops_does_not_wait_for_a_long_queue(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LOOK", 0.01)
    monkeypatch.setattr(clusters, "BATCH", 1)
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        """An embedder that takes its time."""

        model = "slow"

        def embed(self, texts: list[str]) -> embed.Vectors:
            begun.set()
            go_on.wait(20)
            return embed.unit(np.ones((len(texts), embed.SIZE), np.float32))

    for number in range(5):
        ask(store, f"Question {number}?")
    keeping = keeper.Keeper(store.engine, unindexed(store), None)
    keeping.sorter = clusters.Sorter(store.engine, Slow)  # type: ignore[arg-type]
    running = asyncio.create_task(keeping.run())
    assert await asyncio.to_thread(begun.wait, 20)
    running.cancel()
    await asyncio.wait([running])
    go_on.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    with reading(store.engine) as connection:
        assert len(connection.execute(member_table.select()).all()) == 1
