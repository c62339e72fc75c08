"""The table of fault injection results: JSON and Markdown, in the folder that CHAOS_OUT names."""

import json
import os
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Day:
    """One fault, and how its rounds went."""

    name: str
    acknowledged: int = 0
    lost: int = 0
    failed: int = 0
    requests: int = 0
    recovery: list[float] = field(default_factory=list)
    """Seconds, of each round."""
    failures: dict[str, int] = field(default_factory=dict)

    def line(self) -> str:
        median = f"{statistics.median(self.recovery):.1f} s" if self.recovery else ""
        rounds = len(self.recovery)
        failed = f"{self.failed} of {self.requests}"
        cells = (self.name, self.acknowledged, self.lost, failed, median, rounds)
        return "| " + " | ".join(str(cell) for cell in cells) + " |"


class Report:
    """All of them; `save` writes what there is so far."""

    def __init__(self) -> None:
        self.days: list[Day] = []

    def of(self, name: str) -> Day:
        for day in self.days:
            if day.name == name:
                return day
        self.days.append(Day(name))
        return self.days[-1]

    def save(self) -> None:
        if not (named := os.environ.get("CHAOS_OUT")):
            return
        folder = Path(named)
        folder.mkdir(parents=True, exist_ok=True)
        days = [asdict(day) for day in self.days]
        (folder / "chaos.json").write_text(json.dumps(days, indent=1) + "\n")
        (folder / "chaos.md").write_text(self.table())

    def table(self) -> str:
        head = ("fault", "acknowledged", "lost", "failed requests", "recovery", "rounds")
        lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        return "\n".join([*lines, *(day.line() for day in self.days)]) + "\n"


def rounds() -> int:
    return int(os.environ.get("CHAOS_ROUNDS", "1"))
