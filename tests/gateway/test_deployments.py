"""Deployments: what is wanted, served and stopped, and the fleet that follows."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from gateway.routing import deployments
from gateway.routing.deployments import Deployment
from gateway.routing.registry import Fleet
from gateway.settings import GatewaySettings

URL = "http://127.0.0.1:9/v1"  # nobody listens there


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    one = Fleet(GatewaySettings(engine_url=URL, engine_model="base"), {})
    yield one
    await one.close()


def state(stored: sa.Engine, name: str = "docs@v7") -> str | None:
    found = deployments.find(stored, name)
    return found and found.state


def at(name: str, url: str, state: deployments.State = "ready") -> Deployment:
    return Deployment(name, "", state, "", "gguf", url, name, datetime.now(UTC))


def test_a_version_is_wanted_ready_stopping_and_gone(stored: sa.Engine) -> None:
    deployments.want(stored, "docs@v7", "store")
    assert state(stored) == "wanted"
    deployments.tell(stored, "docs@v7", "starting")
    assert deployments.ready(stored, "docs@v7", "gguf", URL, "docs@v7")
    deployments.want(stored, "docs@v7", "store")  # twice is once
    found = deployments.find(stored, "docs@v7")
    assert found is not None
    assert (found.state, found.url, found.message, found.is_served) == ("ready", URL, "", True)
    assert not deployments.forget(stored, "docs@v7")  # it is not to be stopped
    assert deployments.stop(stored, "docs@v7")
    assert deployments.forget(stored, "docs@v7")
    assert deployments.every(stored) == []


def test_one_that_is_about_to_stop_goes_on_when_it_is_wanted_again(stored: sa.Engine) -> None:
    deployments.want(stored, "docs@v7", "store")
    deployments.ready(stored, "docs@v7", "gguf", URL, "docs@v7")
    deployments.stop(stored, "docs@v7")
    deployments.want(stored, "docs@v7", "store")
    assert state(stored) == "ready"
    assert not deployments.forget(stored, "docs@v7")


def test_what_is_no_longer_wanted_becomes_neither_ready_nor_failed(stored: sa.Engine) -> None:
    deployments.want(stored, "docs@v7", "store")
    deployments.stop(stored, "docs@v7")
    assert not deployments.ready(stored, "docs@v7", "gguf", URL, "docs@v7")
    assert not deployments.fail(stored, "docs@v7", "too large")
    assert state(stored) == "stopping"


def test_one_that_failed_is_tried_again(stored: sa.Engine) -> None:
    deployments.want(stored, "docs@v7", "store")
    deployments.fail(stored, "docs@v7", "too large")
    deployments.want(stored, "docs@v7", "store")
    assert state(stored) == "wanted"


def test_after_a_start_what_is_needed_is_wanted_and_the_rest_forgotten(stored: sa.Engine) -> None:
    for name in ("docs@v6", "docs@v7", "docs@v8"):
        deployments.want(stored, name, "store")
        deployments.ready(stored, name, "gguf", URL, name)
    deployments.stop(stored, "docs@v7")
    deployments.begin_again(stored, {"docs@v7", "docs@v8", "base"})
    found = deployments.every(stored)
    assert [(one.name, one.state, one.url) for one in found] == [
        ("docs@v7", "wanted", None),
        ("docs@v8", "wanted", None),
    ]


async def test_the_fleet_serves_what_is_ready_and_keeps_it_while_it_ends(fleet: Fleet) -> None:
    one = "http://127.0.0.1:11/v1"
    fleet.follow([at("docs@v7", one), at("docs@v8", one, "wanted")])
    served = fleet.get("docs@v7")
    assert served is not None
    assert served.engine is not None
    assert served.engine.url == one
    assert fleet.get("docs@v8") is None
    assert await fleet.names() == ["base", "docs@v7", "minilm", "local"]
    fleet.follow([at("docs@v7", one, "stopping")])
    assert fleet.get("docs@v7") is served
    assert await fleet.names() == ["base", "minilm", "local"]
    fleet.follow([])
    assert fleet.get("docs@v7") is None
    assert not served.engine._http.is_closed  # an answer may still be under way


async def test_one_that_moved_is_found_at_its_new_place(fleet: Fleet) -> None:
    fleet.follow([at("docs@v7", "http://127.0.0.1:11/v1")])
    fleet.follow([at("docs@v7", "http://127.0.0.1:12/v1/")])
    served = fleet.get("docs@v7")
    assert served is not None
    assert served.engine is not None
    assert served.engine.url == "http://127.0.0.1:12/v1"


async def test_an_adapter_shares_the_place_of_its_engine(fleet: Fleet) -> None:
    fleet.follow([at("docs@v7", URL)])
    served = fleet.get("docs@v7")
    assert served is not None
    assert served.client is fleet.base.client


async def test_the_settings_word_holds_over_the_table(fleet: Fleet) -> None:
    fleet.follow([at("base", "http://127.0.0.1:11/v1")])
    assert fleet.get("base") is fleet.base
