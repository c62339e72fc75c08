"""`askdocs bench gateway`: its fake engine, its clients, its sums, and one run of it."""

import asyncio
import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from askdocs.commands import bench
from eval.bench import gateway, load, systems
from eval.bench.gateway import GatewayReport, Paced, Point, targets
from gateway.core.errors import AskdocsError
from tests.parts import require

HERE = Path(sys.executable)


@pytest.fixture(scope="module")
def engine() -> Iterator[systems.Started]:
    with systems.engine() as url:
        yield systems.Started(url, "bench", "none", None)


@pytest.mark.parametrize("options", [[], ["--stream"]])
def test_every_request_to_the_fake_engine_is_answered_to_the_end(
    options: list[str], engine: systems.Started
) -> None:
    seen = gateway.load(engine, "--clients", "3", "--seconds", "0.3", *options)
    assert seen["errors"] == 0
    assert seen["completed"] > seen["requests"] > 0
    assert 0 < seen["p50_ms"] <= seen["p99_ms"]


def test_paced_chunks_tell_how_long_they_were_under_way() -> None:
    with systems.engine("--gap", "0.01", "--chunks", "20") as url:
        paced = systems.Started(url, "bench", "none", None)
        seen = gateway.load(paced, "--clients", "10", "--stream", "--paced")
    assert (seen["errors"], seen["requests"], seen["chunks"]) == (0, 10, 200)
    assert 0 < seen["transit_p50_ms"] < 1000
    assert abs(seen["gap_p50_ms"]) < 1000


async def test_an_answer_that_is_cut_short_counts_as_an_error() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\ndata: 1")
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    options = Namespace(url=url, model="m", clients=1, seconds=0.1, stream=True, paced=False)
    seen = await load.run(options)
    server.close()
    assert (seen["requests"], seen["errors"]) == (0, 1)
    assert "data: 1" in str(seen["error"])


def point(name: str, clients: int, rps: float, p50: float) -> Point:
    return Point(name, clients, True, rps, p50, 2 * p50, 0.1, 100.0, 0)


def paced(name: str, gap: float) -> Paced:
    return Paced(name, 500, 0.0, gap, 0.1, 1.0, 0.01, 0)


def test_targets_compare_with_each_rival_that_was_measured() -> None:
    points = [
        point("nothing", 1, 5000, 0.2),
        point("askdocs", 1, 2000, 0.8),
        point("litellm", 16, 40, 300),
        point("vllm-router", 16, 2100, 6),
        point("askdocs", 16, 2000, 7),
    ]
    found = targets(points, [paced("nothing", 0.5), paced("askdocs", 3.0)])
    assert [(round(t.value, 2), t.met) for t in found] == [
        (0.6, False),
        (50.0, True),
        (0.95, False),
        (2.5, True),
    ]
    assert targets([point("askdocs", 16, 1, 1)], []) == []


def test_medians_are_over_rounds_and_errors_add_up() -> None:
    rounds = [Point("a", 1, True, rps, 1.0, 2.0, 0.1, 9.0, 1) for rps in (1.0, 9.0, 2.0)]
    middle = gateway._median(rounds)
    assert (middle.rps, middle.errors, middle.system) == (2.0, 3, "a")


def test_the_table_says_which_targets_were_missed() -> None:
    points = [point("nothing", 1, 5000, 0.2), point("askdocs", 1, 2000, 0.8)]
    text = gateway.table(GatewayReport({}, points, [], targets(points, [])))
    assert "| askdocs | 1 | streamed | 2,000 | 0.80 | 1.60 | 0.100 | 100 |" in text
    assert "| added p50 in ms, streamed, 1 client | 0.60 | <= 0.5 | MISSED |" in text


@pytest.mark.parametrize("clients", ["", "0", "a", "1,-2", "99999999"])
def test_a_number_of_clients_that_is_none_is_refused(clients: str) -> None:
    with pytest.raises(AskdocsError, match="--clients"):
        bench._counts(clients)


def test_an_unknown_system_is_refused_before_anything_starts() -> None:
    with pytest.raises(AskdocsError, match="'nginx' is not a system; the systems are nothing, "):
        gateway.choose(["askdocs", "nginx"])


def test_a_system_that_does_not_start_is_named_with_its_words(tmp_path: Path) -> None:
    broken = systems.System("broken", "", lambda place: [sys.executable, "-c", "1/0"])
    with (
        pytest.raises(AskdocsError, match=r"broken ended while starting:(.|\n)*ZeroDivisionError"),
        systems.running(broken, "http://127.0.0.1:9/v1", HERE),
    ):
        pass


@pytest.mark.slow
@pytest.mark.alone
def test_one_run_measures_the_gateway_beside_the_others(tmp_path: Path) -> None:
    require(HERE.with_name("litellm").is_file(), "make setup")
    options = ["--seconds", "0.5", "--rounds", "1", "--clients", "1,4", "--json"]
    result = CliRunner().invoke(bench.app, ["gateway", *options, "--home", str(tmp_path)])
    assert result.exit_code == 0, result.output[-3000:] + repr(result.exception)
    report = json.loads(result.stdout)
    names = {point["system"] for point in report["points"]}
    assert names == {one.name for one in systems.SYSTEMS}
    assert len(report["points"]) == len(names) * 2 * 2
    assert [p for p in report["points"] if p["errors"]] == []
    # On a busy machine half a second can be too short for one of the points.
    answered = [p for p in report["points"] if p["rps"] > 0]
    assert {p["system"] for p in answered} == names
    assert all(p["cpu_s_per_1000"] > 0 for p in answered if p["system"] != "nothing")
    assert {p["streams"] for p in report["paced"]} == {200, 500}
    assert len(report["targets"]) == 5
