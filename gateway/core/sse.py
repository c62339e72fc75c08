"""Parses server-sent events from engines, LiteLLM and, in the widget, this gateway.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from collections.abc import AsyncIterable, AsyncIterator

MAX_EVENT = 2**20  # bytes; what has no end by then is not an event
MAX_HELD = 2**25  # bytes of events that are held until their answer is known


class EventTooLong(ValueError):
    """What comes is no stream of events."""


class Framing:
    """Cuts a stream of bytes where its events end, however the bytes come.

    This is the one place that knows how events end; what is within them is left as it is.
    """

    __slots__ = ("_cut", "_held", "_limit")

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._held = b""
        self._cut = False
        self._limit = limit

    def feed(self, data: bytes) -> bytes:
        """The events that are whole now, each with the empty line behind it; may be empty.

        Lines end with LF. Raises EventTooLong.
        """
        if self._cut and data:  # the first half of a CRLF ended the last read
            self._cut = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._cut = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._held:
            data = self._held + data
        boundary = data.rfind(b"\n\n")
        end = boundary + 2 if boundary >= 0 else 0
        if end == len(data):
            self._held = b""
            return data
        self._held = data[end:]
        if len(self._held) > self._limit:
            self._held = b""
            raise EventTooLong(f"an event has more than {self._limit:,} bytes")
        return data[:end]


def cut(whole: bytes) -> list[bytes]:
    """The events that `Framing` has found whole, each without the empty line behind it."""
    return whole[:-2].split(b"\n\n") if whole else []


class EventReader:
    """Takes the data out of events."""

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._framing = Framing(limit)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of each event that is whole now; comments and other fields are dropped.

        An event that the empty line has not ended is never whole, as in a browser. Raises
        EventTooLong.
        """
        whole = self._framing.feed(chunk)
        if whole.startswith(b"data: ") and whole.find(b"\n") == len(whole) - 2:
            return [whole[6:-2]]  # one event of one line, as nearly all that an engine sends
        return [data for data in map(_data, cut(whole)) if data is not None]


async def events(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """The data of each event. Raises EventTooLong."""
    reader = EventReader()
    async for chunk in chunks:
        for data in reader.feed(chunk):
            yield data.decode("utf-8", "replace")


def _data(event: bytes) -> bytes | None:
    lines = [line[5:] for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(line.removeprefix(b" ") for line in lines) if lines else None
