"""Consoles for human-readable output: no automatic wrapping or highlighting."""

import sys

from rich.console import Console

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(line: str) -> None:
    """Print a line for people, beside the output for scripts."""
    print(line, file=sys.stderr, flush=True)
