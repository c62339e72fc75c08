"""Events of a run: one JSON object per line, on standard output and in events.jsonl.

{"event": "start", "steps": 160, "epochs": 3, "train_tokens": 1310436, ...}
{"event": "step", "step": 1, "loss": 2.1, "tokens": 6560, "seconds": 29.1, "memory": 2100000000}
{"event": "eval", "step": 32, "loss": 1.9}
{"event": "saved", "step": 32}
{"event": "problem", "message": "..."}
{"event": "done", "step": 160, "best_step": 128, "stopped": "end"}
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Event = dict[str, Any]
FILE = "events.jsonl"


def parse(line: bytes) -> Event | None:
    """Parse a line; None if it is not an event, such as a line truncated by a kill."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def read(folder: Path) -> list[Event]:
    """All events of a run so far, from its first start if it was resumed."""
    try:
        lines = (folder / FILE).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [event for event in map(parse, lines) if event is not None]


def losses(events: Iterable[Event], kind: str) -> list[tuple[int, float]]:
    """Finite losses of one kind (step, eval) by step; for a repeated step, the last."""
    by_step = {
        event["step"]: event["loss"]
        for event in events
        if event["event"] == kind and math.isfinite(event["loss"])
    }
    return sorted(by_step.items())
