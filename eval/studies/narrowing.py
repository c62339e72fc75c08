"""What it costs to close stored answers after the rights of their pages changed.

    python -m eval.studies.narrowing [--answers 100000] [--pages 5000]

Answers stand on six pages each, in conversations of two, in SQLite. The gateway is left out: it is
counted how often it would be asked.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast

from gateway.access.rights import Groups
from gateway.storage import database
from widget.service.gateway import Gateway, Rights
from widget.service.narrowing import Narrowing
from widget.service.store import Answered, Asked, Store, question_table

HR, BOARD = frozenset({"hr"}), frozenset({"board", "lead"})
BATCH = 1000


class Measured(NamedTuple):
    """One pass over all answers."""

    cpu: float
    requests: int


class _Gateway:
    def __init__(self) -> None:
        self.groups: Groups = ()
        self.requests = 0

    async def rights(self, urls: Sequence[str]) -> Rights:
        self.requests += 1
        return Rights(revision=str(self.groups), readers=(self.groups,) * len(urls))


def measure(answers: int, pages: int) -> Iterator[tuple[str, Measured]]:
    """The first check of all answers, one that closes all, and one in which nothing changed."""
    with tempfile.TemporaryDirectory() as folder:
        engine = database.open(f"sqlite:///{folder}/askdocs.db")
        database.migrate(engine)
        for start in range(0, answers, BATCH):
            with database.writing(engine) as connection:
                numbers = range(start, min(start + BATCH, answers))
                connection.execute(question_table.insert(), [_row(n, pages) for n in numbers])
        gateway = _Gateway()
        store = Store(engine)
        work = Narrowing(cast(Gateway, gateway), store)
        for name, groups in (("first", ()), ("all closed", (HR, BOARD))):
            gateway.groups, gateway.requests = groups, 0
            yield name, _once(work, gateway)
        gateway.requests = 0
        yield "a new process", _once(Narrowing(cast(Gateway, gateway), store), gateway)
        engine.dispose()


def _once(work: Narrowing, gateway: _Gateway) -> Measured:
    began = time.process_time()
    asyncio.run(_whole(work))
    return Measured(time.process_time() - began, gateway.requests)


async def _whole(work: Narrowing) -> None:
    if not await work.once():
        raise RuntimeError("the pass did not come to its end: run the study again")


def _row(number: int, pages: int) -> dict[str, Any]:
    shown = [
        {"url": f"https://wiki.example.com/{(number * 7 + n) % pages}#part", "title": "A page"}
        for n in range(6)
    ]
    claim = {"start": 0, "end": 40, "verdict": "supported", "reason": "Says the same. " * 4}
    outcome = {"pages": shown, "sources": shown[:3], "claims": [claim] * 12}
    question = Asked(f"{number:09}", "How do I do this?", f"talk-{number // 2:09}")
    answered = Answered("answered", "One sentence of it. " * 30, outcome=outcome)
    at = datetime.now(UTC) + timedelta(seconds=number)
    return {**vars(question), **vars(answered), "at": at}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--pages", type=int, default=5_000)
    given = parser.parse_args()
    for name, measured in measure(given.answers, given.pages):
        print(f"{name}: {measured.cpu:.1f} s of CPU, {measured.requests} requests", flush=True)


if __name__ == "__main__":
    main()
