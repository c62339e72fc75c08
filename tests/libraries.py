"""A Python of another environment that stays: its libraries take seconds to import, each time."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# What libraries print goes to the log.
LOOP = """
import json, os, sys, traceback
replies = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    names = json.loads(line)
    try:
        exec(compile(names.pop("code"), "asked", "exec"), names)
        reply = {"said": names["said"]}
    except BaseException:
        reply = {"error": traceback.format_exc()}
    print(json.dumps(reply), file=replies, flush=True)
"""


class Libraries:
    """What can be asked of them."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def said(self, code: str, **given: Any) -> Any:
        """Run code that knows the names in `given`; what it calls `said` comes back."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps({"code": code, **given}), file=self._process.stdin, flush=True)
        reply = json.loads(self._process.stdout.readline())
        assert "error" not in reply, reply["error"]
        return reply["said"]


@contextmanager
def libraries(python: Path, log: Path) -> Iterator[Libraries]:
    with (
        log.open("w") as output,
        subprocess.Popen(
            [python, "-c", LOOP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        ) as process,
    ):
        yield Libraries(process)
