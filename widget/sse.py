"""Server-sent events: reading them from the gateway, writing them to the browser.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import re
from collections.abc import AsyncIterable, AsyncIterator

KEEP_ALIVE = ": still here\n\n"

_BREAK = re.compile(r"\r\n|\r|\n")


async def data(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """The `data` of each event. Chunks may be cut anywhere, inside a character too.

    Splits on CR, LF and CRLF only: JSON may carry U+2028 and its like unescaped.
    """
    lines: list[str] = []
    async for raw in _lines(chunks):
        if not raw:
            if lines:
                yield "\n".join(lines)
            lines = []
            continue
        line = raw.decode("utf-8", "replace")
        name, _, value = line.partition(":")
        if name == "data":
            lines.append(value.removeprefix(" "))
    # An event that the blank line has not ended is incomplete and is dropped, as in a browser.


async def _lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in chunks:
        rest += chunk
        # A CR at the very end may be half of a CRLF: it waits for the next chunk.
        held = b"\r" if rest.endswith(b"\r") else b""
        *whole, rest = re.split(rb"\r\n|\r|\n", rest.removesuffix(b"\r"))
        rest += held
        for line in whole:
            yield line
    if rest:
        yield rest.removesuffix(b"\r")


def event(name: str, text: str, id: int | None = None) -> str:
    """One event for the browser. Line breaks in the text become `data` lines.

    The browser names the last `id` when it comes back after a lost connection (Last-Event-ID).
    """
    lines = "".join(f"data: {line}\n" for line in _BREAK.split(text))
    number = "" if id is None else f"id: {id}\n"
    return f"event: {name}\n{number}{lines}\n"
