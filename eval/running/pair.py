"""Two runs of an evaluation: what of them is alike, and what is not."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from eval.running.run import Run


class Pair(NamedTuple):
    """A run and the one beside it."""

    first: Run
    second: Run

    @property
    def same_machine(self) -> bool:
        """And one engine, wherever they went on."""
        made = [each for run in self for each in (run.provenance, *run.resumed)]
        places = [(each.machine, each.engine) for each in made]
        return all(place == places[0] for place in places)

    @property
    def same_load(self) -> bool:
        """Were as many questions asked at the same time?"""
        return self.first.at_once == self.second.at_once

    @property
    def differs(self) -> dict[str, list[Any]]:
        """What decides the answers and their times, where it is not alike: both values by its name.

        Without questions, systems and wiki: only what both have of them is compared.
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
