"""The configuration for Kubernetes, by the real Prometheus, before a stand-in for the API."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.docs.test_kubernetes import (
    BASE,
    ENGINE,
    GATEWAY,
    MONITORING,
    ROUTER,
    SYNC,
    WIDGET,
    of,
    reaches,
    read,
    template,
)
from tests.docs.test_kubernetes import Pod as Who
from tests.monitoring.test_alerts import CONFIG, KUBERNETES
from tests.monitoring.watching import PATIENCE, started
from tests.waiting import until

JOBS: dict[str, Any] = {job["job_name"]: job for job in read(KUBERNETES)["scrape_configs"]}
PODS = {"gateway": GATEWAY, "widget": WIDGET, "engine": ENGINE}
# What the chart's templates give the container of vLLM.
VLLM = {"name": "vllm", "ports": [{"containerPort": port} for port in (8000, 55555, 9999)]}


def pod(name: str, who: Who, spec: Any, phase: str = "Running") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": who.namespace, "labels": who.labels, "uid": name},
        "spec": spec,
        "status": {"phase": phase, "podIP": "127.0.0.1", "hostIP": "127.0.0.1"},
    }


def pods() -> list[dict[str, Any]]:
    gateway, widget, sync = (template(name)["spec"] for name in ("gateway", "widget", "sync"))
    vllm = {"containers": [VLLM]}
    return [
        pod("gateway-1", GATEWAY, gateway),
        pod("gateway-2", GATEWAY, gateway),
        pod("gateway-evicted", GATEWAY, gateway, "Failed"),
        pod("widget-1", WIDGET, widget),
        pod("sync-1", SYNC, sync, "Succeeded"),
        pod("engine-1", ENGINE, vllm),
        pod("router-1", ROUTER, vllm),
    ]


@contextmanager
def api() -> Iterator[str]:
    """Lists pods of a namespace by labels; nothing changes for those who watch."""
    ended = Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            asked = parse_qs(url.query)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            if "watch" in asked:
                self.wfile.flush()
                ended.wait()
                return
            key, _, value = asked["labelSelector"][0].partition("=")
            found = [
                one
                for one in pods()
                if url.path == f"/api/v1/namespaces/{one['metadata']['namespace']}/pods"
                and one["metadata"]["labels"].get(key) == value
            ]
            told = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}}
            self.wfile.write(json.dumps({**told, "items": found}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            ended.set()
            server.shutdown()


@pytest.mark.slow
def test_each_pod_that_runs_is_asked_once_at_its_port(tmp_path: Path) -> None:
    config = read(KUBERNETES)
    config["rule_files"] = []
    with api() as url:
        for job in config["scrape_configs"]:
            job["kubernetes_sd_configs"][0]["api_server"] = url
        wanted = {
            ("gateway", "gateway-1", "http://127.0.0.1:4000/metrics"),
            ("gateway", "gateway-2", "http://127.0.0.1:4000/metrics"),
            ("widget", "widget-1", "http://127.0.0.1:8080/metrics"),
            ("engine", "engine-1", "http://127.0.0.1:8000/metrics"),
        }
        with started(tmp_path, config) as prometheus:
            found: list[tuple[str, str, str]] = []

            def complete() -> bool:
                found[:] = [
                    (one["labels"]["job"], one["labels"]["instance"], one["scrapeUrl"])
                    for one in prometheus.get("targets", state="active")["activeTargets"]
                ]
                return {job for job, _, _ in found} == JOBS.keys()

            until(complete, PATIENCE)
            assert sorted(found) == sorted(wanted)


def test_it_is_as_the_configuration_of_compose_but_for_where_it_looks() -> None:
    theirs, ours = read(CONFIG), read(KUBERNETES)
    assert [job["job_name"] for job in theirs.pop("scrape_configs")] == list(JOBS)
    ours.pop("scrape_configs")
    assert ours == theirs


@pytest.mark.parametrize("name", PODS)
def test_prometheus_may_list_the_pods_and_reach_them(name: str) -> None:
    (found,) = JOBS[name]["kubernetes_sd_configs"]
    (namespace,) = found["namespaces"]["names"]
    assert namespace == PODS[name].namespace
    folder = {"askdocs": BASE, "vllm": BASE / "engines"}[namespace]
    (binding,) = of("RoleBinding", folder=folder)
    (role,) = of("Role", binding["roleRef"]["name"], folder)
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    ]
    assert [one["namespace"] for one in binding["subjects"]] == [MONITORING.namespace]
    port = {"gateway": 4000, "widget": 8080, "engine": 8000}[name]
    assert reaches(MONITORING, PODS[name], port)
