"""Limits the bytes of an answer that httpx reads and unpacks.

httpx reads answers of any size, and unpacks 1 MB of gzip to 1 GB.
"""

from httpx import DecodingError, Response
from httpx._decoders import ContentDecoder

LARGEST = 256 * 2**20  # bytes of an answer or error: 2,048 vectors of 4,096 numbers are 170 MB
LONGEST_LINE = 2**25  # bytes of a line of a stream of events, which may hold an image
# They unpack a byte to a thousand at most, and bodies arrive in parts of 16 or 64 kB; brotli and
# zstd unpack a part without limit.
PACKED = ("gzip", "deflate")
ACCEPTED = ", ".join(PACKED)


class _Limited(ContentDecoder):
    """Unpacks at most `LARGEST` bytes, which are packed at most once, as `PACKED` names it, and of
    a stream of events at most `LONGEST_LINE` bytes between two line ends."""

    def __init__(self, response: Response) -> None:
        names = response.headers.get_list("content-encoding", split_commas=True)
        self._packed = [name.strip().lower() for name in names]
        self._decoder = Response._get_content_decoder(response)
        self._most_in_line = LARGEST
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            self._most_in_line = LONGEST_LINE
        self._size = self._line = 0

    def decode(self, data: bytes) -> bytes:
        if self._packed not in ([], ["identity"], *([name] for name in PACKED)):
            text = f"packed as {', '.join(self._packed)}, which was not requested"
            raise DecodingError(text)
        return self._counted(self._decoder.decode(data))

    def flush(self) -> bytes:
        return self._counted(self._decoder.flush())

    def _counted(self, data: bytes) -> bytes:
        self._size += len(data)
        end = data.rfind(b"\n")
        self._line = self._line + len(data) if end < 0 else len(data) - end - 1
        if self._size > LARGEST or self._line > self._most_in_line:
            raise DecodingError(f"{self._size:,} bytes, and {self._line:,} in one line")
        return data


def limit(response: Response) -> None:
    """Limit one answer whose body has not been read: more raises DecodingError."""
    response._decoder = _Limited(response)
