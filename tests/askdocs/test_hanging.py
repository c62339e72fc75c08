"""The real llama.cpp, busy and stopped; and small programs that hang in other ways."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest

from askdocs.supervision import hanging
from askdocs.supervision.checks import free_port
from askdocs.supervision.supervisor import Running, Service
from gateway.upstream.engine import Engine
from gateway.upstream.engines import llamacpp
from tests import starting


@pytest.fixture(autouse=True)
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hanging, "LOOK", 0.5)
    monkeypatch.setattr(hanging, "PATIENCE", 0.5)
    monkeypatch.setattr(hanging, "STILL", 3.0)


async def verdict(url: str, pid: int, seconds: float) -> str:
    """Empty: nothing was wrong with it for so long."""
    with suppress(TimeoutError):
        return await asyncio.wait_for(hanging.hung(url, pid), seconds)
    return ""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[starting.Engine]:
    with starting.engine(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@asynccontextmanager
async def asking(engine: starting.Engine, count: int, words: int) -> AsyncIterator[None]:
    """So many requests wait for the engine meanwhile."""
    async with httpx.AsyncClient(timeout=300, trust_env=False) as http:

        async def ask(number: int) -> None:
            prompt = " ".join(str((number + 7919 * word) % 99_991) for word in range(words))
            body = {"prompt": prompt, "max_tokens": 8}
            await http.post(f"{engine.url}/completions", json=body)

        tasks = [asyncio.create_task(ask(number)) for number in range(count)]
        await asyncio.sleep(1)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.slow
async def test_an_engine_that_reads_a_long_prompt_does_not_hang(engine: starting.Engine) -> None:
    async with asking(engine, 1, 1200):
        assert engine.busy() == 1
        assert await verdict(engine.url, engine.process.pid, 6) == ""


@pytest.mark.slow
async def test_an_engine_with_so_many_requests_that_it_is_silent_does_not_hang(
    engine: starting.Engine,
) -> None:
    silent = False
    client = httpx.AsyncClient(timeout=hanging.PATIENCE, trust_env=False)
    async with asking(engine, 30, 300), client as http:
        watching = asyncio.create_task(verdict(engine.url, engine.process.pid, 7))
        while not watching.done():
            try:
                await http.get(f"{engine.url.removesuffix('/v1')}/health")
                await asyncio.sleep(0.5)
            except httpx.ReadTimeout:
                silent = True
        assert await watching == ""
    if not silent:
        pytest.skip("it answered all the time, as on a fast machine: this has proved nothing")


@pytest.mark.slow
async def test_a_stopped_engine_hangs_with_and_without_a_request_and_then_not_any_more(
    engine: starting.Engine,
) -> None:
    pid = engine.process.pid
    for requests in (0, 1):
        async with asking(engine, requests, 1200):
            engine.process.send_signal(signal.SIGSTOP)
            try:
                said = await verdict(engine.url, pid, 60)
            finally:
                engine.process.send_signal(signal.SIGCONT)
            assert said.startswith("no answer and no activity for ")
    assert await verdict(engine.url, pid, 5) == ""


ENGINE = """
import http.server, sys, threading, time

port, turns, spins, answers = int(sys.argv[1]), *map(int, sys.argv[2:])
done = 0

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global done
        if not answers:
            time.sleep(3600)
        done += turns
        self.send_response(200)
        self.end_headers()
        text = f"llamacpp:n_decode_total {done}\\nllamacpp:requests_processing 1\\n"
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
threading.Thread(target=server.serve_forever).start()
print("up", flush=True)
while spins:
    pass
"""


@contextmanager
def program(*, turns: bool, spins: bool, answers: bool) -> Iterator[tuple[str, int]]:
    """One that says it works on a request: its address and pid."""
    port = free_port()
    argv = [
        sys.executable,
        "-c",
        ENGINE,
        str(port),
        *(str(int(x)) for x in (turns, spins, answers)),
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "up\n"
            yield f"http://127.0.0.1:{port}/v1", process.pid
        finally:
            process.kill()


@pytest.mark.slow
async def test_one_that_answers_and_does_not_get_on_with_its_request_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Its answers are work, too, where they come so often and wait for a core.
    monkeypatch.setattr(hanging, "LEAST", 0.3)
    with program(turns=False, spins=False, answers=True) as (url, pid):
        assert (await verdict(url, pid, 60)).startswith("no answer and no activity for ")
    with program(turns=True, spins=False, answers=True) as (url, pid):
        assert await verdict(url, pid, 6) == ""


@pytest.mark.slow
async def test_one_that_spins_without_an_answer_is_given_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with program(turns=False, spins=True, answers=False) as (url, pid):
        assert await verdict(url, pid, 6) == ""
        monkeypatch.setattr(hanging, "SILENT", 4.0)
        assert (await verdict(url, pid, 60)).startswith("no answer for ")


@pytest.mark.slow
async def test_the_work_of_a_child_counts() -> None:
    spins = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", spins, start_new_session=True
    )
    try:
        nobody = f"http://127.0.0.1:{free_port()}/v1"
        assert await verdict(nobody, process.pid, 6) == ""
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


@pytest.mark.slow
async def test_an_engine_that_is_stopped_under_a_request_is_started_again_and_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `askdocs up` keeps it, with the times that it has there."""
    monkeypatch.undo()
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    launch = llamacpp.launch(
        starting.shipped(), port=port, served_name="base", context=2048, threads=2, parallel=2
    )
    client = Engine(url)
    said: list[str] = []
    service = Service(
        name="engine",
        argv=launch.argv,
        env=launch.env,
        log=tmp_path / "engine.log",
        ready=client.is_ready,
        timeout=180,
        hung=partial(hanging.hung, url),
    )
    running = Running(service, lambda _, text: said.append(text), lambda: None)
    try:
        await running.start()
        first = running.pid
        assert first is not None
        reading = asyncio.create_task(client.measure_prefill())
        await asyncio.sleep(1)
        os.kill(first, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(httpx.HTTPError):  # the connection ends when it is killed
            await reading
        found = time.monotonic() - began
        assert hanging.STILL - 1 < found < 60
        while not said or not said[-1].startswith("is up again after"):
            assert time.monotonic() - began < 90, said
            await asyncio.sleep(0.1)
        assert said[0].startswith("hangs (no answer and no activity for 1")
        assert said[0].endswith(" s): killed; starting it again")
        assert running.pid not in (None, first)
        assert (await client.read([{"role": "user", "content": "Hello"}])).tokens > 0
    finally:
        await client.close()
        await running.stop()
