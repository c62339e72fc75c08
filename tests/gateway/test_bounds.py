"""httpx reads and unpacks no more of an answer than the limits, once they are set."""

import gzip
from collections.abc import AsyncIterator, Iterator

import brotli
import httpx
import pytest

from gateway.upstream import bounds

TEXT = b"one line\n" * 50


@pytest.fixture(autouse=True)
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "LARGEST", 1000)
    monkeypatch.setattr(bounds, "LONGEST_LINE", 100)
    monkeypatch.setattr(httpx.Response, "_get_content_decoder", bounds._own_decoder)
    monkeypatch.setattr(bounds._client, "ACCEPT_ENCODING", bounds._client.ACCEPT_ENCODING)
    bounds.limit_answers()


async def read(body: bytes, **headers: str) -> bytes:
    """The body as a client reads it that arrives in two parts."""

    async def parts() -> AsyncIterator[bytes]:
        yield body[:10]
        yield body[10:]

    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["accept-encoding"] == "gzip, deflate"
        return httpx.Response(200, headers=named, content=parts())

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


def test_a_download_has_no_limit() -> None:
    def parts() -> Iterator[bytes]:
        yield TEXT * 3

    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=parts()))
    with httpx.Client(transport=transport) as client:
        assert client.get("http://hub/").content == TEXT * 3
