"""The load of readers: each answer is timed to its end, and a stalling server is not spared."""

import asyncio
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from askdocs.capacity import arrivals
from tests import starting


def options(url: str, rate: float, seconds: float) -> Namespace:
    return Namespace(url=url, model="m", box=None, rate=rate, seconds=seconds, first=1, tokens=None)


async def serve(
    answer: Callable[[asyncio.StreamWriter], Any],
) -> tuple[asyncio.Server, str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await answer(writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


@pytest.mark.slow
async def test_a_server_that_stalls_makes_all_wait_who_were_to_come_meanwhile() -> None:
    turn = asyncio.Lock()
    body = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\ndata: [DONE]\n\n'
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)

    async def one_after_the_other(writer: asyncio.StreamWriter) -> None:
        async with turn:
            await asyncio.sleep(0.05)
        writer.write(head + body)

    server, url = await serve(one_after_the_other)
    seen: dict[str, Any] = await arrivals.run(options(url, 60, 1), ["How?"])
    server.close()
    ends = sorted(end for _, _, _, end in seen["answers"])
    # It can do 20 a second: who comes as the last of some 60 waits about two seconds.
    assert ends[-1] > 0.05 * len(ends) - 1.5
    assert ends[-1] > 0.5
    assert seen["most_open"] > 10


async def test_an_answer_without_its_end_has_failed_and_is_shown() -> None:
    async def half(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ndata: ")

    server, url = await serve(half)
    seen: dict[str, Any] = await arrivals.run(options(url, 20, 0.5), ["How?"])
    server.close()
    assert {state for _, state, _, _ in seen["answers"]} == {"failed"}
    assert "data: " in seen["error"]


@pytest.mark.slow
async def test_answers_of_the_load_test_have_the_same_length(tmp_path: Path) -> None:
    with starting.engine(tmp_path) as engine:
        asked, call = arrivals.Api(engine.url, "base", "none", 40), arrivals.Call
        _, one = await asyncio.get_running_loop().create_connection(call, *asked.place)
        heard = arrivals.Heard()
        state = await asked.ask(one, "Say yes.", 1, heard)
        one.transport.close()
    assert state == "answered"
    assert b'"completion_tokens":40' in heard.tail
