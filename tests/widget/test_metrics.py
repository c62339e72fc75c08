"""What `GET /metrics` of the widget says, read with the parser of Prometheus."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.parts import require
from tests.widget.conftest import Box
from tests.widget.stand_in import Reply, answer, chunk
from widget.service.metrics import PREFIX

HTMX = {"hx-request": "true", "sec-fetch-site": "same-origin"}
WORDS = "Press the xylophone button"
QUESTION = "How do I descale the zephyr?"

Start = Callable[..., Box]


def text(box: Box) -> str:
    response = httpx.get(f"{box.url}/metrics")
    assert response.status_code == 200
    return response.text


def value(box: Box, name: str, label: str = "") -> float:
    """Of the series with that name, and that value of its label."""
    found = [
        sample.value
        for family in parse(text(box))
        for sample in family.samples
        if sample.name == PREFIX + name and (not label or label in sample.labels.values())
    ]
    assert len(found) == 1, (name, label, found)
    return float(found[0])


def ask(box: Box, question: str = QUESTION) -> str:
    """Returns the question's id once its answer has ended."""
    response = box.post("asks", HTMX, question=question)
    id = str(re.findall(r"asks/([\w-]+)/events", response.text)[0])
    assert "event: end" in httpx.get(f"{box.url}/asks/{id}/events").text
    return id


def test_answers_are_counted_by_outcome_and_timed(box: Start) -> None:
    running = box(
        Reply(chunks=answer(WORDS)),
        Reply(chunks=answer("I cannot say.", refused=True)),
        Reply(503, {"retry-after": "3"}, {"error": {"message": "x", "type": "server_error"}}),
        Reply(chunks=[chunk(WORDS)], broken=True),
        Reply(chunks=answer("")),
    )
    for _ in range(5):
        ask(running)
    assert value(running, "questions_total") == 5
    assert value(running, "answers_total", "answered") == 1
    assert value(running, "answers_total", "refused") == 1
    assert value(running, "answers_total", "failed") == 3
    for reason in ("not_ready", "broke_off", "empty"):
        assert value(running, "gateway_errors_total", reason) == 1
    assert value(running, "gateway_errors_total", "unreachable") == 0
    assert value(running, "time_to_first_text_seconds_count") == 3  # with the one that broke off
    assert value(running, "answer_duration_seconds_count") == 5


def test_streams_are_open_as_long_as_somebody_reads(box: Start) -> None:
    running = box(Reply(chunks=answer("Word. " * 200), pause=0.2))
    response = running.post("asks", HTMX, question=QUESTION)
    (id,) = re.findall(r"asks/([\w-]+)/events", response.text)
    with httpx.stream("GET", f"{running.url}/asks/{id}/events") as stream:
        lines = stream.iter_lines()
        next(lines)
        assert value(running, "streams_open") == 1
        assert value(running, "answers_running") == 1
    httpx.post(f"{running.url}/asks/{id}/stop", headers=HTMX)
    until = time.monotonic() + 20
    while value(running, "streams_open") or value(running, "answers_running"):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert value(running, "answers_total", "stopped") == 1


def test_questions_that_are_not_taken_are_counted_by_the_reason(box: Start) -> None:
    running = box(Reply(chunks=answer(WORDS)), asks_per_minute=1)
    url = f"{running.url}/asks"
    httpx.post(url, data={"question": "x"}, headers={**HTMX, "sec-fetch-site": "cross-site"})
    running.post("asks", HTMX, question="")
    httpx.post(url, data={"question": "x", "token": "old"}, headers=HTMX)
    ask(running)
    assert running.post("asks", HTMX, question=QUESTION).status_code == 429
    for reason in ("elsewhere", "malformed", "token", "often"):
        assert value(running, "questions_refused_total", reason) == 1, reason
    assert value(running, "questions_refused_total", "captcha") == 0
    assert value(running, "questions_total") == 1


def test_a_vote_counts_when_it_changes(box: Start, tmp_path: Path) -> None:
    running = box(Reply(chunks=answer(WORDS)), database_url=f"sqlite:///{tmp_path}/askdocs.db")
    id = ask(running)
    for vote, more in (("up", {}), ("down", {}), ("down", {"reason": "wrong"}), ("", {})):
        response = running.post("votes", HTMX, ask=id, vote=vote, **more)
        assert response.status_code == 200, response.text
    for direction in ("up", "down", "none"):
        assert value(running, "votes_total", direction) == 1, direction
    running.post("votes", HTMX, ask="nobody-asked-this", vote="up")
    assert value(running, "votes_total", "up") == 1


def test_no_text_and_no_visitor_is_in_it(box: Start, tmp_path: Path) -> None:
    running = box(
        Reply(chunks=answer(WORDS)),
        database_url=f"sqlite:///{tmp_path}/askdocs.db",
        person_header="x-email",
    )
    response = running.post("asks", {**HTMX, "x-email": "jo@example.com"}, question=QUESTION)
    (id,) = re.findall(r"asks/([\w-]+)/events", response.text)
    httpx.get(f"{running.url}/asks/{id}/events")
    labels = {
        (name, label)
        for family in parse(text(running))
        for sample in family.samples
        for name, label in sample.labels.items()
        if name != "le"
    }
    assert {name for name, _ in labels} == {"outcome", "reason", "task", "vote"}
    shown = text(running)
    for secret in (WORDS, "zephyr", "jo@", id, "127.0.0.1", "ask-test"):
        assert secret not in shown


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
@pytest.mark.parametrize("trusted", ["127.0.0.1", "10.0.0.1"])
def test_who_comes_through_a_proxy_does_not_see_it(box: Start, header: str, trusted: str) -> None:
    running = box(Reply(), trusted_proxies=(trusted,))
    response = httpx.get(f"{running.url}/metrics", headers={header: "203.0.113.9"})
    assert response.status_code == 404
    assert PREFIX not in response.text


def test_prometheus_gets_openmetrics_and_promtool_finds_nothing_to_criticise(box: Start) -> None:
    running = box(Reply(chunks=answer(WORDS)))
    ask(running)
    wanted = {"accept": "application/openmetrics-text; version=1.0.0"}
    response = httpx.get(f"{running.url}/metrics", headers=wanted)
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    names = [f.name for f in parse_openmetrics(response.text)]  # type: ignore[no-untyped-call]
    assert PREFIX + "questions" in names
    promtool = shutil.which("promtool")
    require(bool(promtool), "apt-get install prometheus")
    checked = subprocess.run(
        [str(promtool), "check", "metrics"], input=text(running), capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
