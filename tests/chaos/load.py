"""Load with a ledger of the writes that were acknowledged to clients, to compare with the database.

An answer is acknowledged by the end of its stream: its usage has to be counted. A question is, when
the box has shown its whole answer: it has to be stored. A vote is, when it is answered with 200.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import httpx
import sqlalchemy as sa

from gateway.telemetry.answer_statistics import outcome_table
from gateway.telemetry.usage import usage_table
from widget.service.store import question_table, vote_table

THINK = 0.15  # seconds between an answer and the next question of a client
TIMEOUT = httpx.Timeout(20, connect=5)
BOX_TOKEN = re.compile(r'name="token" value="([^"]+)"')
ASK_ID = re.compile(r"asks/([\w-]+)/events")


@dataclass(frozen=True)
class Target:
    """What is put under load."""

    gateway: str
    """With /v1."""
    widget: str | None
    key: str
    key_id: str
    database: str


@dataclass(frozen=True)
class Attempt:
    kind: str
    began: float
    ended: float
    failure: str
    """Empty: it succeeded."""


@dataclass
class Ledger:
    """What was tried, and what was acknowledged."""

    attempts: list[Attempt] = field(default_factory=list)
    answers: int = 0
    questions: set[str] = field(default_factory=set)
    votes: set[str] = field(default_factory=set)
    counted: int = 0

    @property
    def acknowledged(self) -> int:
        return self.answers + len(self.questions) + len(self.votes) + self.counted

    def failures(self) -> Counter[str]:
        return Counter(f"{one.kind}: {one.failure}" for one in self.attempts if one.failure)

    def recovery(self, since: float) -> float:
        """Seconds from then until what is asked succeeds again, of each kind; 0: it always did."""
        worst = 0.0
        for kind in {one.kind for one in self.attempts}:
            ours = [one for one in self.attempts if one.kind == kind and one.ended >= since]
            failed = [one.began for one in ours if one.failure]
            if not failed:
                continue
            after = [one.ended for one in ours if not one.failure and one.began > max(failed)]
            assert after, f"{kind} never came back: {self.failures()}"
            worst = max(worst, min(after) - since)
        return worst

    def first_of_each(self) -> float:
        """When each kind had succeeded once."""
        ended: dict[str, float] = {}
        for one in self.attempts:
            if not one.failure:
                ended.setdefault(one.kind, one.ended)
        return max(ended.values())


class Failed(Exception):
    """A request that did not get what it asked for."""


class Load:
    """Clients that ask until they are told to stop."""

    def __init__(
        self, target: Target, *, streams: int = 4, readers: int = 2, votes: int = 1
    ) -> None:
        self.ledger = Ledger()
        self._target = target
        self._kinds: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            *([("answer", self._answer)] * streams),
            *([("box", self._box)] * (readers if target.widget else 0)),
            *([("vote", self._vote)] * votes),
        ]
        self._stop = asyncio.Event()
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Load":
        headers = {"authorization": f"Bearer {self._target.key}"}
        self._http = await self._stack.enter_async_context(
            httpx.AsyncClient(timeout=TIMEOUT, headers=headers, trust_env=False)
        )
        self._tasks = [asyncio.create_task(self._client(*kind)) for kind in self._kinds]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)
        await self._stack.aclose()

    async def until(self, kind: str, count: int, seconds: float = 60) -> None:
        """So many more of that kind have succeeded."""
        since = time.monotonic()
        async with asyncio.timeout(seconds):
            while count > sum(  # noqa: ASYNC110
                one.kind == kind and not one.failure and one.began > since
                for one in self.ledger.attempts
            ):
                await asyncio.sleep(0.05)

    async def settled(self, each: int = 3, seconds: float = 240) -> None:
        """Every client has succeeded again, a few times in a row."""
        kinds = dict.fromkeys(kind for kind, _ in self._kinds)
        try:
            await asyncio.gather(*(self.until(kind, each, seconds) for kind in kinds))
        except TimeoutError:
            raise AssertionError(f"no recovery: {self.ledger.failures()}") from None

    async def _client(self, kind: str, act: Callable[[], Awaitable[None]]) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            failure = ""
            try:
                await act()
            except Failed as failed:
                failure = str(failed)
            except httpx.HTTPError as error:
                failure = type(error).__name__
            self.ledger.attempts.append(Attempt(kind, began, time.monotonic(), failure))
            await asyncio.sleep(THINK)

    async def _answer(self) -> None:
        body = {
            "model": "base",
            "stream": True,
            "max_tokens": 12,
            "messages": [{"role": "user", "content": "Where is the coffee machine?"}],
        }
        url = f"{self._target.gateway}/chat/completions"
        async with self._http.stream("POST", url, json=body) as reply:
            if reply.status_code != 200:
                raise Failed(str(reply.status_code))
            text = (await reply.aread()).decode()
        if not text.endswith("data: [DONE]\n\n"):
            raise Failed("broke off" if '"error"' in text else "cut")
        self.ledger.answers += 1

    async def _box(self) -> None:
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as http:
            root = self._target.widget
            page = await http.get(f"{root}/box")
            token = BOX_TOKEN.search(page.text)
            if page.status_code != 200 or token is None:
                raise Failed(f"box {page.status_code}")
            sent = {"question": "Where is the coffee machine?", "token": token[1]}
            asked = await http.post(f"{root}/asks", data=sent, headers={"hx-request": "true"})
            found = ASK_ID.search(asked.text)
            if asked.status_code != 200 or found is None:
                raise Failed(f"ask {asked.status_code}")
            events = (await http.get(f"{root}/asks/{found[1]}/events")).text
            if "event: done" not in events:
                raise Failed("failed" if "event: failed" in events else "cut")
            self.ledger.questions.add(found[1])
            vote = {"ask": found[1], "vote": "up", "token": token[1]}
            voted = await http.post(f"{root}/votes", data=vote, headers={"hx-request": "true"})
            if voted.status_code != 200:
                raise Failed(f"vote {voted.status_code}")
            self.ledger.votes.add(found[1])

    async def _vote(self) -> None:
        body = {"alias": "docs", "model": "base", "vote": "down"}
        root = self._target.gateway.removesuffix("/v1")
        reply = await self._http.post(f"{root}/askdocs/vote", json=body)
        if reply.status_code != 200:
            raise Failed(str(reply.status_code))
        self.ledger.counted += 1


@dataclass(frozen=True)
class Kept:
    """What the database has of it."""

    answers: int
    questions: set[str]
    votes: set[str]
    counted: int


def kept(target: Target) -> Kept:
    engine = sa.create_engine(target.database.replace("postgresql:", "postgresql+psycopg:"))
    usage, outcome = usage_table.c, outcome_table.c
    try:
        with engine.connect() as connection:
            answers = sa.select(sa.func.coalesce(sa.func.sum(usage.requests), 0))
            counted = sa.select(sa.func.coalesce(sa.func.sum(outcome.count), 0))
            ended = question_table.c.state.in_(["answered", "refused"])
            return Kept(
                int(connection.execute(answers.where(usage.key_id == target.key_id)).scalar_one()),
                set(connection.execute(sa.select(question_table.c.id).where(ended)).scalars()),
                set(connection.execute(sa.select(vote_table.c.question)).scalars()),
                int(connection.execute(counted.where(outcome.measure == "down")).scalar_one()),
            )
    finally:
        engine.dispose()


@dataclass(frozen=True)
class Lost:
    answers: int
    questions: int
    votes: int

    @property
    def total(self) -> int:
        return self.answers + self.questions + self.votes


def compared(before: Kept, ledger: Ledger, now: Kept) -> Lost:
    """What was acknowledged since `before` and is not there now."""
    return Lost(
        max(0, ledger.answers - (now.answers - before.answers)),
        len(ledger.questions - now.questions),
        len(ledger.votes - now.votes) + max(0, ledger.counted - (now.counted - before.counted)),
    )


async def lost(target: Target, before: Kept, ledger: Ledger) -> Lost:
    """What was acknowledged and is not there, even after a while. Nothing may be counted twice."""
    deadline = time.monotonic() + 40
    while True:
        now = await asyncio.to_thread(kept, target)
        missing = compared(before, ledger, now)
        if not missing.total or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    tried = Counter(one.kind for one in ledger.attempts)
    assert now.answers - before.answers <= tried["answer"], "usage was counted twice"
    assert now.counted - before.counted <= tried["vote"], "votes were counted twice"
    return missing
