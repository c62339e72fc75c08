"""The widget with its review, against its description; only the gateway is a stand-in."""

import copy
from pathlib import Path
from typing import Any

import httpx
import pytest

from core import database
from tests.review.conftest import ask
from tests.security import widget_description
from tests.security.fuzzing import PATIENCE, fuzz, tool
from tests.widget.stand_in import Reply, StandIn, answer, serve
from widget.app import create_app
from widget.review.access import COOKIE, key
from widget.review.clusters import Sorter
from widget.service.store import Store
from widget.settings import WidgetSettings

# What a browser is told in words, as a page, is not refused by a status of its own; and Starlette
# names in `Allow` the methods of one of a path's routes.
LEFT_OUT = ("negative_data_rejection", "allow_header_conformance")


@pytest.fixture
def settings(tmp_path: Path) -> WidgetSettings:
    url = f"sqlite:///{tmp_path}/askdocs.db"
    return WidgetSettings(gateway_key="ask-test", database_url=url, asks_per_minute=10_000)


def narrowed(description: dict[str, Any], token: str, id: str, reviewed: str) -> dict[str, Any]:
    """The description with a token that is right, a page that is ours, and ids that are there."""
    narrow = copy.deepcopy(description)
    there = {"id": id, "cluster": 1, "name": "box.css"}
    for path, item in narrow["paths"].items():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] in there:
                    parameter["schema"] = {"enum": [there[parameter["name"]]]}
            form = operation.get("requestBody", {}).get("content", {}).get(widget_description.FORM)
            if form and path != "/token":
                fields = form["schema"]["properties"]
                fields |= {"token": {"const": token}} if "token" in fields else {}
                fields |= {"ask": {"const": id}} if "ask" in fields else {}
                if path.endswith("/apart"):
                    fields["question"] = {"const": reviewed}
                if path.endswith("/words"):
                    fields |= {"word": {"enum": ["kill", ""]}, "other": {"enum": ["stop", "\0"]}}
                    fields["action"] = {"enum": ["add", "remove"]}
                    form["schema"]["required"] = ["word", "other", "action"]
                if "question" in fields and "token" in fields:
                    fields["page"] = {"const": ""}
                    form["schema"]["required"] = ["question", "token"]
    return narrow


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE)
def test_no_request_is_answered_by_a_fault_or_otherwise_than_described(
    settings: WidgetSettings, tmp_path: Path
) -> None:
    tool("schemathesis")
    assert settings.database_url
    engine = database.open(settings.database_url.get_secret_value())
    database.migrate(engine)
    id = ask(Store(engine), "How do I print?", state="answered", answer="Press the button.")
    reviewed = ask(Store(engine), "Where is the printer?")
    Sorter(engine).sort()
    engine.dispose()
    gateway = StandIn(Reply(chunks=answer("It stands in the kitchen.")))
    with serve(gateway.app) as upstream:
        app = create_app(settings.model_copy(update={"gateway_url": f"{upstream}/v1"}))
        with serve(app) as url, httpx.Client(base_url=url) as reader:
            description = widget_description.describe(app)
            token = reader.post("/token", data={"page": ""}).json()["token"]
            reader.get("/review", params={"key": key(settings)})
            cookie = f"{COOKIE}={reader.cookies[COOKIE]}"

            asked = fuzz(
                tmp_path,
                narrowed(description, token, id, reviewed),
                url,
                {"Cookie": cookie},
                left_out=LEFT_OUT,
            )

            assert reader.get("/health").status_code == 200
    operations = {
        f"{method.upper()} {path}" for path, item in description["paths"].items() for method in item
    }
    assert set(asked.statuses) == operations
    # It got through to what answers, and not only to what refuses. What was shared is made up.
    refused = {"GET /shared/{token}", "POST /asks/{id}/handoff"}
    refused |= {"POST /review", "POST /review/{cluster}"}  # nobody guesses the key
    refused |= {"GET /review/{cluster}/why"}  # nor a question of the cluster
    assert asked.with_status(200, 204, 303) >= operations - refused
    assert gateway.requests


def test_every_route_is_described(settings: WidgetSettings) -> None:
    described = widget_description.describe(create_app(settings))
    found = {(method, path) for path, item in described["paths"].items() for method in item}
    assert found == widget_description.ROUTES.keys()
