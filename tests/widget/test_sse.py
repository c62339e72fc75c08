import asyncio
import itertools
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from core.sse import events
from widget.box import sse

STREAM = (
    ': hello\r\n\r\ndata: {"a": "é\u2028"}\n\nevent: x\rdata:two\rdata: lines\r\r'
    "id: 7\n\ndata: [DONE]\n\ndata: not ended"
).encode()
EXPECTED = ['{"a": "é\u2028"}', "two\nlines", "[DONE]"]


async def collect(pieces: list[bytes]) -> list[str]:
    async def chunks() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return [data async for data in events(chunks())]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_events_do_not_depend_on_where_the_network_cuts(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in itertools.pairwise(edges)]
    assert asyncio.run(collect(pieces)) == EXPECTED


def test_events_survive_a_cut_at_every_byte() -> None:
    assert asyncio.run(collect([bytes([byte]) for byte in STREAM])) == EXPECTED


def test_an_event_cannot_be_ended_from_within() -> None:
    assert sse.event("answer", "a\n\nevent: done\rb\r\nc") == (
        "event: answer\ndata: a\ndata: \ndata: event: done\ndata: b\ndata: c\n\n"
    )
