"""Reads a wiki in a separate process, so that no page can hang or exhaust the syncing process.

The process writes its results as lines of JSON. If a page crashes it, the page is reported with the
reason, and another process continues with the other pages: those that were read already have their
stamp, and are not read twice.

`python -m wiki.sources.apart` is that process.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any

import orjson

from core.errors import AskdocsError
from wiki.pages.page import Page, Section
from wiki.rights import dump, load
from wiki.sources import bounded
from wiki.sources.source import (
    Broken,
    Changed,
    Expected,
    Followed,
    Item,
    LeftOut,
    Regrouped,
    State,
    Unchanged,
)

# Maximum bytes of a page's text.
LARGEST = 16 * 2**20


class Apart:
    """Implements `wiki.sources.source.Followed` for the sources of `open_source`."""

    def __init__(self, place: str, kind: str | None, site_url: str) -> None:
        """See `wiki.sources.open.open_source`."""
        self.name = place
        self._wanted = {"place": place, "kind": kind, "site_url": site_url}

    def read(self, known: Mapping[str, str], state: str = "") -> Iterator[Item]:
        """See `wiki.sources.source.Source.read`. An interrupted read is closed."""
        return self._read(known, {"state": state})

    def recent(
        self, known: Mapping[str, str], state: str = "", ignored: Collection[str] = ()
    ) -> Iterator[Item]:
        """See `wiki.sources.source.Followed.recent`. Raises AskdocsError also for a
        source without a feed."""
        return self._read(known, {"state": state, "ignored": sorted(ignored)})

    def _read(self, known: Mapping[str, str], how: Mapping[str, Any]) -> Iterator[Item]:
        reading = _Reading(dict(known))
        while True:
            wanted = {**how, "known": reading.known, "ended": reading.ended}
            process = _start({**self._wanted, **wanted})
            try:
                yield from reading.items(process)
            finally:
                process.kill()
                process.wait()
                assert process.stdout
                process.stdout.close()
            if reading.done:
                return
            reading.note(self.name, process.returncode)


@dataclass
class _Reading:
    """The state of a read that may take several processes."""

    known: dict[str, str]
    ended: dict[str, str] = field(default_factory=dict)
    """The pages that crashed a process, with the reason."""
    done: bool = False
    _at: str = ""
    _given: set[str] = field(default_factory=set)

    def items(self, process: "subprocess.Popen[bytes]") -> Iterator[Item]:
        assert process.stdout
        self._at = ""
        for line in process.stdout:
            kind, *values = orjson.loads(line)
            if kind == "page":
                [self._at] = values
            elif kind == "done":
                self.done = True
            elif kind == "error":
                raise AskdocsError(values[0])
            elif kind == "expected":
                yield Expected(values[0])
            elif kind == "state":
                yield State(values[0])
            else:
                item, path = _item(kind, values)
                if path in self._given:
                    continue  # read by an earlier process
                if not isinstance(item, LeftOut):
                    self._given.add(path)
                if isinstance(item, Changed):
                    self.known[path] = item.stamp
                yield item

    def note(self, name: str, code: int) -> None:
        """Record that the process ended early."""
        why = _why(code)
        if not self._at or self._at in self.ended:
            raise AskdocsError(
                f"{name} cannot be read: its reader process {why}"
                + (f" at {self._at}" if self._at else "")
            )
        self.ended[self._at] = why


def _start(wanted: Mapping[str, Any]) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        # -P: the current folder may be the wiki, whose files must not be imported.
        [sys.executable, "-P", "-m", "wiki.sources.apart"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin
    with suppress(BrokenPipeError), process.stdin as stdin:  # its exit code states the reason
        stdin.write(orjson.dumps(wanted))
    return process


def _why(code: int) -> str:
    if code == -signal.SIGPROF:
        return f"takes more than {bounded.HARD:.0f} s to read"
    if code in (-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGABRT):
        return "needs too much memory, or crashes the reader"
    return f"ended with the exit code {code}"


def _item(kind: str, values: list[Any]) -> tuple[Item, str]:
    match kind, values:
        case "unchanged", [path]:
            return Unchanged(path), path
        case "regrouped", [path, groups, stamp]:
            return Regrouped(path, load(groups), stamp), path
        case "changed", [page, stamp, groups]:
            sections = tuple(
                Section(
                    *(
                        section["heading"],
                        section["anchor"],
                        tuple(section["path"]),
                        section["text"],
                    ),
                    tuple((line, at) for line, at in section["terms"]),
                )
                for section in page["sections"]
            )
            read = Page(page["path"], page["title"], page["url"], sections)
            return Changed(read, stamp, load(groups)), read.path
        case "broken", [path, why, groups]:
            return Broken(path, why, load(groups)), path
        case "left_out", [path, why]:
            return LeftOut(path, why), path
    raise AssertionError(f"{kind}: {values}")


def main() -> None:
    try:
        wanted = orjson.loads(sys.stdin.buffer.read())
    except orjson.JSONDecodeError:
        return  # the parent ended before sending a request
    # Output that a library prints is not part of the result.
    with suppress(BrokenPipeError), os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
        _answer(wanted, out)


def _answer(wanted: Mapping[str, Any], out: IO[bytes]) -> None:
    from wiki.sources.open import open_source

    def say(*words: Any) -> None:
        out.write(orjson.dumps(words, option=orjson.OPT_APPEND_NEWLINE))

    def begun(path: str) -> None:
        say("page", path)
        if path:
            out.flush()  # before the page can crash this process

    bounded.enforce(begun, wanted["ended"])
    try:
        source = open_source(wanted["place"], wanted["kind"], wanted["site_url"])
        known, state = wanted["known"], wanted["state"]
        if "ignored" not in wanted:
            items = source.read(known, state)
        elif isinstance(source, Followed):
            items = source.recent(known, state, wanted["ignored"])
        else:
            raise AskdocsError(f"{wanted['place']} has no feed of edited pages")
        for item in items:
            _say(item, say)
    except AskdocsError as error:
        say("error", str(error))
    except Exception as error:
        say("error", f"{wanted['place']} cannot be read: {type(error).__name__}: {error}")
        raise
    else:
        say("done")


def _say(item: Item, say: Callable[..., None]) -> None:
    match item:
        case Unchanged(path):
            say("unchanged", path)
        case Regrouped(path, groups, stamp):
            say("regrouped", path, dump(groups), stamp)
        case Changed(page, stamp, groups):
            if sum(len(section.text) for section in page.sections) > LARGEST:
                why = f"its text is larger than {LARGEST // 2**20} MiB"
                say("broken", page.path, why, dump(groups))
                return
            try:
                say("changed", page, stamp, dump(groups))
            except orjson.JSONEncodeError as error:
                say("broken", page.path, f"its text is not valid Unicode: {error}", dump(groups))
        case Broken(path, why, groups):
            say("broken", path, why, dump(groups))
        case LeftOut(path, why):
            say("left_out", path, why)
        case Expected(pages):
            say("expected", pages)
        case State(text):
            say("state", text)


if __name__ == "__main__":
    main()
