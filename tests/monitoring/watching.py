"""The real Prometheus, with the configuration that is shipped, before a running askdocs."""

import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import yaml

from core.tasks import Failures
from tests import starting
from tests.monitoring.test_alerts import CONFIG, RULES
from tests.parts import require
from tests.waiting import until
from tests.widget.conftest import Box

PATIENCE = 120.0  # seconds, on a machine that has much else to do
HTMX = {"hx-request": "true", "sec-fetch-site": "same-origin"}
WIKI = """# Coffee machine

The coffee machine stands in the kitchen on floor 3.

## How do I descale the coffee machine?

Press the blue button for 7 seconds and pour 40 ml of citric acid into the tank.
"""
ANSWERED = "How do I descale the coffee machine?"
REFUSED = "Who won the chess championship in 1972?"


@dataclass
class Prometheus:
    url: str

    def query(self, expr: str) -> list[float]:
        """The values of all series that it has now."""
        reply = httpx.get(f"{self.url}/api/v1/query", params={"query": expr}, timeout=30).json()
        assert reply["status"] == "success", (expr, reply)
        return [float(series["value"][1]) for series in reply["data"]["result"]]

    def shows(self, expr: str) -> None:
        """A panel would have a line or a number."""
        values = self.query(expr)
        assert values, expr
        assert not any(math.isnan(value) for value in values), (expr, values)

    def get(self, path: str, **parameters: str) -> Any:
        reply = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30)
        return reply.raise_for_status().json()["data"]


@contextmanager
def prometheus(folder: Path, targets: dict[str, str]) -> Iterator[Prometheus]:
    """With the shipped configuration, but for the targets' addresses, and asking every second."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(RULES.parent / Path(name).name) for name in config["rule_files"]]
    assert [job["job_name"] for job in config["scrape_configs"]] == list(targets)
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    with started(folder, config) as prometheus:
        yield prometheus


@contextmanager
def started(folder: Path, config: dict[str, Any]) -> Iterator[Prometheus]:
    binary = shutil.which("prometheus")
    require(bool(binary), "apt-get install prometheus")
    file, log = folder / "prometheus.yml", folder / "prometheus.log"
    file.write_text(yaml.safe_dump(config))
    argv = [
        str(binary),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
        # An alert that fired before the receiver was known is sent then, not a minute later.
        "--rules.alert.resend-delay=1s",
        # RUNBOOK_URL; compose.yaml's Prometheus expands it without being told.
        "--enable-feature=expand-external-labels",
    ]
    with listening(argv, log, "Server is ready") as address:
        yield Prometheus(f"http://{address}")


@contextmanager
def listening(argv: list[str], log: Path, ready: str = "") -> Iterator[str]:
    """The address that a program of Prometheus says to listen on, once it says that it is ready."""
    with log.open("w") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT)
    try:
        found: list[str] = []

        def listens() -> bool:
            assert process.poll() is None, log.read_text()
            found[:] = re.findall(r'"Listening on" address=(127\.0\.0\.1:\d+)', log.read_text())
            return bool(found) and ready in log.read_text()

        until(listens, PATIENCE)
        yield found[0]
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ask(box: Box, question: str) -> str:
    """Returns the question's id once its answer has ended."""
    response = box.post("asks", HTMX, question=question)
    assert response.status_code == 200, response.text
    id = str(re.findall(r"asks/([\w-]+)/events", response.text)[0])
    assert "event: done" in httpx.get(f"{box.url}/asks/{id}/events", timeout=PATIENCE).text
    return id


@contextmanager
def watching(
    folder: Path, engine: int, *, answers: Literal["quote", "write"] = "quote"
) -> Iterator[Prometheus]:
    """Of an askdocs that was asked, has refused, was voted down and has an engine that is away.

    `engine` is the port of the other one, which is asked for `docs` if it writes the answers.
    """
    docs = folder / "docs"
    docs.mkdir()
    (docs / "coffee.md").write_text(WIKI)
    (docs / "unread.md").write_bytes(b"# Caf\xe9\n")  # which an alert is about
    with (
        starting.gateway(
            folder,
            gateway_engine_url=f"http://127.0.0.1:{engine}/v1",
            gateway_docs=str(docs),
            gateway_answers=answers,
            gateway_max_tokens="32",
            gateway_models=json.dumps({"away": {"url": "http://127.0.0.1:1/v1"}}),
            gateway_aliases=json.dumps({"spare": {"targets": "away", "fallback": ["base"]}}),
        ) as gateway,
        starting.widget(folder, gateway.url, database_url=gateway.database) as url,
    ):
        targets = {
            "gateway": f"127.0.0.1:{gateway.port}",
            "widget": url.removeprefix("http://"),
            "engine": f"127.0.0.1:{engine}",
        }
        Failures(gateway.home, "up").started("wiki")  # as an `askdocs up` that shares the folder
        box = Box(url, None)  # type: ignore[arg-type]
        with prometheus(folder, targets) as running:
            until(lambda: running.query('sum(up{job=~".+"})') == [3], PATIENCE)
            # What begins at its first value has no rate: it is seen once, and then asked again.
            for round_ in range(1, 3):
                id = ask(box, ANSWERED)
                ask(box, REFUSED)
                spoken = httpx.post(
                    f"{gateway.url}/chat/completions",
                    headers={"authorization": f"Bearer {starting.KEY}"},
                    json={
                        "model": "spare",
                        "messages": [{"role": "user", "content": "Say a few words."}],
                        "max_tokens": 8,
                        "stream": True,
                    },
                    timeout=PATIENCE,
                )
                assert "[DONE]" in spoken.text
                counted = 3.0 * round_
                until(
                    lambda: running.query("sum(askdocs_gateway_answers_total)") == [counted],  # noqa: B023
                    PATIENCE,
                )
            assert box.post("votes", HTMX, ask=id, vote="down").status_code == 200
            until(
                lambda: running.query("sum(increase(askdocs_gateway_votes_total[1m])) > 0") != [],
                PATIENCE,
            )
            until(lambda: running.query("askdocs_gateway_process_task_failures_total"), PATIENCE)
            yield running
