"""httpx reads and unpacks no more of an answer than the limits."""

import gzip
from collections.abc import AsyncIterator

import brotli
import httpx
import pytest

from gateway.upstream import bounds

TEXT = b"one line\n" * 50


@pytest.fixture(autouse=True)
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "LARGEST", 1000)
    monkeypatch.setattr(bounds, "LONGEST_LINE", 100)


async def read(body: bytes, **headers: str) -> bytes:
    """The body as a client reads it that arrives in two parts."""

    async def parts() -> AsyncIterator[bytes]:
        yield body[:10]
        yield body[10:]

    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(request: httpx.Request) -> httpx.Response:
        response = httpx.Response(200, headers=named, content=parts())
        bounds.limit(response)
        return response

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        return (await client.get("http://provider/")).content


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream; charset=utf-8"])
async def test_an_answer_within_the_limits_is_read(kind: str) -> None:
    assert await read(TEXT, content_type=kind) == TEXT
    assert await read(gzip.compress(TEXT), content_type=kind, content_encoding="gzip") == TEXT


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(TEXT * 3, {}, id="long"),
        pytest.param(gzip.compress(TEXT * 3), {"content_encoding": "GZIP"}, id="packed"),
        pytest.param(b"a" * 101, {"content_type": "text/event-stream"}, id="a long line"),
        pytest.param(
            gzip.compress(gzip.compress(TEXT)), {"content_encoding": "gzip, gzip"}, id="twice"
        ),
        pytest.param(brotli.compress(TEXT), {"content_encoding": "br"}, id="brotli"),
    ],
)
async def test_an_answer_beyond_them_is_broken(body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(httpx.DecodingError):
        await read(body, **headers)
