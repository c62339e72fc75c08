import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from tests.starting import is_behind_the_edge, refuses_other_hosts
from tests.widget.conftest import Box
from tests.widget.stand_in import Reply, StandIn, answer, serve
from tests.widget.test_app import ask, events


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.slow
def test_a_stop_signal_ends_open_streams() -> None:
    gateway = StandIn(Reply(chunks=answer("More. " * 1000), pause=0.2))  # for minutes
    port = free_port()
    with serve(gateway.app) as url:
        env = os.environ | {
            "ASKDOCS_WIDGET_PORT": str(port),
            "ASKDOCS_WIDGET_GATEWAY_URL": f"{url}/v1",
        }
        process = subprocess.Popen([sys.executable, "-m", "widget"], env=env)
        try:
            box = Box(f"http://127.0.0.1:{port}", gateway)
            for _ in range(1200):
                try:
                    httpx.get(f"{box.url}/health")
                    break
                except httpx.ConnectError:
                    time.sleep(0.05)
            assert is_behind_the_edge(port)
            assert refuses_other_hosts(port, "/box", "hosts of [widget]")
            stream = events(box, ask(box))
            assert next(stream)[0] == "answer"
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert any(name == "failed" and "restarted" in html for name, html in stream)
            process.wait(60)
            assert time.monotonic() - began < 60
            assert gateway.left.wait(30)
        finally:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_wrong_setting_is_one_line() -> None:
    env = os.environ | {"ASKDOCS_WIDGET_ORIGINS": "wiki.example.com/"}
    run = subprocess.run([sys.executable, "-m", "widget"], env=env, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.startswith("error: ASKDOCS_WIDGET_ORIGINS: ")
    assert len(run.stderr.splitlines()) == 1
