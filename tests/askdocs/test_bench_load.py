"""`askdocs bench load`: its stand-in of a GPU, its readers, its search, and one run of it."""

import asyncio
import json
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from askdocs.commands import bench
from eval.bench import arrivals, gpu, sustained, systems
from eval.bench.sustained import Bench, Steady, SustainedReport, Wait
from eval.bench.systems import Started
from gateway.core.errors import AskdocsError
from gateway.upstream.engine import Engine
from tests import starting
from tests.waiting import async_until

PAGE = "## Keys\n\nA key is shown once. Only a hash of it is stored, so nobody sees it again."
GROUNDED = [
    {"role": "system", "content": f'Rules.\n\n<page title="Keys">\n{PAGE}\n</page>'},
    {"role": "user", "content": "Keys\n\nQuestion: How do I see a key? (7)"},
]


def asked(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"How? ({number})"}]


def test_an_answer_takes_as_long_as_on_a_gpu_and_the_same_question_always_so() -> None:
    found = [gpu.plan(asked(number))[1] for number in range(300)]
    assert [one.timing for one in found] == [gpu.plan(asked(n))[1].timing for n in range(300)]
    cold = [one for one in found if one.timing.token > gpu.BEGIN_S]
    assert {round(one.timing.token, 3) for one in cold} == {0.54}  # 1,200 tokens at 2,400/s
    assert 110 < len(cold) < 190  # half of them
    lengths = [len(one.tokens) for one in found]
    assert 190 < sum(lengths) / len(lengths) < 210
    one = found[0]
    taken = one.timing.last - one.timing.token
    assert taken == pytest.approx((len(one.tokens) - 1) * gpu.GAP_S)


def test_an_answer_from_a_page_is_its_own_words() -> None:
    number, planned = gpu.plan(GROUNDED)
    assert number == 7
    assert PAGE.startswith("".join(planned.tokens))


async def test_a_gpu_writes_a_token_of_each_answer_with_each_of_its_steps() -> None:
    loop = asyncio.get_running_loop()
    card = gpu.Card(gap=0.02, phase=0.005)
    written: list[tuple[str, float]] = []

    def tokens(name: str, count: int) -> Iterator[None]:
        for _ in range(count):
            written.append((name, loop.time()))
            yield

    began = loop.time()
    late = card.add(began + 0.25, tokens("late", 3))
    soon = card.add(began + 0.03, tokens("soon", 4))
    added = loop.time()
    await async_until(lambda: len(written) == 7)
    assert Counter(name for name, _ in written) == {"soon": 4, "late": 3}
    begun = dict(reversed(written))
    for first, moment in ((soon, begun["soon"]), (late, begun["late"])):
        assert began + 0.03 <= first <= added + 0.25 + 0.02
        assert (first - 0.005) / 0.02 == pytest.approx(round((first - 0.005) / 0.02), abs=1e-3)
        assert moment >= first - 0.001


async def test_the_gateway_takes_the_stand_in_for_vllm() -> None:
    with systems.engine(module="eval.bench.gpu") as url:
        engine = Engine(url)
        assert await engine.kind() == "vllm"
        assert (await engine.model()).context == gpu.CONTEXT
        assert await engine.count("x" * 400) == 100
        await engine.close()


def options(url: str, rate: float, seconds: float) -> Namespace:
    return Namespace(url=url, model="m", box=None, rate=rate, seconds=seconds, first=1, tokens=None)


async def test_questions_are_answered_and_their_timings_are_reported_once() -> None:
    with systems.engine("--gap", "0.0001", module="eval.bench.gpu") as url:
        seen: dict[str, Any] = await arrivals.run(options(url, 50, 1), ["How?"])
        answers = seen["answers"]
        assert seen["error"] == ""
        assert 20 < len(answers) < 90
        assert {state for _, state, _, _ in answers} == {"answered"}
        timings = await asyncio.to_thread(sustained.timings, url)
        assert timings.keys() == {number for number, _, _, _ in answers}
        rounded = 0.001  # uvloop's timers count milliseconds
        for number, _, first, end in answers:
            assert first >= timings[number].token - rounded
            assert end >= timings[number].last - rounded
        assert await asyncio.to_thread(sustained.timings, url) == {}


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


FINE = Wait(1.0, 2.0)
STEADY = Steady("askdocs", 5, 20, 100, 98, 2, 0, "", 40, FINE, FINE, FINE, 0.5, {"gateway": 9}, {})


@pytest.mark.parametrize("capacity", [0.5, 13.0, 100.0])
def test_the_search_ends_close_below_what_goes_well(capacity: float) -> None:
    class Scripted(Bench):
        def steady(self, name: str, asked: Started, rate: float, *_: Any) -> Steady:
            late = 40.0 if rate <= capacity else 60.0
            return replace(STEADY, rate=rate, added_end=Wait(1, late))

    started = Started("", "m", "none", None)
    found = Scripted(Path(), started, lambda _: None).highest("askdocs", started, 2.0, 1, {})
    assert capacity / 1.1 < found.rate <= capacity


def test_one_busy_moment_is_no_limit() -> None:
    class Hiccup(Bench):
        tries = 0

        def steady(self, name: str, asked: Started, rate: float, *_: Any) -> Steady:
            self.tries += 1
            bad = self.tries == 1 or rate > 8
            return replace(STEADY, rate=rate, errors=int(bad))

    started = Started("", "m", "none", None)
    found = Hiccup(Path(), started, lambda _: None).highest("askdocs", started, 4.0, 1, {})
    assert found.rate == pytest.approx(8.0)


def test_the_table_tells_cores_and_the_highest_rates() -> None:
    highest = sustained.Highest("askdocs", 5, [STEADY])
    text = sustained.table(
        SustainedReport({}, [STEADY], [highest, sustained.Highest("litellm", 0, [])])
    )
    assert "| questions / answered / refused | 100 / 98 / 2 |" in text
    assert "| CPU of the gateway | 9.0 ms a question, 0.04 cores |" in text
    assert "| askdocs | 5.0 questions/s | 1.0 / 2.0 ms |" in text
    assert "| litellm | 0.0 questions/s | - | - |" in text


def test_an_unknown_system_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(AskdocsError, match="'nginx' is not a system; there are nothing, "):
        sustained.run(tmp_path, 1, 1, 1, 0, ["nginx"], 1, lambda _: None)


@pytest.mark.slow
def test_readers_are_answered_through_widget_and_gateway(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("coffee", "travel"):
        sentences = " ".join(f"The {name} desk on floor {n} opens at {n}." for n in range(10, 40))
        (docs / f"{name}.md").write_text(f"# All about {name}\n\n{sentences}\n")
    # The first questions find a gateway that has asked its engine nothing yet, which on a machine
    # without a free core may take longer than an engine next door gets.
    words = ["--rate", "3", "--seconds", "4", "--warm-up", "4", "--search", "none", "--json"]
    result = CliRunner().invoke(bench.app, ["load", "--docs", str(docs), *words])
    assert result.exit_code == 0, result.output[-3000:] + repr(result.exception)
    (steady,) = json.loads(result.stdout)["steady"]
    assert steady["errors"] == 0
    assert steady["answered"] == steady["questions"] > 2
    assert steady["most_open"] > 1
    # The engine's own time is no part of what is added: an answer takes seconds.
    assert steady["words"]["p50_ms"] > steady["added_words"]["p50_ms"] > 0
    assert steady["cpu_ms"].keys() == {"widget", "gateway", "readers"}
