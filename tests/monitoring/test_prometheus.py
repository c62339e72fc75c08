"""The real Prometheus, with the configuration that is shipped, before a running askdocs.

Every query of every dashboard returns data, and every alert is about metrics that are there.
"""

import json
import math
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests import starting
from tests.monitoring.dashboards import Query, metrics_of, queries
from tests.monitoring.test_alerts import CONFIG, RULES, alerts
from tests.parts import require
from tests.widget.conftest import Box

pytestmark = pytest.mark.slow

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

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.url}/api/v1/{path}", timeout=30).raise_for_status().json()["data"]


def until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


@contextmanager
def prometheus(folder: Path, targets: dict[str, str]) -> Iterator[Prometheus]:
    """With the shipped configuration, but for the targets' addresses, and asking every second."""
    binary = shutil.which("prometheus")
    require(bool(binary), "apt-get install prometheus")
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(RULES.parent / Path(name).name) for name in config["rule_files"]]
    assert [job["job_name"] for job in config["scrape_configs"]] == list(targets)
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    file, log = folder / "prometheus.yml", folder / "prometheus.log"
    file.write_text(yaml.safe_dump(config))
    argv = [
        str(binary),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
    ]
    with log.open("w") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT)
    try:
        found: list[str] = []

        def listens() -> bool:
            assert process.poll() is None, log.read_text()
            found[:] = re.findall(r'"Listening on" address=(127\.0\.0\.1:\d+)', log.read_text())
            return bool(found) and "Server is ready" in log.read_text()

        until(listens, "Prometheus does not listen")
        yield Prometheus(f"http://{found[0]}")
    finally:
        process.terminate()
        try:
            process.wait(15)
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


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Of an askdocs that was asked, has refused, was voted down and has an engine that is away."""
    folder = tmp_path_factory.mktemp("monitoring")
    docs = folder / "docs"
    docs.mkdir()
    (docs / "coffee.md").write_text(WIKI)
    with (
        starting.engine(folder) as engine,
        starting.gateway(
            folder,
            gateway_engine_url=engine.url,
            gateway_docs=str(docs),
            gateway_answers="quote",
            gateway_models=json.dumps({"away": {"url": "http://127.0.0.1:1/v1"}}),
            gateway_aliases=json.dumps({"spare": {"targets": "away", "fallback": ["base"]}}),
        ) as gateway,
        starting.widget(folder, gateway.url, database_url=gateway.database) as url,
    ):
        targets = {
            "gateway": f"127.0.0.1:{gateway.port}",
            "widget": url.removeprefix("http://"),
            "engine": f"127.0.0.1:{engine.port}",
        }
        box = Box(url, None)
        with prometheus(folder, targets) as running:
            until(lambda: running.query('sum(up{job=~".+"})') == [3], "not every target is up")
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
                    "the answers are not seen",
                )
            assert box.post("votes", HTMX, ask=id, vote="down").status_code == 200
            until(
                lambda: running.query("sum(increase(askdocs_gateway_votes_total[1m])) > 0") != [],
                "the vote is not seen",
            )
            yield running


@pytest.mark.parametrize("query", queries(), ids=lambda query: query.id)
def test_every_query_of_every_dashboard_returns_data(watching: Prometheus, query: Query) -> None:
    if query.is_of_vllm:
        pytest.skip("tests/monitoring/test_vllm.py asks vLLM")
    values = watching.query(query.expr)
    assert values, query.expr
    assert not any(math.isnan(value) for value in values), (query.expr, values)


def test_what_happened_is_what_the_metrics_say(watching: Prometheus) -> None:
    outcomes = 'sum by (outcome) (askdocs_gateway_answers_total{alias="docs", outcome="%s"})'
    assert watching.query(outcomes % "refused") == [2]
    assert watching.query("sum(askdocs_widget_questions_total)") == [4]
    assert watching.query('askdocs_widget_answers_total{outcome="refused"}') == [2]
    assert watching.query('askdocs_widget_votes_total{vote="down"}') == [1]
    assert watching.query('askdocs_gateway_engine_up{model="base"}') == [1]
    assert watching.query('askdocs_gateway_engine_up{model="away"}') == [0]
    (age,) = watching.query("time() - askdocs_gateway_index_synced_timestamp_seconds")
    assert 0 < age < 3600


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_is_about_metrics_that_are_there(
    watching: Prometheus, rule: dict[str, Any]
) -> None:
    watching.query(rule["expr"])
    for name in metrics_of(rule["expr"]):
        assert watching.query(name), name


def test_the_alerts_are_evaluated_and_one_engine_is_seen_to_be_away(watching: Prometheus) -> None:
    def told() -> dict[str, Any]:
        groups = watching.get("rules")["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}

    until(lambda: all(rule["health"] == "ok" for rule in told().values()), str(told()))
    assert set(told()) == {rule["alert"] for rule in alerts()}
    until(lambda: told()["AskdocsEngineDown"]["state"] in ("pending", "firing"), str(told()))
    (alert,) = told()["AskdocsEngineDown"]["alerts"]
    assert alert["labels"]["model"] == "away"
    assert told()["AskdocsDown"]["state"] == "inactive"
