"""Implements `askdocs docs learn`: stores answered questions as votes for their pages."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape

from askdocs.terminal.bar import Bar
from askdocs.wikis.sync import LISTED
from gateway.knowledge.search.answered import MemoryMatch
from gateway.knowledge.search.calibration import FEWEST, Calibration
from gateway.knowledge.search.learn import Learned, learn
from gateway.knowledge.search.search import Search
from gateway.knowledge.sources.sync import Writing

out = Console(highlight=False, soft_wrap=True)


def run(search: Search, writing: Writing, rows: list[MemoryMatch], dry_run: bool) -> Learned:
    """Raises AskdocsError as `learn`."""
    with Bar() as bar:
        return learn(search, writing, rows, dry_run=dry_run, progress=bar.show)


def show(learned: Learned, dry_run: bool) -> None:
    """Print a summary."""
    how = " (dry run: nothing was written)" if dry_run else ""
    held_out = f", {learned.held_out:,} held out for the evaluation" if learned.held_out else ""
    out.print(
        f"{learned.added:,} questions added, {learned.changed:,} changed, {learned.known:,} known,"
        f" {learned.without_page:,} without a page{held_out}{how}"
    )
    for line in learned.unknown[:LISTED]:
        out.print(f"  [red]![/red] {escape(line)}: the wiki has no such page")
    if len(learned.unknown) > LISTED:
        out.print(f"  and {len(learned.unknown) - LISTED:,} more; --json lists all")
    out.print(f"memory {memory(learned.after)}")


def facts(learned: Learned, dry_run: bool) -> dict[str, Any]:
    """The summary for scripts."""
    return {**asdict(learned), "on": learned.after.is_on, "dry_run": dry_run}


def memory(measured: Calibration | None) -> str:
    """Is the memory on, and why?"""
    if measured is None:
        return "off: there are no answered questions; `askdocs docs learn FILE` reads them"
    if measured.answers < FEWEST:
        return f"off: {measured.answers:,} answered questions can vote, {FEWEST} are needed"
    text, votes = (f"{shares.get('5', 0):.0%}" for shares in (measured.text, measured.votes))
    return (
        f"{'on' if measured.is_on else 'off'}: of {measured.asked:,} answered questions, asked"
        f" again, {votes} found their page among the first five with the votes of the others,"
        f" {text} without"
    )
