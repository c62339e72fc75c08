"""The dashboards: complete, readable, and about metrics that exist."""

from typing import Any

import pytest
import yaml

from tests.monitoring.dashboards import FOLDER, boards, metrics_of, panels, queries

PROVISIONING = FOLDER.parent / "provisioning"
SOURCE = PROVISIONING / "datasources" / "prometheus.yml"

every_board = pytest.mark.parametrize("board", boards().values(), ids=boards().keys())


def overlap(a: dict[str, int], b: dict[str, int]) -> bool:
    return (
        a["x"] < b["x"] + b["w"]
        and b["x"] < a["x"] + a["w"]
        and a["y"] < b["y"] + b["h"]
        and b["y"] < a["y"] + a["h"]
    )


@every_board
def test_a_dashboard_is_what_grafana_reads(board: dict[str, Any]) -> None:
    assert board["uid"].startswith("askdocs-")
    assert len(board["uid"]) <= 40
    assert board["schemaVersion"] >= 36  # the first one with data sources by uid
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    assert "id" not in board  # that of another Grafana
    (source,) = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))["datasources"]
    wanted = {"type": source["type"], "uid": source["uid"]}
    for panel in panels(board):
        assert panel["datasource"] == wanted
        assert panel["targets"], panel["title"]
        assert all(target["datasource"] == wanted for target in panel["targets"])
        letters = [target["refId"] for target in panel["targets"]]
        assert len(letters) == len(set(letters))
    for name in board["templating"]["list"]:
        assert name["datasource"] == wanted


@every_board
def test_a_dashboard_is_small_and_says_what_its_panels_show(board: dict[str, Any]) -> None:
    assert len(panels(board)) <= 20
    assert board["description"]
    titles = [panel["title"] for panel in board["panels"]]
    assert len(titles) == len(set(titles))
    for panel in panels(board):
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert not [(a, b) for n, a in enumerate(places) for b in places[n + 1 :] if overlap(a, b)]


def test_dashboards_have_names_of_their_own() -> None:
    for key in ("uid", "title"):
        assert len({board[key] for board in boards().values()}) == len(boards()) == 2


def test_each_query_is_about_a_metric_and_says_what_its_lines_are() -> None:
    for query in queries():
        assert metrics_of(query.expr), query.id
    for board in boards().values():
        for panel in panels(board):
            assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]


def test_counts_of_a_short_time_hold_several_scrapes() -> None:
    # `$__interval` of an hour is 15 s, and one scrape has no increase: the panel would be empty
    # when it is needed. A point is a minute at least, or each event would be in four of them.
    for query in queries():
        assert "$__interval" not in query.text, query.id
    for board in boards().values():
        for panel in panels(board):
            if any("increase(" in t["expr"] and "$__rate" in t["expr"] for t in panel["targets"]):
                assert panel["interval"] == "1m", panel["title"]


def test_grafana_finds_the_folder_that_compose_mounts() -> None:
    (file,) = (PROVISIONING / "dashboards").iterdir()
    (provider,) = yaml.safe_load(file.read_text(encoding="utf-8"))["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
