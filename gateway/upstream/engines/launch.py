"""How an engine process is started: the same small shape for every engine."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Launch:
    """A command and the variables that it needs beside the inherited environment."""

    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
