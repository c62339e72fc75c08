"""The dashboards' queries, as Grafana sends them."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"
# What Grafana puts in the place of its variables. A minute holds many scrapes of a second.
VARIABLES = {
    "$__rate_interval": "1m",
    "$__range": "10m",
    "$alias": ".*",
}


@dataclass(frozen=True)
class Query:
    """One of a panel."""

    dashboard: str
    panel: str
    number: str
    text: str

    @property
    def id(self) -> str:
        return f"{self.dashboard}: {self.panel} {self.number}"

    @cached_property
    def expr(self) -> str:
        text = self.text
        for name, value in VARIABLES.items():
            text = text.replace(name, value)
        assert "$" not in text, text
        return text

    @property
    def is_of_vllm(self) -> bool:
        """Does no other engine tell it?"""
        return all(name.startswith("vllm:") for name in metrics_of(self.text))


def boards() -> dict[str, dict[str, Any]]:
    """The dashboards by the names of their files."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.iterdir()}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that show something."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries() -> list[Query]:
    return [
        Query(name, panel["title"], target["refId"], target["expr"])
        for name, board in boards().items()
        for panel in panels(board)
        for target in panel["targets"]
    ]


def variables() -> list[str]:
    """The queries for what can be chosen above the panels."""
    return [v["query"]["query"] for board in boards().values() for v in board["templating"]["list"]]


def metrics_of(expr: str) -> list[str]:
    """The names of the metrics that an expression is about."""
    found = re.findall(r"\b(?:askdocs|vllm|llamacpp)[_:]\w+|\bup\b|\bALERTS\b", expr)
    return list(dict.fromkeys(found))
