"""Parses server-sent events from engines, LiteLLM and, in the widget, this gateway.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from collections.abc import AsyncIterable, AsyncIterator

MAX_EVENT = 2**20  # maximum bytes of an event


class EventTooLong(ValueError):
    """The data is not an event stream."""


class Framing:
    """Splits a byte stream at the ends of its events, however it is chunked.

    Only this class knows how events end; their content is not changed.
    """

    __slots__ = ("_cut", "_held", "_limit")

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._held = b""
        self._cut = False
        self._limit = limit

    def feed(self, data: bytes) -> bytes:
        """The events that are complete now, each with its empty line; may be empty.

        Normalises line ends to LF. Raises EventTooLong.
        """
        if self._cut and data:  # the last read ended with the first half of a CRLF
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
    """Splits complete events from `Framing`, without their empty lines."""
    return whole[:-2].split(b"\n\n") if whole else []


class EventReader:
    """Extracts the data of events."""

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._framing = Framing(limit)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of each event that is complete now; drops comments and other fields.

        As in a browser, an event without its empty line is never complete. Raises EventTooLong.
        """
        whole = self._framing.feed(chunk)
        if whole.startswith(b"data: ") and whole.find(b"\n") == len(whole) - 2:
            return [whole[6:-2]]  # one event of one line, the most common case
        return [data for data in map(_data, cut(whole)) if data is not None]


async def events(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """Yields the data of each event. Raises EventTooLong."""
    reader = EventReader()
    async for chunk in chunks:
        for data in reader.feed(chunk):
            yield data.decode("utf-8", "replace")


def _data(event: bytes) -> bytes | None:
    lines = [line[5:] for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(line.removeprefix(b" ") for line in lines) if lines else None
