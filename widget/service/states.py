"""The states of an answer that a reader sees, in order."""

from dataclasses import dataclass

from widget.service.outcome import Outcome, Reading


@dataclass(frozen=True)
class Partial:
    """The answer so far."""

    text: str


@dataclass(frozen=True)
class Done:
    """The whole answer, or the part until the reader stopped it."""

    text: str
    outcome: Outcome
    stopped: bool = False


@dataclass(frozen=True)
class Failed:
    """A sentence for the reader, and the part of the answer that arrived."""

    sentence: str
    text: str = ""


@dataclass(frozen=True)
class Quiet:
    """Nothing has happened for a while."""


End = Done | Failed
State = Reading | Partial | Quiet | End
