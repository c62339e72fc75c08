"""Where commands print for people: lines are neither wrapped nor coloured by guesses."""

from rich.console import Console

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
