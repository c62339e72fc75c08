"""compose.yaml in containers (tests/containers.py): what a team does with it, and what fails.

The tests follow one another: each goes on from what those before it have left. Among them they type
every command of the tutorial, docs/tutorials/compose.md, in the order of the page.
"""

import json
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from dotenv import dotenv_values
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError

from tests.containers import FILE, LEFT_OUT, OVER, ROOT, Composed, Docker, engine, make_stand_ins
from tests.containers import read as described
from tests.docs.tutorial import Terminal, steps, terminal
from tests.runbook import RUNBOOK, Command, commands
from tests.waiting import until

GATEWAY = "http://127.0.0.1:4000"
WIDGET = "http://127.0.0.1:8080"
SITE = "http://127.0.0.1:8000"
QUESTION = "How do I descale the coffee machine?"
VOTES = "SELECT vote FROM votes"
RUN = ("postgres", "redis", "prometheus", "alertmanager", "engine", "site", "gateway", "widget")
# Others on this machine may not have its ports.
pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1800)]
HTMX = {"hx-request": "true", "sec-fetch-site": "same-origin"}

TUTORIAL = ROOT / "docs" / "tutorials" / "compose.md"
PRODUCTION = ROOT / "docs" / "how-to" / "production.md"
START = "Start askdocs with Docker Compose"
VLLM = "Use vLLM and a GPU with Compose"
KEYS = "Create keys in the containers"
BACKUP = "Back up and restore the database"
DUMP = re.compile(r"askdocs-\d{8}T\d{6}Z\.dump")


def typed(heading: str) -> list[str]:
    """The commands of the tutorial below a heading."""
    return [step.command for step in steps(TUTORIAL) if step.heading == heading]


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    """What the script for .env has made, by the names in .env.example."""
    return {}


@pytest.fixture(scope="module")
def wiki() -> Iterator[Path]:
    # Not in pytest's folder, whose names are long: sockets have short ones.
    folder = Path(tempfile.mkdtemp(prefix="askdocs-compose-"))
    wiki = folder / "wiki"
    wiki.mkdir()
    (wiki / "index.md").write_text("# Office\n\nThe office has a kitchen.\n")
    (wiki / "coffee.md").write_text(
        "# Coffee machine\n\nThe coffee machine stands in the kitchen on floor 3.\n\n"
        "## How do I descale the coffee machine?\n\nPress the blue button for 7 seconds and pour"
        " 40 ml of citric acid into the tank.\n"
    )
    yield wiki
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    with engine() as docker:
        make_stand_ins(docker)
        yield docker


@pytest.fixture(scope="module")
def reader(docker: Docker, wiki: Path) -> Iterator[Terminal]:
    """A terminal in a clone, where .env.example names the wiki."""
    folder = wiki.parent
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    (folder / ".env.example").write_text(re.sub("(?m)^WIKI=.*", f"WIKI={wiki}", example))
    files = {
        "COMPOSE_FILE": f"{FILE}:{folder / OVER}",
        "COMPOSE_ENV_FILES": str(folder / ".env"),
    }
    with terminal(folder, docker.environment | files) as reader:
        yield reader


@pytest.fixture(scope="module")
def composed(
    request: pytest.FixtureRequest,
    docker: Docker,
    reader: Terminal,
    wiki: Path,
    secrets: dict[str, str],
) -> Iterator[Composed]:
    make_env, up = typed(START)
    reader.run(make_env)
    env = wiki.parent / ".env"
    example = dotenv_values(wiki.parent / ".env.example")
    made = dotenv_values(env)
    secrets |= {name: value or "" for name, value in made.items() if value != example[name]}
    running = Composed(docker, wiki.parent, env)
    try:
        running.down()  # what a test that was killed has left
        reader.run(up)
        yield running
    finally:
        if request.session.testsfailed:
            for name in running.names:
                print(f"--- {name}\n{running.logs(name)[-4000:]}")
        running.down()


def ask(key: str, **more: Any) -> httpx.Response:
    body = {"model": "docs", "messages": [{"role": "user", "content": QUESTION}], **more}
    return httpx.post(
        f"{GATEWAY}/v1/chat/completions",
        json=body,
        headers={"authorization": f"Bearer {key}"},
        timeout=120,
    )


def ask_the_box() -> tuple[str, str]:
    """As a reader of the wiki does: the number of the question, and its answer."""
    page = f"{SITE}/coffee/"
    token = httpx.post(f"{WIDGET}/token", data={"page": page}).json()["token"]
    form = {"question": QUESTION, "page": page, "token": token}
    asked = httpx.post(f"{WIDGET}/asks", data=form, headers=HTMX)
    assert asked.status_code == 200, asked.text
    (id,) = set(re.findall(r"asks/([\w-]+)/events", asked.text))
    return id, httpx.get(f"{WIDGET}/asks/{id}/events", timeout=120).text


def succeeds(act: Callable[[], object]) -> bool:
    """False also where what it asks is away, has no address yet, or says that it only begins."""
    try:
        return bool(act())
    except (httpx.TransportError, httpx.InvalidURL, psycopg.OperationalError, RedisError):
        return False
    except (AssertionError, ValueError, KeyError):
        return False


def database(composed: Composed, secrets: dict[str, str]) -> str:
    place = f"{composed.address('postgres')}:5432"
    return f"postgresql://askdocs:{secrets['POSTGRES_PASSWORD']}@{place}/askdocs"


def rows(composed: Composed, secrets: dict[str, str], query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database(composed, secrets)) as connection:
        return connection.execute(query.encode()).fetchall()


def redis_at(composed: Composed, password: str | None) -> Redis:
    return Redis(composed.address("redis"), password=password)


def prometheus(composed: Composed, path: str) -> Any:
    return httpx.get(f"http://{composed.address('prometheus')}:9090/api/v1/{path}").json()["data"]


def test_vllm_is_an_engine_of_the_tutorial(composed: Composed, wiki: Path) -> None:
    """Compose reads its settings. Nothing starts with them here: vLLM needs an NVIDIA GPU, an image
    of a registry, and a model of a hub."""
    assert {step.heading for step in steps(TUTORIAL)} == {START, VLLM, KEYS, BACKUP}
    (settings,) = (step for step in steps(TUTORIAL) if step.heading == VLLM)
    env = wiki.parent / "vllm.env"
    env.write_text((wiki.parent / settings.file).read_text() + settings.command)
    services = described(env)["services"]
    assert {*services} - {*RUN} == {"vllm", "model", *LEFT_OUT}
    assert "HuggingFaceTB/SmolLM2-1.7B-Instruct" in services["vllm"]["command"]
    wanted = {"MODEL_NAME": "SmolLM2-1.7B-Instruct", "PAGE_BUDGET": "6000", "ANSWERS": "write"}
    found = services["gateway"]["environment"]
    assert {name: found[f"ASKDOCS_GATEWAY_{name}"] for name in wanted} == wanted


def test_all_start_and_become_healthy(composed: Composed) -> None:
    composed.up()
    assert set(composed.names) == set(RUN)
    assert LEFT_OUT == ("grafana",)
    began = {name: composed.facts(name)["State"]["StartedAt"] for name in RUN}
    # Each after those that it needs.
    assert max(began["postgres"], began["redis"], began["engine"]) < began["gateway"]
    assert began["gateway"] < began["widget"]


def test_a_program_with_the_key_is_answered_from_the_wiki(
    composed: Composed, secrets: dict[str, str]
) -> None:
    assert ask("ask-wrong").status_code == 401
    answered = ask(secrets["ASKDOCS_KEY"])
    assert answered.status_code == 200, answered.text
    message = answered.json()["choices"][0]["message"]
    assert "blue button" in message["content"]
    assert message["annotations"][0]["url_citation"]["url"].startswith(f"{SITE}/coffee/")


def test_the_site_shows_the_box_and_a_vote_is_kept_in_postgresql(
    composed: Composed, secrets: dict[str, str]
) -> None:
    page = httpx.get(f"{SITE}/coffee/").text
    assert "blue button" in page
    assert f'src="{WIDGET}/embed.js"' in page
    id, answer = ask_the_box()
    assert "blue button" in answer
    voted = httpx.post(f"{WIDGET}/votes", data={"ask": id, "vote": "up"}, headers=HTMX)
    assert voted.status_code == 200, voted.text
    assert rows(composed, secrets, f"SELECT vote FROM votes WHERE question = '{id}'") == [("up",)]


def test_a_page_that_changes_is_shown_and_answered_from_without_a_restart(
    composed: Composed, wiki: Path, secrets: dict[str, str]
) -> None:
    page = wiki / "coffee.md"
    page.write_text(page.read_text().replace("blue button", "green button"))
    deadline = time.monotonic() + 60
    while "green button" not in httpx.get(f"{SITE}/coffee/").text:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    while "green button" not in (answered := ask(secrets["ASKDOCS_KEY"]).text):
        assert time.monotonic() < deadline, answered


def test_limits_of_a_key_hold_across_workers_in_redis(
    composed: Composed, reader: Terminal, secrets: dict[str, str]
) -> None:
    create, usage = typed(KEYS)
    (key,) = re.findall(r"^ask-\S+$", reader.run(create.replace("--rpm 60", "--rpm 3")), re.M)
    secrets["ci"] = key

    def embed(_: int) -> int:
        body = {"model": "minilm", "input": "coffee"}
        head = {"authorization": f"Bearer {key}"}
        # Each on a connection of its own, so that both workers get some.
        return httpx.post(
            f"{GATEWAY}/v1/embeddings", json=body, headers=head, timeout=60
        ).status_code

    with ThreadPoolExecutor(12) as pool:
        statuses = sorted(pool.map(embed, range(12)))
    assert statuses == [200] * 3 + [429] * 9
    with Redis(
        composed.address("redis"), password=secrets["REDIS_PASSWORD"], decode_responses=True
    ) as redis:
        assert redis.dbsize() > 0
    with pytest.raises(AuthenticationError), redis_at(composed, None) as redis:
        redis.ping()
    until(lambda: re.search(r"^ci\b", reader.run(usage), re.M), 60)


def test_prometheus_reads_all_of_them_and_its_rules(composed: Composed) -> None:
    deadline = time.monotonic() + 120
    while True:
        found = prometheus(composed, "targets")["activeTargets"]
        health = {target["scrapeUrl"]: (target["health"], target["lastError"]) for target in found}
        if all(state == "up" for state, _ in health.values()):
            break
        assert time.monotonic() < deadline, health
        time.sleep(0.5)
    names = {re.split("[/:]+", url)[1] for url in health}
    assert {"gateway", "widget", "engine"} <= names
    groups = prometheus(composed, "rules")["groups"]
    assert [rule["name"] for group in groups for rule in group["rules"]]


def test_prometheus_knows_the_alertmanager_and_an_alert_can_be_tried_and_silenced(
    composed: Composed,
) -> None:
    """By the commands of docs/how-to/monitoring.md."""
    deadline = time.monotonic() + 60
    while not prometheus(composed, "alertmanagers")["activeAlertmanagers"]:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    id, typed = "", []
    page = ROOT / "docs" / "how-to/monitoring.md"
    for command in commands(page, "testing-alert-routing", "silencing-an-alert"):
        if command.words[:3] == ["docker", "compose", "exec"]:
            done = composed.exec(*[id if word == "ID" else word for word in command.words[3:]])
            assert done.returncode == 0, done.stderr
            typed.append(" ".join(command.words[-3:]))
            id = done.stdout.strip() if "add" in command.words else id
            if "query" in command.words:
                assert "AskdocsIndexStale" in done.stdout
    assert len(typed) == 4
    with httpx.Client(base_url=f"http://{composed.address('alertmanager')}:9093/api/v2") as client:
        assert "Trial" in [alert["labels"]["alertname"] for alert in client.get("/alerts").json()]
        assert [one["status"]["state"] for one in client.get("/silences").json()] == ["expired"]


def test_an_alertmanager_without_the_address_says_so(composed: Composed) -> None:
    refused = composed.exec(
        "alertmanager", "sh", "-c", "ALERTS=slack sh /etc/alertmanager/start.sh"
    )
    assert refused.returncode == 1
    assert "ALERTS is slack, and ALERTS_URL is empty: write the address into .env" in refused.stderr


def test_the_access_log_is_in_what_the_gateway_says(composed: Composed) -> None:
    wanted, statuses = {200, 401, 429}, set[int]()
    deadline = time.monotonic() + 10  # lines are written some at a time
    while not wanted <= statuses:
        assert time.monotonic() < deadline, statuses
        time.sleep(0.1)
        *said, _ = composed.logs("gateway").split("\n")
        statuses = {json.loads(line)["status"] for line in said if line.startswith("{")}
    assert [line for line in said if not line.startswith("{")]  # as the runbook tells them apart


# Restarts and lists are Docker's own.
TYPED = [
    command
    for command in commands(RUNBOOK)
    if command.words[:2] == ["docker", "compose"] and command.words[2] in ("exec", "logs")
]


def until_known(composed: Composed, names: set[str]) -> None:
    """Prometheus looks every 15 seconds, and a metric is there once it has a value."""
    deadline = time.monotonic() + 60
    while not names & prometheus(composed, "metadata").keys():
        assert time.monotonic() < deadline, names
        time.sleep(1)


@pytest.mark.parametrize("command", TYPED, ids=lambda one: " ".join(one.words[2:]))
def test_the_runbook_shows_something_in_containers(composed: Composed, command: Command) -> None:
    verb, *rest = command.words[2:]
    if verb == "logs":
        said = composed.logs(*(name for name in rest if name in RUN))
    else:
        done = composed.exec(*rest)
        said = done.stdout
        if "compare" in rest:  # a model with itself
            assert "only base has answered for docs" in done.stderr
            return
        assert done.returncode == 0, done.stderr
        if "promtool" in rest:  # a counter of failures may be empty
            until_known(composed, {rest[-1], rest[-1].removesuffix("_total")})
            return
    if command.pipe:  # nothing has failed here: what went well is found likewise
        well = command.pipe.replace('"status":5', '"status":2')
        pipe = ["sh", "-c", re.sub(r"grep -v -e (\S+) -e '»'", r"grep -e \1", well)]
        said = subprocess.run(pipe, input=said, capture_output=True, text=True, check=True).stdout
    assert said.strip()


def test_services_write_nowhere_but_where_they_may(composed: Composed) -> None:
    for name in RUN:
        # Docker makes what volumes, and files of its own, are mounted on.
        files = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/usr/sbin/docker-init")
        mounts = [*composed.mounts(name), *files]
        for path in composed.written(name):
            assert any(mount == path or mount.startswith(f"{path}/") for mount in mounts), path
        places = ("/", "/usr", "/app" if name == "gateway" else "/etc")
        tried = composed.exec(name, "touch", *(f"{place}/x" for place in places))
        assert tried.returncode != 0
        assert tried.stderr.count("Read-only file system") == len(places), tried.stderr


def test_users_networks_and_limits_are_what_the_file_says(composed: Composed) -> None:
    for name, said in composed.described().items():
        facts = composed.facts(name)
        assert composed.users(name) == {said["user"]}, name
        networks = {word.removeprefix("askdocs_") for word in facts["NetworkSettings"]["Networks"]}
        assert networks == set(said["networks"]), name
        host, limits = facts["HostConfig"], said["deploy"]["resources"]["limits"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["NanoCpus"] == float(limits["cpus"]) * 1e9
        assert (host["Memory"], host["PidsLimit"]) == (int(limits["memory"]), limits["pids"])
        inside = composed.exec(name, "cat", "/proc/1/status").stdout
        assert re.findall(r"^CapEff:\s*0+$", inside, re.M), name
        # Of those with internal networks only, none has a way out.
        out = [
            line.split()[1]
            for line in composed.exec(name, "cat", "/proc/net/route").stdout.splitlines()
        ]
        assert ("00000000" in out) == ("outside" in said["networks"]), name


def test_the_widget_reads_the_index_of_the_gateway_but_does_not_write_it(
    composed: Composed,
) -> None:
    code = (
        "from pathlib import Path; from wiki.index.index import Index;"
        "print(Index(Path('/state/index.db')).by_path('coffee.md').title)"
    )
    read = composed.exec("widget", "python", "-c", code)
    assert (read.stdout, read.returncode) == ("Coffee machine\n", 0), read.stderr
    assert composed.exec("widget", "sh", "-c", "touch /state/x").returncode != 0


def test_services_know_only_those_whose_network_they_share(composed: Composed) -> None:
    def knows(name: str, other: str) -> bool:
        return composed.exec(name, "getent", "hosts", other).returncode == 0

    assert knows("gateway", "engine")
    assert knows("widget", "postgres")
    assert not knows("widget", "engine")
    assert not knows("site", "gateway") or not knows("site", "postgres")
    assert not knows("prometheus", "postgres")
    assert not knows("postgres", "engine")


def test_they_need_less_memory_than_they_may_have(composed: Composed) -> None:
    memory = composed.memory()
    assert memory.keys() == {*RUN}
    for name, (used, most) in memory.items():
        print(f"{name}: {used >> 20} of {most >> 20} MiB")
        assert used < 0.8 * most


@pytest.mark.parametrize("name", RUN)
def test_a_service_that_is_killed_comes_back_and_questions_are_answered(
    composed: Composed, secrets: dict[str, str], name: str
) -> None:
    """Each by itself; what it does is asked for, not only Docker's opinion of its health."""
    key = secrets["ASKDOCS_KEY"]
    works: dict[str, Callable[[], object]] = {
        "postgres": lambda: rows(composed, secrets, VOTES) == [("up",)],
        "redis": lambda: redis_at(composed, secrets["REDIS_PASSWORD"]).ping(),
        "prometheus": lambda: prometheus(composed, "targets")["activeTargets"],
        "alertmanager": lambda: (
            httpx.get(f"http://{composed.address('alertmanager')}:9093/-/ready").is_success
        ),
        "engine": lambda: ask(key, model="base", max_tokens=4).is_success,
        "site": lambda: "green button" in httpx.get(f"{SITE}/coffee/").text,
        "gateway": lambda: ask(key).is_success,
        "widget": lambda: httpx.get(f"{WIDGET}/health").is_success,
    }
    before = composed.facts(name)["RestartCount"]
    composed.kill(name)
    until(lambda: composed.facts(name)["RestartCount"] > before, 60)
    until(lambda: succeeds(works[name]), 120)
    until(lambda: succeeds(lambda: "green button" in ask(key).text), 60)
    until(lambda: succeeds(lambda: "green button" in ask_the_box()[1]), 60)


def test_all_services_that_are_killed_at_once_come_back(
    composed: Composed, secrets: dict[str, str]
) -> None:
    """None finds those that it needs."""
    before = {name: composed.facts(name)["RestartCount"] for name in RUN}

    def is_back(name: str) -> bool:
        facts = composed.facts(name)
        healthy = facts["State"]["Health"]["Status"] == "healthy"
        return bool(facts["RestartCount"] > before[name] and healthy)

    for name in RUN:
        composed.kill(name)
    for name in RUN:
        until(partial(is_back, name), 300)
    assert "green button" in ask(secrets["ASKDOCS_KEY"]).text
    assert httpx.get(f"{WIDGET}/health").status_code == 200
    assert rows(composed, secrets, VOTES) == [("up",)]


def test_a_backup_is_made_checked_and_restored(
    composed: Composed, reader: Terminal, secrets: dict[str, str]
) -> None:
    make, list_all, *others = typed(BACKUP)
    made = reader.run(make)
    (name,) = DUMP.findall(reader.run(list_all))
    assert name in made
    before = rows(composed, secrets, VOTES)
    assert before == [("up",)]

    check, stop, restore, start = (DUMP.sub(name, command) for command in others)
    assert {"questions", "votes"} <= set(reader.run(check).split())
    busy = composed.run("backup", "restore", name, "--yes")
    assert busy.returncode != 0
    assert "docker compose stop gateway widget" in busy.stderr

    revoked = composed.exec("gateway", "askdocs", "keys", "revoke", "ci", "--yes")
    assert revoked.returncode == 0, revoked.stderr
    reader.run(stop)
    for service in ("gateway", "widget"):
        composed.stop(service)  # they are, and ended by themselves
    with psycopg.connect(database(composed, secrets)) as connection:
        connection.execute("DELETE FROM votes")
        connection.execute("CREATE TABLE newer (x int)")
    for _ in range(2):  # what was restored can be restored again
        reader.run(restore)
        assert rows(composed, secrets, VOTES) == before
        assert rows(composed, secrets, "SELECT to_regclass('newer')") == [(None,)]
    assert len(DUMP.findall(reader.run(list_all))) == 3  # each kept what was there
    log = [action for (action,) in rows(composed, secrets, "SELECT action FROM audit ORDER BY at")]
    again = ["backup.make", "backup.restore"]
    assert log[-6:] == ["backup.make", "key.revoke", *again, *again]
    reader.run(start)


def test_a_damaged_backup_is_refused(composed: Composed, secrets: dict[str, str]) -> None:
    name = composed.run("backup", "list").stdout.split()[0]
    damage = f"cd $BACKUPS && head -c 3000 {name} >askdocs-cut.dump"
    done = composed(
        *("run", "--rm", "-T", "--entrypoint", "sh", "backup", "-c", damage), check=False
    )
    assert done.returncode == 0, done.stderr
    refused = composed.run("backup", "restore", "askdocs-cut.dump", "--yes")
    assert refused.returncode == 1
    assert "askdocs-cut.dump is damaged: nothing was changed" in refused.stderr
    assert rows(composed, secrets, VOTES) == [("up",)]
    assert "there is no x.dump" in composed.run("backup", "restore", "x.dump").stderr


def test_all_come_back_with_other_secrets_and_the_database_has_what_it_had(
    composed: Composed, wiki: Path, secrets: dict[str, str]
) -> None:
    """By the commands of docs/how-to/production.md, but for what Compose and Grafana do."""
    folder, former = wiki.parent, dict(secrets)
    for command in commands(ROOT / "docs" / "how-to/production.md", "rotate-compose"):
        if command.words[0] == "sh" and command.words[2] != "PREVIOUS_KEY":
            subprocess.run(command.words, cwd=folder, check=True)
        elif command.words[0] == "sed":
            said = subprocess.run(
                command.words, cwd=folder, capture_output=True, text=True, check=True
            ).stdout
            *_, name, shell, dash_c, script = shlex.split(command.pipe)
            done = composed.exec(name, shell, dash_c, script, said=said)
            assert (done.stdout, done.stderr) == ("ALTER ROLE\n", "")
    env = folder / ".env"
    found = dotenv_values(env)
    secrets |= {name: found[name] or "" for name in former.keys() & found.keys()}
    assert [name for name in former if secrets[name] == former[name]] == ["ci"]
    composed.up("postgres", "redis", "gateway")

    assert rows(composed, secrets, VOTES) == [("up",)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        rows(composed, former, VOTES)
    with redis_at(composed, secrets["REDIS_PASSWORD"]) as redis:
        assert redis.ping()
    with (
        Redis(composed.address("redis"), password=former["REDIS_PASSWORD"]) as stranger,
        pytest.raises(AuthenticationError),
    ):
        stranger.ping()
    for known in (secrets, former):
        assert ask(known["ASKDOCS_KEY"], max_tokens=16).status_code == 200
    assert ask(secrets["ci"]).status_code == 401  # it was revoked after the backup


def test_the_way_to_production_works_in_its_order(
    composed: Composed, reader: Terminal, wiki: Path, secrets: dict[str, str]
) -> None:
    """docs/how-to/production.md from the server to the upgrade, but for what needs another machine
    (names, certificates), Git, or a first start."""
    env = wiki.parent / ".env"
    before, printed = env.read_text(), {}
    way = {"Server", "TLS", "Hosts and origins", "Keys", "Backups", "Alerts", "Upgrade"}
    taken = [step for step in steps(PRODUCTION) if step.heading in way]
    assert {step.heading for step in taken} == way
    for step in taken:
        if step.file:
            assert (step.file, step.appends) == (".env", True)
            env.write_text(env.read_text() + step.command)
        elif not step.command.startswith(("sh scripts", "caddy", "systemctl", "git")):
            printed[step.heading, step.command] = reader.run(step.command)
    assert len(printed) >= 9
    (key,) = re.findall(r"^ask-\S+$", "\n".join(printed.values()), re.M)
    dumps = DUMP.findall(printed["Backups", "docker compose run --rm backup list"])
    assert dumps
    composed.up()
    authorised = {"authorization": f"Bearer {key}"}
    for host, status in (("api.example.com", 200), ("elsewhere.example.com", 421)):
        reply = httpx.get(f"{GATEWAY}/v1/models", headers={**authorised, "host": host})
        assert reply.status_code == status, (host, reply.text)
    env.write_text(before)
    reader.run("docker compose up --detach")
    composed.up()


def test_all_stop_when_they_are_reported_to(composed: Composed) -> None:
    for name in (
        "widget",
        "gateway",
        "site",
        "engine",
        "alertmanager",
        "prometheus",
        "redis",
        "postgres",
    ):
        composed.stop(name)
