"""Formats server-sent events for the browser.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import re

KEEP_ALIVE = ": still here\n\n"

_BREAK = re.compile(r"\r\n|\r|\n")


def event(name: str, text: str, id: int | None = None) -> str:
    """One event for the browser. Line breaks in the text become `data` lines.

    After a lost connection, the browser sends the last `id` (Last-Event-ID).
    """
    lines = "".join(f"data: {line}\n" for line in _BREAK.split(text))
    number = "" if id is None else f"id: {id}\n"
    return f"event: {name}\n{number}{lines}\n"
