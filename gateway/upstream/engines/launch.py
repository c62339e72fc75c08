"""Describes how to start an engine process, in one format for all engines."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Launch:
    """A command, and the variables that it needs in addition to the inherited environment."""

    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
