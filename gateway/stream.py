"""What turns an engine's chunks into the client's."""

from typing import Any

import orjson


def rename(data: bytes, there: bytes, here: bytes) -> bytes:
    if there == here:
        return data
    data = data.replace(b'"model":"%s"' % there, b'"model":"%s"' % here)
    return data.replace(b'"model": "%s"' % there, b'"model": "%s"' % here)


class Stream:
    def __init__(self, there: bytes, here: bytes, *, keep_usage: bool) -> None:
        self._there, self._here, self._keep = there, here, keep_usage
        self._held = b""
        self.usage: dict[str, Any] | None = None
        self.events = 0
        self.done = False
        self.failed = False

    def feed(self, data: bytes) -> bytes:
        *whole, self._held = (self._held + data).split(b"\n\n")
        out = []
        for one in whole:
            self.events += 1
            if one == b"data: [DONE]":
                self.done = True
            if one.startswith(b'data: {"error"'):
                self.failed = True
            if b'"usage":' in one:
                chunk = orjson.loads(one.removeprefix(b"data: "))
                if chunk.get("usage"):
                    self.usage = chunk["usage"]
                    if not self._keep:
                        if not chunk.get("choices") or not any(
                            c.get("finish_reason") or (c.get("delta") or {}).get("content")
                            for c in chunk["choices"]
                        ):
                            continue
                        del chunk["usage"]
                        one = b"data: " + orjson.dumps(chunk)
            out.append(rename(one, self._there, self._here) + b"\n\n")
        return b"".join(out)

    def end(self) -> bytes:
        if self.done or self.failed:
            return b""
        error = {
            "message": "the engine broke off in the middle of the answer; ask again",
            "type": "server_error",
            "param": None,
            "code": "engine_unavailable",
        }
        return b"data: " + orjson.dumps({"error": error}) + b"\n\n"
