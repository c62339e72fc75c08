"""A killed engine, a signal, a kill -9: what the person at the terminal and the clients see."""

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import openai
import psutil
import pytest

from askdocs.supervision.checks import free_port
from tests import starting
from tests.end_to_end.running import COMMAND, Askdocs, up
from tests.waiting import until

pytestmark = pytest.mark.slow


def quoting(home: Path, wiki: Path, model: Path) -> AbstractContextManager[Askdocs]:
    """Nobody reads what the model says."""
    return up(home, wiki, "--model", str(model), up_answers="quote", up_prefill="false")


def family(askdocs: Askdocs) -> list[psutil.Process]:
    return psutil.Process(askdocs.process.pid).children(recursive=True)


def all_gone(processes: list[psutil.Process], seconds: float) -> bool:
    """Whether none of them runs."""
    return not any(map(runs, psutil.wait_procs(processes, timeout=seconds)[1]))


def runs(process: psutil.Process) -> bool:
    """One that has ended may wait for init to take note of it."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def stops(askdocs: Askdocs, number: signal.Signals) -> None:
    """Everything ends within ten seconds of that signal, and says nothing odd."""
    children = family(askdocs)
    assert len(children) >= 4
    askdocs.process.send_signal(number)
    assert askdocs.process.wait(60) == 0
    assert all_gone(children, 0.5)
    assert "Traceback" not in askdocs.text()
    assert not (askdocs.home / "running.json").exists()


def test_an_engine_that_is_killed_and_one_that_hangs_are_503_and_then_back_until_ctrl_c(
    tmp_path: Path, wiki: Path, shallow: Path
) -> None:
    """One start for both: an engine that has died before must be found hanging, too."""
    with quoting(tmp_path / "home", wiki, shallow) as askdocs:
        before = askdocs.started
        url = before["parts"]["gateway"]["url"]
        headers = {"authorization": f"Bearer {before['key']}"}

        def ask(model: str, question: str, **more: object) -> httpx.Response:
            messages = [{"role": "user", "content": question}]
            body = {"model": model, "messages": messages, **more}
            return httpx.post(f"{url}/chat/completions", json=body, headers=headers, timeout=120)

        def retried() -> None:
            """The official client obeys Retry-After and succeeds without its user noticing."""
            with openai.OpenAI(base_url=url, api_key=before["key"], max_retries=5) as client:
                answer = client.chat.completions.create(
                    model="base",
                    messages=[{"role": "user", "content": "Hello"}],
                    max_tokens=8,
                    temperature=0,
                )
            assert answer.choices[0].message.content

        question = "How do I descale the coffee machine?"
        os.kill(before["parts"]["engine"]["pid"], signal.SIGKILL)
        reply = ask("base", question)
        assert reply.status_code == 503
        assert int(reply.headers["retry-after"]) > 0
        assert reply.json()["error"]["code"] == "engine_unavailable"
        # What is quoted needs no engine.
        assert "40 ml" in ask("docs", question).json()["choices"][0]["message"]["content"]
        retried()
        until(lambda: askdocs.text().count("is up again after") == 1, 90)
        assert "ended (signal SIGKILL); starting it again" in askdocs.text()
        after = askdocs.status()
        assert after["ready"] is True
        engine = psutil.Process(after["parts"]["engine"]["pid"])
        assert engine.pid != before["parts"]["engine"]["pid"]

        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask, "base", "Hello", max_tokens=400, ignore_eos=True)
            until(lambda: starting.busy(after["parts"]["engine"]["url"]), 60)
            engine.suspend()
            # 200: the gateway has asked the new engine again.
            assert asking.result().status_code in (200, 502, 503)
        until(lambda: askdocs.text().count("is up again after") == 2, 90)
        assert "hangs (no answer and no activity for 1" in askdocs.text()
        assert "hangs (no answer" in (askdocs.home / "logs" / "engine.log").read_text()
        assert not engine.is_running()
        retried()
        stops(askdocs, signal.SIGINT)


def test_a_kill_9_leaves_no_process_and_the_next_start_works_until_sigterm(
    tmp_path: Path, wiki: Path, shallow: Path
) -> None:
    home = tmp_path / "home"
    with quoting(home, wiki, shallow) as askdocs:
        children = family(askdocs)
        key = askdocs.status()["key"]
        askdocs.process.kill()
        assert all_gone(children, 15)
        assert askdocs.cli("status").returncode == 2
    with quoting(home, wiki, shallow) as again:
        assert again.status()["key"] == key
        done = again.cli("ask", "How do I descale the coffee machine?")
        assert "40 ml" in done.stdout
        stops(again, signal.SIGTERM)


def test_a_signal_during_the_start_stops_it(tmp_path: Path, wiki: Path) -> None:
    ports = [str(free_port()) for _ in range(3)]
    argv = [
        *(COMMAND, "up", "--docs", wiki, "--home", tmp_path / "home"),
        *("--gateway-port", ports[0], "--widget-port", ports[1], "--site-port", ports[2]),
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert any("starting llama.cpp" in line for line in process.stdout)
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert all_gone(children, 0.5)
