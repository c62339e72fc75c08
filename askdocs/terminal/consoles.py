"""Consoles for human-readable output: no automatic wrapping or highlighting."""

from rich.console import Console

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
