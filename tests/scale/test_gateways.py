"""Two gateways, as on two machines: own homes, indexes and ports, one PostgreSQL, one Redis."""

import concurrent.futures
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import starting
from tests.conformance.faulty import Faulty, faulty
from tests.gateway.postgres import Postgres
from tests.gateway.redis_server import RedisServer, need_redis
from tests.waiting import until

pytestmark = pytest.mark.slow

HELLO: Any = [{"role": "user", "content": "Say hello."}]
ASKDOCS = Path(sys.executable).with_name("askdocs")
MANY = 40
"""Requests of which each client of each gateway has had some."""


@dataclass(frozen=True)
class Team:
    gateways: list[starting.Gateway]
    engine: Faulty
    database: str
    home: Path

    def cli(self, *arguments: str) -> Any:
        """What the command says, as JSON, on a third machine."""
        done = subprocess.run(
            [ASKDOCS, *arguments, "--home", self.home, "--json"],
            capture_output=True,
            text=True,
            timeout=120,
            env={
                "ASKDOCS_DATABASE_URL": self.database,
                "ASKDOCS_GATEWAY_ENGINE_URL": self.engine.url,
                "PATH": "/usr/bin:/bin",
            },
            cwd=self.home.parent,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def post(self, gateway: starting.Gateway, key: str, **body: Any) -> httpx.Response:
        asked = {"model": "fine", "messages": HELLO, **body}
        headers = {"authorization": f"Bearer {key}"}
        url = f"{gateway.url}/chat/completions"
        return httpx.post(url, json=asked, headers=headers, timeout=60)

    def everywhere(self, key: str, **body: Any) -> list[httpx.Response]:
        return [self.post(gateway, key, **body) for gateway in self.gateways]


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Team]:
    need_redis()
    folder = tmp_path_factory.mktemp("team")
    database = postgres.database()
    redis = RedisServer(folder)
    redis.start()
    try:
        with ExitStack() as stack:
            engine = stack.enter_context(faulty())
            gateways = []
            for name in ("one", "two"):
                (folder / name).mkdir()
                gateways.append(
                    stack.enter_context(
                        starting.gateway(
                            folder / name,
                            gateway_engine_url=engine.url,
                            gateway_engine_model="fine",
                            database_url=database,
                            redis_url=redis.url,
                        )
                    )
                )
            yield Team(gateways, engine, database, folder / "home")
    finally:
        redis.kill()


def test_a_limit_holds_exactly_across_gateways(team: Team) -> None:
    key = team.cli("keys", "create", "twenty", "--rpm", "20")["key"]
    turns = cycle(team.gateways)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        sent = [pool.submit(team.post, next(turns), key) for _ in range(120)]
        statuses = Counter(one.result().status_code for one in sent)
    assert statuses.keys() == {200, 429}
    # On a busy machine Redis may be so slow that each of them counts its share alone.
    if not any(" is unavailable (" in gateway.log.read_text() for gateway in team.gateways):
        assert statuses[200] == 20
    assert statuses[200] <= 40


def test_requests_at_once_are_counted_across_gateways(team: Team) -> None:
    key = team.cli("keys", "create", "single", "--max-parallel", "1")["key"]
    first, second = team.gateways
    headers = {"authorization": f"Bearer {key}"}
    # Its answer takes five seconds from the first byte on: one is under way all the while.
    body = {"model": "slow", "messages": HELLO, "stream": True}
    over = threading.Event()

    def hold() -> None:
        url = f"{first.url}/chat/completions"
        with httpx.stream("POST", url, json=body, headers=headers, timeout=60) as reply:
            for _ in reply.iter_bytes():
                pass
        over.set()

    thread = threading.Thread(target=hold)
    before = len(team.engine.asked)
    thread.start()
    while "slow" not in team.engine.asked[before:]:  # so it has been admitted
        assert thread.is_alive()
        time.sleep(0.01)
    refused = team.post(second, key)
    is_held = not over.is_set()
    thread.join()
    assert refused.status_code == 429 or not is_held
    assert team.post(second, key).status_code == 200


def test_a_revoked_key_is_refused_by_all_of_them(team: Team) -> None:
    key = team.cli("keys", "create", "leaver")["key"]
    assert {reply.status_code for reply in team.everywhere(key)} == {200}
    team.cli("keys", "revoke", "leaver", "--yes")
    until(lambda: {reply.status_code for reply in team.everywhere(key)} == {401})


def test_an_alias_is_flipped_on_all_of_them_and_no_request_fails(team: Team) -> None:
    key = team.cli("keys", "create", "watcher")["key"]
    team.cli("aliases", "set", "team", "--target", "fine")
    until(lambda: {reply.status_code for reply in team.everywhere(key, model="team")} == {200})
    answers: list[tuple[int, str]] = []
    over = threading.Event()

    def ask(gateway: starting.Gateway) -> None:
        while not over.is_set():
            reply = team.post(gateway, key, model="team")
            answers.append((reply.status_code, reply.headers.get("x-askdocs-model", "")))
            time.sleep(0.02)

    threads = [threading.Thread(target=ask, args=(one,)) for one in team.gateways for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(answers) > MANY)
        team.cli("aliases", "set", "team", "--target", "base")
        until(lambda: {name for _, name in answers[-MANY:]} == {"base"})
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert {status for status, _ in answers} == {200}
    assert {name for _, name in answers} == {"fine", "base"}


def test_usage_of_all_of_them_adds_up_and_is_kept_when_one_is_killed(team: Team) -> None:
    key = team.cli("keys", "create", "counted", "--team", "blue")["key"]
    for _ in range(3):
        assert {reply.status_code for reply in team.everywhere(key)} == {200}

    def counted() -> dict[str, int]:
        rows = team.cli("usage", "--by", "team")["rows"]
        return {row["team"]: row["requests"] for row in rows}

    deadline = time.monotonic() + 60
    while (found := counted().get("blue")) != 6:
        assert time.monotonic() < deadline, found
    first, second = team.gateways
    first.process.kill()
    first.process.wait()
    # The other one goes on, with the same keys, limits and aliases.
    assert team.post(second, key).status_code == 200
    assert team.post(second, key, model="team").headers["x-askdocs-model"] == "base"
    while (found := counted().get("blue")) != 8:
        assert time.monotonic() < deadline + 60, found
