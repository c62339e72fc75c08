"""Compares the settings of two evaluation runs."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from eval.running.run import Run


class Pair(NamedTuple):
    """A run and the run to compare it with."""

    first: Run
    second: Run

    @property
    def same_machine(self) -> bool:
        """Did both use one machine and engine throughout, also after resuming?"""
        made = [each for run in self for each in (run.provenance, *run.resumed)]
        places = [(each.machine, each.engine) for each in made]
        return all(place == places[0] for place in places)

    @property
    def same_load(self) -> bool:
        """Did both ask the same number of questions in parallel?"""
        return self.first.at_once == self.second.at_once

    @property
    def differs(self) -> dict[str, list[Any]]:
        """Settings that affect answers or times and differ: both values by name.

        Excludes questions, systems and wiki, of which only the common part is compared.
        """
        known = [run.identity() for run in self]
        return {
            name: both
            for key in known[0]
            if key not in ("questions", "systems", "wiki")
            for name, both in _differing(key, [each[key] for each in known])
        }


def _differing(name: str, both: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    first, second = both
    if isinstance(first, dict) and isinstance(second, dict):
        for key in {**first, **second}:
            yield from _differing(f"{name}.{key}", [first.get(key), second.get(key)])
    elif first != second:
        yield name, both
