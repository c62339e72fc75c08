"""Input and output of a process in the environment `eval`."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from core.errors import AskdocsError


class Teller:
    """Writes events."""

    def __init__(self, output: int) -> None:
        self._output = output

    def tell(self, event: str, **facts: object) -> None:
        line = json.dumps({"event": event, **facts}, ensure_ascii=False) + "\n"
        os.write(self._output, line.encode())

    def step(self, name: str, done: int, total: int | None) -> None:
        self.tell("step", name=name, done=done, total=total)


def work(script: str, does: Callable[[dict[str, Any], str, Teller], Awaitable[None]]) -> int:
    """Do the job named by the only argument, with the key from standard input.

    Args:
        script: name shown in the usage message.
        does: called with the job, the key and the teller; may raise AskdocsError.

    Returns:
        The exit status.
    """
    arguments = sys.argv[1:]
    if len(arguments) != 1:
        print(f"usage: python {script} JOB.json < KEY", file=sys.stderr)
        return 2
    job = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    key = sys.stdin.readline().strip()
    # Library output must not mix with the events.
    teller = Teller(os.dup(1))
    os.dup2(2, 1)

    async def doing() -> None:
        await does(job, key, teller)

    try:
        asyncio.run(doing())
    except AskdocsError as problem:
        teller.tell("problem", message=str(problem))
        print(f"error: {problem}", file=sys.stderr)
        return 1
    teller.tell("done")
    return 0
