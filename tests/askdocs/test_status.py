import json
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from askdocs import cli
from askdocs.state.home import Home, write_json
from askdocs.supervision import status
from askdocs.supervision.settings import UpSettings
from askdocs.supervision.up import Up
from core.errors import AskdocsError
from core.tasks import failures_in
from tests.askdocs.conftest import RunHere
from tests.waiting import async_until
from tests.widget.stand_in import serve
from wiki.index.index import writing
from wiki.sources.spec import Spec
from wiki.sources.sync import sync


class Parts:
    """All parts at one address; those in `down` answer 503, and say `missing`."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.missing = ""
        paths = ["/ready", "/health", "/widget/health", "/site/", "/engine/v1/models"]
        self.app = Starlette(routes=[Route(path, self.answer) for path in paths])

    async def answer(self, request: Request) -> Response:
        """200, or 503."""
        path = request.url.path
        return PlainTextResponse(self.missing, 503 if path in self.down else 200)


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def running(home: Home, parts: Parts) -> Iterator[status.Running]:
    """An `up` that runs, as far as its home knows."""
    with home.lock(), serve(parts.app) as url:
        state = status.Running(
            pid=os.getpid(),
            started="2026-01-01T00:00:00+00:00",
            gateway=f"{url}/v1",
            widget=f"{url}/widget",
            site=f"{url}/site/",
            engine="llama.cpp",
            engine_url=f"{url}/engine/v1",
            model="SmolLM2-135M-Instruct",
            docs="docs",
            page_budget=900,
            processes={"gateway": 11, "widget": 12, "site": None, "engine": 14},
            ready=True,
            versions="gguf",
        )
        state.save(home)
        home.key()
        yield state


def test_what_was_saved_is_read(home: Home, running: status.Running) -> None:
    assert status.read(home) == running


def test_nothing_running_is_an_error_that_names_the_command(home: Home) -> None:
    with pytest.raises(AskdocsError, match=r"does not run in .*`askdocs up`.*--home DIR"):
        status.read(home)


def test_what_a_killed_up_left_is_nothing_running(home: Home) -> None:
    write_json(home.running, {"pid": 1})
    with pytest.raises(AskdocsError, match="does not run"):
        status.read(home)


def test_one_that_is_starting_is_not_told_to_be_started(home: Home) -> None:
    with home.lock(), pytest.raises(AskdocsError, match=r"is starting in .*: wait until"):
        status.read(home)


def test_everything_that_answers_is_healthy(home: Home, running: status.Running) -> None:
    found = status.health(home)
    assert found["ready"]
    assert {name: part["healthy"] for name, part in found["parts"].items()} == {
        "gateway": True,
        "widget": True,
        "site": True,
        "engine": True,
    }
    assert found["parts"]["gateway"]["pid"] == 11
    assert found["parts"]["gateway"]["log"] == str(home.logs / "gateway.log")
    assert "key" not in found


async def test_work_of_up_that_fails_is_named(
    home: Home, running: status.Running, here: RunHere
) -> None:
    async def fails() -> None:
        raise ValueError("no such folder")

    up = Up(UpSettings(), home, lambda name, text: None)
    up._state = running
    up._tasks.start("wiki", fails)
    await async_until(lambda: status.read(home).degraded == ["wiki"])
    await up._tasks.close()
    # For the gateway's /ready and /metrics.
    assert [(one.process, one.task, one.is_recent) for one in failures_in(home.root)] == [
        ("up", "wiki", True)
    ]
    assert "failing wiki: restarts by itself" in here("status", "--home", str(home.root)).stdout


@pytest.mark.slow
def test_status_tells_wiki_pages_and_the_last_sync(
    home: Home, running: status.Running, wiki: Path, here: RunHere
) -> None:
    assert status.health(home)["index"] is None
    spec = Spec.named(str(wiki), site_url="https://wiki.example.com/")
    sync(spec.open(), partial(writing, home.index), spec=spec.stored)
    found = status.health(home)["index"]
    assert found["pages"] == 2
    assert [one["name"] for one in found["sources"]] == [str(wiki)]
    shown = here("status", "--home", str(home.root)).stdout
    assert "index     2 pages of 1 wiki, last sync 20" in shown


def test_a_site_on_the_web_is_not_ours_to_look_after(home: Home, running: status.Running) -> None:
    elsewhere = replace(running, site="https://wiki.example.com/", processes={"gateway": 11})
    elsewhere.save(home)
    assert "site" not in status.health(home)["parts"]


def test_a_part_that_is_down_makes_the_whole_not_ready(
    home: Home, parts: Parts, running: status.Running
) -> None:
    parts.down = {"/ready"}  # the gateway, of its engine
    found = status.health(home)
    assert not found["ready"]
    assert not found["parts"]["engine"]["healthy"]
    assert found["parts"]["gateway"]["healthy"]


def test_an_engine_is_not_down_because_the_gateway_is(
    home: Home, parts: Parts, running: status.Running
) -> None:
    parts.down = {"/ready", "/health"}
    found = status.health(home)
    assert not found["ready"]
    assert {name for name, part in found["parts"].items() if not part["healthy"]} == {"gateway"}
    parts.down |= {"/engine/v1/models"}
    assert not status.health(home)["parts"]["engine"]["healthy"]


@pytest.mark.slow
def test_an_engine_is_not_down_because_the_database_is(
    home: Home, parts: Parts, running: status.Running, here: RunHere
) -> None:
    parts.down, parts.missing = {"/ready"}, '{"status": "waiting", "for": "database"}'
    found = status.health(home)
    assert not found["ready"]
    assert all(part["healthy"] for part in found["parts"].values())
    shown = here("status", "--home", str(home.root)).stdout
    assert "down  database" in shown


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [False, True])
def test_a_database_that_is_away_is_down_and_the_rest_is_reported(
    home: Home, running: status.Running, parts: Parts, here: RunHere, damaged: bool
) -> None:
    if damaged:
        home.database.write_bytes(b"SQLite format 3\0" + b"\xff" * 8176)
    else:
        home.database.mkdir()
    parts.down, parts.missing = {"/ready"}, '{"status": "waiting", "for": "database"}'
    done = here("status", "--home", str(home.root))
    assert done.returncode == 0, done.stderr
    assert f"down  database  see {home.logs}/gateway.log" in done.stdout
    assert f"ok    gateway  {running.gateway}" in done.stdout
    told = json.loads(here("status", "--json", "--home", str(home.root)).stdout)
    assert (told["running"], told["ready"], told["missing"]) == (True, False, "database")


def test_a_proxy_of_the_environment_is_not_asked(
    home: Home, running: status.Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert status.health(home)["ready"]


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_what_either_name_leaves_out_of_the_proxy_is_left_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs read the first of both names that is set, and neither may hide the other."""
    for other in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "wiki.example.com")
    cli._leave_proxies_out()
    for listed in (os.environ["no_proxy"], os.environ["NO_PROXY"]):
        assert listed.split(",") == ["wiki.example.com", "127.0.0.1", "localhost", "::1"]


@pytest.mark.slow
def test_the_command_prints_addresses_and_secrets_only_when_asked(
    home: Home, running: status.Running, here: RunHere
) -> None:
    shown = here("status", "--home", str(home.root))
    assert shown.returncode == 0
    for text in (running.gateway, running.widget, running.site, "process 11"):
        assert text in shown.stdout
    assert home.key() not in shown.stdout
    assert "/review" not in shown.stdout
    as_json = json.loads(here("status", "--json", "--home", str(home.root)).stdout)
    assert not {"key", "review"} & as_json.keys()
    secrets = here("status", "--secrets", "--json", "--home", str(home.root))
    assert json.loads(secrets.stdout)["key"] == home.key()
    assert home.key() in here("status", "--secrets", "--home", str(home.root)).stdout
    assert as_json["running"]
    assert as_json["parts"]["widget"]["url"] == running.widget


@pytest.mark.slow
def test_the_command_says_that_nothing_runs_with_exit_code_2_or_3_in_json(
    home: Home, here: RunHere
) -> None:
    told = here("status", ASKDOCS_HOME=str(home.root))
    assert told.returncode == 2
    assert told.stderr.startswith(f"askdocs: askdocs does not run in {home.root}")
    assert told.stderr.count("\n") == 1
    as_json = here("status", "--json", ASKDOCS_HOME=str(home.root))
    assert as_json.returncode == 3
    assert as_json.stderr == ""
    found = json.loads(as_json.stdout)
    assert found["running"] is False
    assert found["home"] == str(home.root)
    assert "does not run" in found["why"]
