"""Watches wikis for changes: folders immediately, sites and services at intervals."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from core.settings import load
from wiki.sources.site import SitesSettings

# Several files saved by an editor or `git pull` are one change, which ends after this many
# milliseconds without changes, and is reported after the maximum below at the latest.
QUIET = 300
LONGEST = 3000
# Milliseconds between checks for a missing folder, as an export may be replaced as a whole, and
# between scans of all files if the system limits the number of watched files.
GLANCE = 2000
# Network drives do not report others' changes, and a periodic read ensures that the folder is up to
# date.
AGAIN = 3600.0


def changes(
    folder: Path | None, stop: threading.Event, is_followed: bool = False
) -> Iterator[bool]:
    """Yields at once, and then whenever the folder, or the site if it is None, should be read.

    Yields True for a complete read, and False for a look at the feed of a followed service. Ends
    when `stop` is set.
    """
    yield True
    yield from _folder(folder, stop) if folder else _site(stop, is_followed)


def _folder(place: Path, stop: threading.Event) -> Iterator[bool]:
    """Yields whenever something in `place` may have changed, until `stop` is set.

    The first time is when watching has started, as earlier changes were not observed. A folder that
    is deleted and recreated counts as changed.
    """
    # It takes 0.1 s to import, and only watching needs it.
    import watchfiles

    polling = False
    while not stop.is_set():
        there = _identity(place)
        if there is None:
            stop.wait(GLANCE / 1000)
            continue
        began, due = False, time.monotonic() + AGAIN
        try:
            for seen in watchfiles.watch(
                place,
                debounce=LONGEST,
                step=QUIET,
                rust_timeout=GLANCE,
                force_polling=polling or None,
                poll_delay_ms=GLANCE,
                yield_on_timeout=True,
                stop_event=stop,
            ):
                if seen or not began or time.monotonic() >= due:
                    began, due = True, time.monotonic() + AGAIN
                    yield True
                if _identity(place) != there:
                    break
        except FileNotFoundError:
            pass  # deleted between the two lines
        except (OSError, RuntimeError):
            polling = True
            stop.wait(GLANCE / 1000)


def _site(stop: threading.Event, is_followed: bool) -> Iterator[bool]:
    while True:
        due, pause = time.monotonic() + interval(), feed_interval() if is_followed else 0.0
        while pause and time.monotonic() + pause < due:
            if stop.wait(pause):
                return
            yield False
        if stop.wait(max(0.0, due - time.monotonic())):
            return
        yield True


def interval() -> float:
    """Seconds between reads of a source that cannot report changes."""
    return load(SitesSettings).interval


def feed_interval() -> float:
    """Seconds between two looks at the feed of a followed service; 0: none."""
    return load(SitesSettings).feed_interval


def _identity(place: Path) -> tuple[int, int] | None:
    try:
        status = place.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
