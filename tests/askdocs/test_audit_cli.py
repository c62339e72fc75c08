"""`askdocs audit`: what people and scripts see of it, with what reviewers decided."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from askdocs.cli import app
from askdocs.state.home import Home
from core import database
from gateway.access.keys import Keys
from tests.askdocs import reviewed
from tests.training.versions import FACTS, trained
from training.versions.local import Folder
from training.versions.store import Store as Versions


@pytest.fixture(autouse=True)
def done(home: Home) -> None:
    """A key was made, a review approved, a version retired and cleaned away, in this order."""
    engine = database.open(f"sqlite:///{home.database}")
    database.migrate(engine)
    Keys(engine).create("ci")
    reviewed.approve(engine, "print.md")
    engine.dispose()
    Versions(Folder(home.root / "versions")).add("docs", trained(home.root / "run", "one"), FACTS)
    assert run(home, "models", "retire", "docs@v1", "--yes").exit_code == 0


def run(home: Home, *words: str) -> Any:
    return CliRunner().invoke(app, [*words, "--home", str(home.root)])


def test_the_log_has_every_act_in_its_order(home: Home) -> None:
    lines = json.loads(run(home, "audit", "--json").stdout)
    assert [(one["action"], one["target"]) for one in lines] == [
        ("key.create", "ci"),
        ("review.approve", "/review/1"),
        ("version.retire", "docs@v1"),
    ]
    assert lines[1]["who"] == "wendy@example.com"
    assert lines[2]["details"]["removed"] == ["docs@v1"]
    assert [datetime.fromisoformat(one["at"]).tzinfo for one in lines] == [UTC] * 3
    shown = run(home, "audit").stdout.splitlines()
    assert shown[0].split() == ["at", "who", "action", "what", "details"]
    assert "wendy@example.com  review.approve" in shown[2]


def test_the_log_can_be_narrowed(home: Home) -> None:
    lines = json.loads(run(home, "audit", "--action", "version", "--json").stdout)
    assert [one["action"] for one in lines] == ["version.retire"]
    later = run(home, "audit", "--since", "2999-01-01")
    assert later.stdout == "no actions since 2999-01-01\n"
