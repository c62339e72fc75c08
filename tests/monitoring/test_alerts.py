"""The configuration of Prometheus and the alerts, by Prometheus' own tools."""

import re
import shutil
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from tests.headings import sections
from tests.parts import require
from tests.runbook import RUNBOOK

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "deploy" / "prometheus" / "prometheus.yml"
KUBERNETES = CONFIG.with_name("prometheus-kubernetes.yml")
RULES = ROOT / "deploy" / "prometheus" / "rules" / "askdocs.yml"
# The runbook's address is the setting RUNBOOK_URL, or else its path in the repository.
ADDRESS = '{{ or $externalLabels.runbook "docs/how-to/runbook.md" }}'
CASES = [Path(__file__).with_name(name) for name in ("alerts.yml", "alerts_days.yml")]


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def anchor(name: str) -> str:
    """The heading in the runbook that says what to do: `askdocsenginedown`."""
    return name.lower()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", CONFIG, KUBERNETES],
        ["check", "rules", "--lint=all", "--lint-fatal", RULES],
        ["test", "rules", *CASES],
    ],
    ids=lambda arguments: " ".join(map(str, arguments[:2])),
)
def test_promtool_agrees(arguments: list[str | Path]) -> None:
    promtool = shutil.which("promtool")
    require(bool(promtool), "apt-get install prometheus")
    done = subprocess.run([str(promtool), *arguments], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_seen_to_fire_and_not_to_fire() -> None:
    fires, silent = set(), set()
    cases = [yaml.safe_load(file.read_text(encoding="utf-8"))["tests"] for file in CASES]
    for case in chain.from_iterable(cases):
        for look in case["alert_rule_test"]:
            assert look["alertname"] == case["name"]
            (fires if look["exp_alerts"] else silent).add(look["alertname"])
    assert fires == silent == {rule["alert"] for rule in alerts()}


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_each_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    told = rule["annotations"]
    assert set(told) == {"summary", "description", "runbook_url"}
    page = RUNBOOK
    assert told["runbook_url"] == f"{ADDRESS}#{anchor(rule['alert'])}"
    assert rule["for"]
    assert anchor(rule["alert"]) in sections(page)


@pytest.mark.parametrize("file", sorted(CONFIG.parent.glob("*.yml")), ids=lambda file: file.stem)
def test_prometheus_knows_where_people_read_the_runbook_and_labels_no_alert_with_it(
    file: Path,
) -> None:
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert config["global"]["external_labels"] == {"runbook": "${RUNBOOK_URL}"}
    dropped = config["alerting"]["alert_relabel_configs"]
    assert dropped == [{"action": "labeldrop", "regex": "runbook"}]
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    assert services["prometheus"]["environment"] == {"RUNBOOK_URL": "${RUNBOOK_URL:-}"}
    assert dotenv_values(ROOT / ".env.example")["RUNBOOK_URL"] == ""


def test_metrics_are_kept_for_as_long_as_the_alerts_look_back() -> None:
    windows = [
        int(window) + int(before or 0)
        for rule in alerts()
        for window, before in re.findall(r"\[(\d+)d\](?: offset (\d+)d)?", rule["expr"])
    ]
    days, example = max(windows), ROOT / ".env.example"
    assert int(dotenv_values(example)["METRICS_DAYS"] or 0) >= days
    for said in (example, ROOT / "docs" / "tutorials/compose.md", RUNBOOK):
        assert f"at least {days}" in said.read_text(encoding="utf-8")
