"""The real Prometheus before a running askdocs with llama.cpp; test_vllm.py has it with vLLM.

Every query of every dashboard returns data, and every alert is about metrics that are there.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests import starting
from tests.monitoring.dashboards import Query, metrics_of, queries, variables
from tests.monitoring.test_alerts import alerts
from tests.monitoring.watching import PATIENCE, Prometheus, watching
from tests.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("monitoring")
    with starting.engine(folder) as engine, watching(folder, engine.port) as prometheus:
        yield prometheus


@pytest.mark.parametrize(
    "query", [query for query in queries() if not query.is_of_vllm], ids=lambda query: query.id
)
def test_every_query_of_every_dashboard_returns_data(running: Prometheus, query: Query) -> None:
    running.shows(query.expr)


@pytest.mark.parametrize("text", variables())
def test_what_can_be_chosen_in_a_dashboard_is_every_alias(running: Prometheus, text: str) -> None:
    found = re.fullmatch(r"label_values\((\w+), (\w+)\)", text)
    assert found, text
    metric, label = found.groups()
    # As Grafana asks for it.
    assert running.get(f"label/{label}/values", **{"match[]": metric}) == ["docs", "spare"]


def test_what_happened_is_what_the_metrics_say(running: Prometheus) -> None:
    outcomes = 'sum by (outcome) (askdocs_gateway_answers_total{alias="docs", outcome="%s"})'
    assert running.query(outcomes % "refused") == [2]
    assert running.query("sum(askdocs_widget_questions_total)") == [4]
    assert running.query('askdocs_widget_answers_total{outcome="refused"}') == [2]
    assert running.query('askdocs_widget_votes_total{vote="down"}') == [1]
    assert running.query('askdocs_gateway_engine_up{model="base"}') == [1]
    assert running.query('askdocs_gateway_engine_up{model="away"}') == [0]
    (age,) = running.query("time() - askdocs_gateway_index_synced_timestamp_seconds")
    assert 0 < age < 3600


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_is_about_metrics_that_are_there(
    running: Prometheus, rule: dict[str, Any]
) -> None:
    running.query(rule["expr"])
    for name in metrics_of(rule["expr"]):
        assert running.query(name), name


def test_the_alerts_are_evaluated_and_one_engine_is_seen_to_be_away(running: Prometheus) -> None:
    def told() -> dict[str, Any]:
        groups = running.get("rules")["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}

    until(lambda: all(rule["health"] == "ok" for rule in told().values()), PATIENCE)
    assert set(told()) == {rule["alert"] for rule in alerts()}
    until(lambda: told()["AskdocsEngineDown"]["state"] in ("pending", "firing"), PATIENCE)
    (alert,) = told()["AskdocsEngineDown"]["alerts"]
    assert alert["labels"]["model"] == "away"
    assert told()["AskdocsDown"]["state"] == "inactive"
