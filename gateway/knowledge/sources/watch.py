"""Watches wikis for changes: folders immediately, sites at intervals."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

# An editor that saves several files, or `git pull`, is one change: so many milliseconds of quiet
# end it, and it is told after this many at the latest.
QUIET = 300
LONGEST = 3000
# How often the folder is looked for that was there: an export may be replaced as a whole. And how
# often all of it is looked at where the machine lets nobody watch more files.
GLANCE = 2000
# A network drive does not tell what others change, and a folder that is read again from time to
# time is known to be up to date.
AGAIN = 3600.0


def changes(folder: Path | None, stop: threading.Event) -> Iterator[None]:
    """Yields at once, and then whenever the folder, or the site if it is None, is to be read.

    Ends when `stop` is set.
    """
    yield
    yield from _folder(folder, stop) if folder else _site(stop)


def _folder(place: Path, stop: threading.Event) -> Iterator[None]:
    """Yields whenever something in `place` may have changed, until `stop` is set.

    The first time is when watching has begun: what was changed shortly before was not seen. A
    folder that is taken away and made again is one that has changed.
    """
    # 0.1 s to import, and only what watches needs it.
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
                    yield
                if _identity(place) != there:
                    break
        except FileNotFoundError:
            pass  # taken away between the two lines
        except (OSError, RuntimeError):
            polling = True
            stop.wait(GLANCE / 1000)


def _site(stop: threading.Event) -> Iterator[None]:
    while not stop.wait(interval()):
        yield


def interval() -> float:
    """Seconds between two reads of what cannot say when it changes."""
    from gateway.core.settings import load
    from gateway.knowledge.sources.site import SitesSettings

    return load(SitesSettings).interval


def _identity(place: Path) -> tuple[int, int] | None:
    try:
        status = place.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
