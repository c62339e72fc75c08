"""deploy/retrain.sh with a scripted askdocs and an Alertmanager: it stops before promotion."""

import json
import os
import subprocess
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.speaking import Handler, serving

SCRIPT = Path(__file__).parents[2] / "deploy" / "retrain.sh"
ASKDOCS = """#!/bin/sh
echo "$*" >>"$CALLS"
case "$1 $2" in
"$FAILS") exit 2 ;;
"dataset pull") for row in $(seq "$ROWS"); do echo '{"question": "q"}'; done >"$4" ;;
"train --recipe") printf '{\\n  "version": "docs@v2",\\n  "new": true\\n}\\n' ;;
"eval run") printf '{\\n  "run": "/runs/a",\\n  "systems": {}\\n}\\n' ;;
"eval gate") exit "$GATE" ;;
esac
"""


class _Handler(Handler):
    server: "Alertmanager"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.alerts += [(self.path, alert) for alert in json.loads(body)]
        self.json(200, {})


class Alertmanager(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.alerts: list[tuple[str, dict[str, Any]]] = []


@pytest.fixture
def alertmanager() -> Iterator[Alertmanager]:
    with serving(Alertmanager()) as server:
        yield server


def retrain(
    place: Path, alertmanager: Alertmanager, rows: int = 60, gate: int = 0, fails: str = "none"
) -> tuple[int, list[str]]:
    """Exit code, and the commands that were run."""
    command, calls = place / "askdocs", place / "calls"
    command.write_text(ASKDOCS)
    command.chmod(0o755)
    calls.write_text("")
    environment = {
        **os.environ,
        "ASKDOCS": str(command),
        "CALLS": str(calls),
        "ROWS": str(rows),
        "GATE": str(gate),
        "FAILS": fails,
        "RETRAIN_DOCS": "wiki",
        "RETRAIN_RECIPE": "mine.toml",
        "RETRAIN_QUESTIONS": "evaluation.jsonl",
        "RETRAIN_WORK": str(place / "work"),
        "RETRAIN_ALERTS": f"http://127.0.0.1:{alertmanager.server_port}",
    }
    done = subprocess.run(["sh", SCRIPT], env=environment, cwd=place, capture_output=True)
    return done.returncode, [" ".join(c.split()[:2]) for c in calls.read_text().splitlines()]


STEPS = [
    "dataset pull",
    "dataset check",
    "dataset build",
    "train --recipe",
    "eval run",
    "eval gate",
]


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        (0, "docs@v2 may be promoted: askdocs models promote docs@v2"),
        (3, "docs@v2 may be a canary: askdocs models promote docs@v2 --weight 10"),
        (1, "The release gate stopped docs@v2: askdocs eval gate /runs/a tells why"),
    ],
)
def test_a_version_waits_for_a_person(
    tmp_path: Path, alertmanager: Alertmanager, gate: int, said: str
) -> None:
    assert retrain(tmp_path, alertmanager, gate=gate) == (0, STEPS)
    ((path, alert),) = alertmanager.alerts
    assert path == "/api/v2/alerts"
    assert alert["labels"] == {"alertname": "AskdocsVersionWaits", "severity": "info"}
    assert alert["annotations"] == {"summary": said}
    assert retrain(tmp_path, alertmanager, rows=80) == (0, STEPS[:1]), "only 20 are new"
    assert retrain(tmp_path, alertmanager, rows=110)[1] == STEPS


@pytest.mark.parametrize("step", STEPS)
def test_a_failed_step_is_told_and_its_rows_are_used_next_time(
    tmp_path: Path, alertmanager: Alertmanager, step: str
) -> None:
    code, calls = retrain(tmp_path, alertmanager, fails=step)
    assert code != 0
    assert calls == STEPS[: STEPS.index(step) + 1]
    ((_, alert),) = alertmanager.alerts
    assert alert["labels"]["alertname"] == "AskdocsRetrainFailed"
    if step != "eval gate":
        assert retrain(tmp_path, alertmanager) == (0, STEPS)
