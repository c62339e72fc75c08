"""Implements `askdocs docs sync`: reads wikis with a progress bar, and again on every change."""

import json
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from rich.console import Console
from rich.markup import escape

from askdocs.terminal.bar import Bar
from core.errors import AskdocsError
from core.tasks import Failures, Tasks
from wiki.sources import watch
from wiki.sources.spec import Spec
from wiki.sources.sync import Writing, look, sync
from wiki.sources.synced import Synced

# Maximum paths listed of each kind; JSON has all, and up to LEFT_OUT skipped files.
LISTED = 10
LEFT_OUT = 1000
# Seconds that a running sync may take to end after Ctrl-C. Nothing is lost: the next sync reads
# unwritten pages again.
GRACE = 5.0

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Job:
    """Options of a sync."""

    writing: Writing
    dry_run: bool
    as_json: bool
    after: Callable[[Bar], None]
    """Called when the indexed content changed: computes the vectors."""

    def once(self, specs: Sequence[Spec]) -> int:
        """Sync each wiki, also after failures. Returns the exit code: 1 if a page could not be
        read, 2 if a whole wiki could not."""
        code = 0
        done = []
        for spec in specs:
            try:
                synced = self._sync(spec)
            except AskdocsError as error:
                code = 2
                _complain(str(error))
                continue
            code = max(code, 1 if synced.broken else 0)
            done.append(synced)
            if not self.as_json:
                show(synced, self.dry_run)
        if self.as_json:
            print(json.dumps([facts(synced, self.dry_run) for synced in done], indent=2))
        if not self.dry_run and done:
            with Bar() as bar:
                self.after(bar)
        return code

    def watch(self, specs: Sequence[Spec], failures: Failures) -> None:
        """Sync each wiki now and whenever it changes, until SIGINT or SIGTERM."""
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        signal.signal(signal.SIGINT, lambda *_: stop.set())
        turn = threading.Lock()
        tasks = Tasks(failures.failed, failures.started)
        threads = [
            threading.Thread(
                target=tasks.go_on,
                args=(spec.place, partial(self._keep, spec, stop, turn, tasks), stop),
                daemon=True,
            )
            for spec in specs
        ]
        for thread in threads:
            thread.start()
        stop.wait()
        deadline = time.monotonic() + GRACE
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _keep(self, spec: Spec, stop: threading.Event, turn: threading.Lock, tasks: Tasks) -> None:
        feed = f"feed of {spec.place}"
        is_followed = spec.is_followed and not self.dry_run
        if is_followed:
            tasks.started(feed)
        # By whether it was a complete sync.
        reported: dict[bool, Any] = {True: None, False: ()}
        for is_complete in watch.changes(spec.folder, stop, is_followed):
            with turn:
                try:
                    synced = self._sync(spec) if is_complete else self._look(spec)
                except AskdocsError as error:
                    if not is_complete:
                        tasks.count_failure(feed)
                    if reported[is_complete] != str(error):
                        _complain(str(error))
                    reported[is_complete] = str(error)
                    continue
                if synced.is_different or reported[is_complete] != synced.broken:
                    reported[is_complete] = synced.broken
                    if self.as_json:
                        print(json.dumps(facts(synced, self.dry_run)), flush=True)
                    else:
                        show(synced, self.dry_run)
                if not self.dry_run and (is_complete or synced.is_different):
                    with Bar() as bar:
                        self.after(bar)

    def _sync(self, spec: Spec) -> Synced:
        with Bar(spec.place) as bar:
            return sync(
                spec.open(), self.writing, spec=spec.stored, dry_run=self.dry_run, progress=bar.show
            )

    def _look(self, spec: Spec) -> Synced:
        with Bar(spec.place) as bar:
            return look(spec.open(), self.writing, spec=spec.stored, progress=bar.show)


def show(synced: Synced, dry_run: bool) -> None:
    """Print a summary."""
    counts = [
        f"{len(synced.added):,} added",
        f"{len(synced.changed):,} changed",
        f"{len(synced.removed):,} removed",
        f"{synced.unchanged:,} unchanged",
    ]
    if synced.regrouped:
        counts.append(f"{len(synced.regrouped):,} with changed permissions")
    if synced.excluded:
        counts.append(f"{len(synced.excluded):,} excluded by hand")
    if synced.broken:
        counts.append(f"[red]{len(synced.broken):,} not read[/red]")
    how = "dry run, nothing was written" if dry_run else f"{synced.seconds:.1f} s"
    out.print(f"{escape(synced.source)}: {', '.join(counts)} ({how})")
    for mark, paths in (
        ("+", synced.added),
        ("~", synced.changed),
        ("-", synced.removed),
        ("*", synced.regrouped),
    ):
        for path in paths[:LISTED]:
            out.print(f"  {mark} {escape(path)}")
        if len(paths) > LISTED:
            out.print(f"  {mark} and {len(paths) - LISTED:,} more; --json lists all")
    for line in filter(None, (synced.omission, synced.repetition)):
        out.print(f"  {escape(line)}")
    for left in synced.left_out[:LISTED] if dry_run else ():
        out.print(f"  o {escape(left.path)}: {escape(left.why)}")
    more = len(synced.left_out) - LISTED
    if dry_run and more > 0:
        out.print(f"  o and {more:,} more; --json lists up to {LEFT_OUT:,}")
    for page in synced.broken:
        out.print(f"  [red]![/red] {escape(page.path)}: {escape(page.why)}")


def facts(synced: Synced, dry_run: bool) -> dict[str, Any]:
    """The summary for scripts."""
    files = [asdict(file) for file in synced.left_out[:LEFT_OUT]]
    left_out = {"count": len(synced.left_out), "reasons": synced.reasons, "files": files}
    return {
        **asdict(synced),
        "left_out": left_out,
        "seconds": round(synced.seconds, 3),
        "dry_run": dry_run,
    }


def waiting(pid: int) -> None:
    """Report that another writer is at work."""
    err.print(f"process {pid} is writing to the index: waiting for it")


def _complain(text: str) -> None:
    for line in text.splitlines():
        err.print(f"[red]askdocs:[/red] {escape(line)}")
