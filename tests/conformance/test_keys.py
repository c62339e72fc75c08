"""Keys, limits and aliases as a team uses them: four workers, Redis, and the command line."""

import concurrent.futures
import json
import select
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest

from tests import starting
from tests.askdocs.conftest import RunHere, here
from tests.conformance.faulty import Faulty, faulty
from tests.gateway.redis_server import RedisServer
from tests.parts import require
from tests.waiting import until

__all__ = ["here"]

pytestmark = pytest.mark.slow

HELLO: Any = [{"role": "user", "content": "Say hello."}]
ENDPOINTS: dict[str, dict[str, Any]] = {
    "/chat/completions": {"messages": HELLO},
    "/completions": {"prompt": "x"},
    "/embeddings": {"input": "x"},
    "/rerank": {"query": "x", "documents": ["y"]},
    "/responses": {"input": "x"},
    "/messages": {"messages": HELLO, "max_tokens": 5},
}


@dataclass(frozen=True)
class Service:
    gateway: starting.Gateway
    engine: Faulty
    redis: RedisServer


@dataclass(frozen=True)
class Team(Service):
    here: RunHere

    def cli(self, *arguments: str, code: int = 0) -> Any:
        """What the command says, as JSON."""
        words = (*arguments, "--home", str(self.gateway.home), "--json")
        done = self.here(*words, ASKDOCS_GATEWAY_ENGINE_URL=self.engine.url)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if code == 0 else done.stderr

    def key(self, name: str, *options: str) -> str:
        return str(self.cli("keys", "create", name, *options)["key"])

    def client(self, key: str, retries: int = 0) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=self.gateway.url, api_key=key, max_retries=retries, timeout=120
        )

    def post(self, key: str, path: str = "/chat/completions", **body: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"}
        asked = body or {"model": "fine", "messages": HELLO}
        return httpx.post(f"{self.gateway.url}{path}", json=asked, headers=headers, timeout=30)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("team")
    require(shutil.which("redis-server") is not None, "apt-get install redis-server")
    store = RedisServer(folder)
    store.start()
    try:
        with (
            faulty() as engine,
            starting.gateway(
                folder,
                gateway_engine_url=engine.url,
                gateway_engine_model="fine",
                gateway_workers="4",
                redis_url=store.url,
            ) as gateway,
        ):
            yield Service(gateway, engine, store)
    finally:
        store.kill()


@pytest.fixture
def team(service: Service, here: RunHere, monkeypatch: pytest.MonkeyPatch) -> Team:
    monkeypatch.chdir(service.gateway.home.parent)
    return Team(service.gateway, service.engine, service.redis, here)


# Keys


def test_a_key_works_in_each_of_its_headers_and_is_never_shown_again(team: Team) -> None:
    made = team.cli("keys", "create", "ana", "--team", "blue", "--rpm", "1000")
    assert (made["limits"]["rpm"], made["team"]) == (1000, "blue")
    key = made["key"]
    for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}, {"api-key": key}):
        assert httpx.get(f"{team.gateway.url}/models", headers=headers).status_code == 200
    assert key not in json.dumps(team.cli("keys", "list"))
    database = (team.gateway.home / "askdocs.db").read_bytes()
    assert key.encode() not in database
    secret = key.split("-", 2)[2]  # which may have hyphens, too
    assert secret.encode() not in database


def test_a_revoked_key_is_refused_within_seconds(team: Team) -> None:
    key = team.key("leaver")
    assert team.post(key).status_code == 200
    team.cli("keys", "revoke", "leaver", "--yes")
    until(lambda: {team.post(key).status_code for _ in range(10)} == {401})


def test_the_old_and_the_new_text_of_a_rotated_key_both_work(team: Team) -> None:
    old = team.key("turning")
    new = team.cli("keys", "rotate", "turning", "--grace", "1h")["key"]
    assert new != old
    assert (team.post(old).status_code, team.post(new).status_code) == (200, 200)


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_keys_models_hold_on_every_endpoint(team: Team, path: str) -> None:
    name = f"only-{path.strip('/').replace('/', '-')}"
    key = team.key(name, "--models", "docs,silent")
    reply = team.post(key, path, model="fine", **ENDPOINTS[path])
    assert reply.status_code == 403
    assert "docs, silent" in reply.json()["error"]["message"]


def test_a_keys_models_are_all_that_it_sees(team: Team) -> None:
    client = team.client(team.key("narrow", "--models", "docs"))
    assert [model.id for model in client.models.list().data] == ["docs"]
    with pytest.raises(openai.PermissionDeniedError):
        client.models.retrieve("fine")


@pytest.mark.parametrize(
    "path", ["/key/generate", "/model/new", "/config/update", "/v1/model/info"]
)
def test_admin_routes_of_litellm_are_closed(team: Team, path: str) -> None:
    key = team.key("curious" + path.replace("/", "-"))
    headers = {"authorization": f"Bearer {key}"}
    for method in ("GET", "POST"):
        reply = httpx.request(method, f"{team.gateway.root}{path}", headers=headers)
        assert reply.status_code == 404


# Limits


def redis_was_away(team: Team) -> int:
    """How often workers have said so."""
    return team.gateway.log.read_text().count(" is unavailable (")


def test_of_a_thousand_requests_at_once_a_key_of_60_a_minute_gets_60(team: Team) -> None:
    key = team.key("sixty", "--rpm", "60")
    was_away = redis_was_away(team)
    began = time.monotonic()

    def ask(_: int) -> tuple[httpx.Response, float]:
        # A model of the settings: what engines list is unknown while they are too busy to tell.
        reply = team.post(key, model="base", messages=HELLO)
        return reply, time.monotonic() - began

    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(ask, range(1000)))
    replies = [reply for reply, _ in answers]
    # On a busy machine the last ones are sent after the minute, the engine does not accept in
    # time, and Redis is so slow that workers count their shares of the limit alone.
    admitted = [reply.status_code != 429 for reply, ended in answers if ended < 60].count(True)
    assert {reply.status_code for reply in replies} <= {200, 429, 503}
    if redis_was_away(team) == was_away:
        assert admitted == 60
    assert 0 < admitted <= 120
    refused = next(reply for reply in replies if reply.status_code == 429)
    assert 0 < int(refused.headers["retry-after"]) <= 61
    assert refused.headers["x-ratelimit-limit-requests"] == "60"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    admitted = next(reply for reply in replies if reply.status_code == 200)
    assert admitted.headers["x-ratelimit-limit-requests"] == "60"


def test_the_sdk_waits_as_long_as_it_is_reported_and_then_succeeds(team: Team) -> None:
    key = team.key("patient", "--max-parallel", "1")
    headers = {"authorization": f"Bearer {key}"}
    body = {"model": "endless", "messages": HELLO, "stream": True}
    url = f"{team.gateway.url}/chat/completions"
    with (
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        httpx.stream("POST", url, json=body, headers=headers, timeout=60) as held,
    ):
        lines = held.iter_lines()  # held: httpx closes the response of one that is dropped
        assert next(lines)
        refused = team.post(key)
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        client = team.client(key, retries=10)
        complete = client.chat.completions.create
        asking = pool.submit(complete, model="fine", messages=HELLO)
        time.sleep(0.5)  # meanwhile it is refused
    reply = asking.result()
    assert reply.choices[0].message.content == "Hello."


def test_tokens_are_reserved_and_then_settled_on_what_was_used(team: Team) -> None:
    key = team.key("thrifty", "--tpm", "300")
    body: dict[str, Any] = {"model": "fine", "messages": HELLO, "max_tokens": 50, "stream": True}
    # Each reserves some 200 and uses 5: one after the other far more than two go through.
    for _ in range(8):  # it settles a moment after the answer
        until(lambda: team.post(key, **body).status_code == 200, 20)
    refused = team.post(key, **{**body, "max_tokens": 5000})
    assert refused.status_code == 429
    assert refused.json()["error"]["type"] == "tokens"
    assert refused.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_before_the_first_byte_pays_for_its_prompt(
    team: Team, stream: bool
) -> None:
    name = f"leaving-{stream}"
    key = team.key(name, "--tpm", "5000")
    said = [{"role": "user", "content": "four " * 560}]  # 700 tokens by their bytes
    body: dict[str, Any] = {"model": "slow", "messages": said, "max_tokens": 5, "stream": stream}
    data = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}"
    head += f"\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    team.engine.asked.clear()
    for number in range(1, 31):
        with socket.create_connection(("127.0.0.1", team.gateway.port)) as connection:
            connection.sendall(head.encode() + data)
            while len(team.engine.asked) < number:  # which answers after 5 seconds
                if select.select([connection], [], [], 0.02)[0]:
                    answer = connection.recv(1000)
                    break
        if len(team.engine.asked) < number:
            assert b" 429 " in answer[:20]
            break
        time.sleep(0.2)  # the gateway sees the end of the connection
    given = len(team.engine.asked)
    assert 3 <= given <= 8

    def counted() -> bool:
        rows = team.cli("usage", "--by", "key")["rows"]
        read = sum(row["prompt_tokens"] for row in rows if row["key"] == name)
        return bool(700 * given <= read <= 800 * given)

    until(counted, 60)


def test_a_month_has_its_tokens(team: Team) -> None:
    key = team.key("small", "--monthly-tokens", "300")
    body: dict[str, Any] = {"model": "fine", "messages": HELLO, "max_tokens": 50, "stream": True}
    while (reply := team.post(key, **body)).status_code == 200:
        pass
    assert reply.json()["error"]["code"] == "insufficient_quota"
    rows: list[dict[str, Any]] = []

    def written() -> bool:
        """Workers write what they counted once a second."""
        used = team.cli("usage", "--by", "key")["rows"]
        rows[:] = [row for row in used if row["key"] == "small"]
        return bool(rows)

    until(written)
    assert 0 < rows[0]["prompt_tokens"] + rows[0]["completion_tokens"] <= 300


def test_usage_is_reported_by_team(team: Team) -> None:
    key = team.key("counted", "--team", "green")
    for _ in range(3):
        team.post(key, model="fine", messages=HELLO, stream=True)
    deadline = time.monotonic() + 60
    while True:
        rows = [r for r in team.cli("usage", "--by", "team")["rows"] if r["team"] == "green"]
        if rows and rows[0]["requests"] == 3:
            break
        assert time.monotonic() < deadline, rows
        time.sleep(0.2)
    assert (rows[0]["prompt_tokens"], rows[0]["completion_tokens"]) == (9, 6)


def test_without_redis_requests_go_on_and_it_comes_back_by_itself(team: Team) -> None:
    key = team.key("lasting", "--rpm", "100")
    assert team.post(key).status_code == 200
    team.redis.kill()
    assert {team.post(key).status_code for _ in range(10)} == {200}
    assert metric(team, "askdocs_gateway_limiter_local") == 1
    assert metric(team, "askdocs_gateway_limiter_local_decisions_total") > 0
    team.redis.start()
    until(lambda: not metric(team, "askdocs_gateway_limiter_local"))


def metric(team: Team, name: str) -> float:
    time.sleep(1.2)  # they are written once a second
    for line in httpx.get(f"{team.gateway.root}/metrics").text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[-1])
    return 0.0


# Aliases

MANY = 60
"""Requests of which each of four workers has had some."""


def known(team: Team, key: str, alias: str) -> None:
    """Waits until every worker has heard of an alias."""
    until(
        lambda: (
            {team.post(key, model=alias, messages=HELLO).status_code for _ in range(MANY)} == {200}
        )
    )


def test_an_alias_changes_live_on_every_worker_and_no_request_fails(team: Team) -> None:
    key = team.key("watching")
    team.cli("aliases", "set", "team", "--target", "fine")
    known(team, key, "team")
    stop = threading.Event()
    answers: list[tuple[int, str]] = []

    def ask() -> None:
        while not stop.is_set():
            reply = team.post(key, model="team", messages=HELLO)
            answers.append((reply.status_code, reply.headers["x-askdocs-model"]))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(answers) > 20)
        team.cli("aliases", "set", "team", "--target", "base")
        until(lambda: {model for _, model in answers[-MANY:]} == {"base"})
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert {status for status, _ in answers} == {200}
    assert {model for _, model in answers} == {"fine", "base"}


def test_a_canary_keeps_each_user_where_he_is(team: Team) -> None:
    key = team.key("canary")
    team.cli("aliases", "set", "split", "--target", "base=50", "--target", "fine=50")
    known(team, key, "split")

    def model(user: str) -> str:
        reply = team.post(key, model="split", messages=HELLO, user=user)
        return reply.headers["x-askdocs-model"]

    users = [f"user-{number}" for number in range(20)]
    first = [model(user) for user in users]
    assert set(first) == {"base", "fine"}
    assert [model(user) for user in users] == first


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("aliases", "set", "x", "--target", "nobody"), "no model 'nobody'"),
        (("aliases", "set", "x", "--target", "fine", "--fallback", "y"), "no model or alias 'y'"),
        (("aliases", "set", "x", "--target", "fine", "--fallback", "x"), "x -> x"),
        (("aliases", "set", "x", "--target", "fine=-1"), "must not be negative"),
        (("aliases", "set", "x y", "--target", "fine"), "'x y' is not a valid name"),
        (("aliases", "set", "x"), "--target MODEL"),
        (("keys", "create", "bad", "--rpm", "-1"), "-1"),
    ],
)
def test_a_mistake_is_said_and_changes_nothing(
    team: Team, arguments: tuple[str, ...], words: str
) -> None:
    before = team.cli("aliases", "list")
    assert words in team.cli(*arguments, code=2)
    assert team.cli("aliases", "list") == before
