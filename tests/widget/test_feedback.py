"""Votes, shared answers and the hand-off, over HTTP, with a database."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from core import database
from gateway.access.auth import GROUPS_HEADER
from gateway.api import readable
from tests.widget.conftest import WIKI, Box
from tests.widget.stand_in import Reply, answer, chunk, serve
from widget.service.gateway import Gateway
from widget.service.store import Answered, Store, StoredQuestion, Turn, Vote
from widget.settings import WidgetSettings

HTMX = {"hx-request": "true", "sec-fetch-site": "same-origin"}
SOURCE = {"title": "Start", "section": "", "url": f"{WIKI}/start/", "quote": "Run it."}

Start = Callable[..., Box]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/askdocs.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    engine = database.open(url)
    yield Store(engine)
    engine.dispose()


def asked(box: Box, **fields: str) -> str:
    """Ask, wait for the answer; returns the question's id."""
    response = box.post("asks", HTMX, **{"question": "How?", **fields})
    id = re.findall(r"asks/([\w-]+)/events", response.text)[0]
    assert "event: done" in httpx.get(f"{box.url}/asks/{id}/events").text
    return str(id)


def test_a_question_is_kept_with_its_answer(box: Start, url: str, store: Store) -> None:
    running = box(Reply(chunks=answer("Yes. ", sources=[SOURCE])), database_url=url)
    kept = store.get(asked(running, page=f"{WIKI}/x", quote="this", lang="de"))
    assert kept.asked.question == "How?"
    assert (kept.asked.page, kept.asked.quote, kept.asked.lang) == (f"{WIKI}/x", "this", "de")
    assert kept.asked.conversation == kept.asked.id
    assert (kept.answered.state, kept.answered.model) == ("answered", "docs@v7")
    assert kept.answered.answer == "Yes. "
    assert kept.answered.outcome["sources"][0]["url"] == f"{WIKI}/start/"
    assert 0 <= (kept.answered.first_token or -1) <= (kept.answered.duration or -1)


def test_who_asks_is_kept_where_a_proxy_says_it(box: Start, url: str, store: Store) -> None:
    running = box(
        Reply(chunks=answer("Yes. ")), database_url=url, person_header="x-email", team_header="x-t"
    )
    who = {**HTMX, "x-email": "jo@example.com", "x-t": "red"}
    response = running.post("asks", who, question="How?")
    kept = store.get(re.findall(r"asks/([\w-]+)/events", response.text)[0])
    assert (kept.asked.person, kept.asked.team) == ("jo@example.com", "red")
    stranger = box(
        Reply(), database_url=url, person_header="x-email", trusted_proxies=("10.0.0.1",)
    )
    response = stranger.post("asks", who, question="How?")
    kept = store.get(re.findall(r"asks/([\w-]+)/events", response.text)[0])
    assert kept.asked.person == ""


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_vote_is_stored_changed_and_taken_back(
    box: Start, url: str, store: Store, headers: dict[str, str]
) -> None:
    running = box(Reply(chunks=answer("Yes. ")), database_url=url)
    id = asked(running)

    def vote(**fields: Any) -> StoredQuestion:
        response = httpx.post(f"{running.url}/votes", data={"ask": id, **fields}, headers=headers)
        assert response.status_code == 200, response.text
        assert ("<!doctype" in response.text) is not bool(headers)
        assert headers or "<h2>How?</h2>" in response.text
        return store.get(id)

    assert vote(vote="up").vote == Vote("up")
    reasons = {"reason": ["outdated", "wrong", "nonsense"], "text": " No.\0\x1b "}
    assert vote(vote="down", **reasons).vote == Vote("down", ("wrong", "outdated"), "No.")
    assert vote(vote="").vote is None
    # For the model that answered, once, however often it is changed.
    assert running.gateway.votes[0] == {"alias": "docs", "model": "docs@v7", "vote": "up"}
    assert len(running.gateway.votes) == 1


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"vote": "sideways"}, 422, "was not understood"),
        ({"vote": "down", "text": "x" * 2001}, 422, "longer than 2,000"),
        ({"vote": "up", "ask": "unknown-id-000"}, 404, "no longer kept"),
        ({"vote": "up", "ask": "../../etc"}, 404, "no longer kept"),
    ],
)
def test_a_bad_vote_is_a_sentence(
    box: Start, url: str, fields: dict[str, str], status: int, sentence: str
) -> None:
    running = box(Reply(chunks=answer("Yes. ")), database_url=url)
    form = {"ask": asked(running), **fields}
    response = httpx.post(f"{running.url}/votes", data=form, headers=HTMX)
    assert response.status_code == status
    assert sentence in response.text
    elsewhere = {"sec-fetch-site": "cross-site"}
    assert httpx.post(f"{running.url}/votes", data=form, headers=elsewhere).status_code == 403


def test_a_vote_that_is_not_stored_is_said_not_to_be(
    box: Start, url: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY", 0.5)
    running = box(Reply(chunks=answer("Yes. ")), database_url=url)
    form = {"ask": asked(running), "vote": "down", "text": "It is wrong."}
    locking = sqlite3.connect(tmp_path / "askdocs.db", isolation_level=None)
    locking.execute("BEGIN IMMEDIATE")
    response = httpx.post(f"{running.url}/votes", data=form, headers=HTMX)
    locking.execute("ROLLBACK")
    locking.close()
    assert response.status_code == 503
    assert "could not be stored" in response.text
    assert "It is wrong.</textarea>" in response.text  # kept, to be sent again
    assert store.get(form["ask"]).vote is None
    assert httpx.post(f"{running.url}/votes", data=form, headers=HTMX).status_code == 200


def test_a_box_that_stores_nothing_says_so(box: Start, url: str) -> None:
    running = box(Reply(chunks=answer("Yes. ")), database_url=url, store=False)
    response = httpx.post(
        f"{running.url}/votes", data={"ask": asked(running), "vote": "up"}, headers=HTMX
    )
    assert response.status_code == 503
    assert "stores nothing" in response.text


def test_a_shared_answer_is_a_page_of_its_own(box: Start, url: str, store: Store) -> None:
    running = box(Reply(chunks=answer("It is **so**. ", sources=[SOURCE])), database_url=url)
    id = asked(running)
    made = httpx.post(f"{running.url}/asks/{id}/share", headers=HTMX)
    link = re.findall(r'href="(shared/[\w-]+)"', made.text)[0]
    assert httpx.post(f"{running.url}/asks/{id}/share", headers=HTMX).text == made.text
    page = httpx.get(f"{running.url}/{link}")
    assert page.status_code == 200
    assert "How?" in page.text
    assert "<strong>so</strong>" in page.text
    assert f"{WIKI}/start/" in page.text
    assert id not in page.text  # who knows it may vote
    assert httpx.get(f"{running.url}/{link}x").status_code == 404
    store.forget(visitor=store.get(id).asked.visitor)
    gone = httpx.get(f"{running.url}/{link}")
    assert gone.status_code == 404
    assert "no longer kept" in gone.text


class Tickets:
    """A webhook."""

    def __init__(self) -> None:
        self.posted: list[Any] = []
        self.status = 200
        self.app = Starlette(routes=[Route("/hook", self.take, methods=["POST"])])

    async def take(self, request: Request) -> Response:
        self.posted.append(await request.json())
        return Response(status_code=self.status)


def test_a_question_is_handed_on_once_and_a_failure_is_said(
    box: Start, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    tickets = Tickets()
    with serve(tickets.app) as hook:
        running = box(
            Reply(chunks=answer("No.", refused=True)),
            database_url=url,
            handoff_webhook=f"{hook}/hook?secret=1",
        )
        id = asked(running, question="<!channel> How & why?", page=f"{WIKI}/x")
        address = f"{running.url}/asks/{id}/handoff"
        tickets.status = 500
        assert httpx.post(address, headers=HTMX).status_code == 502
        assert "secret=1" not in caplog.text
        tickets.status = 200
        for _ in range(2):
            response = httpx.post(address, headers=HTMX)
            assert (response.status_code, "was handed on" in response.text) == (200, True)
    assert len(tickets.posted) == 2
    body = tickets.posted[1]
    assert body["question"] == "<!channel> How & why?"
    assert body["page"] == f"{WIKI}/x"
    assert "> &lt;!channel&gt; How &amp; why?" in body["text"]
    assert body["answer"] == "No."


def test_without_a_webhook_there_is_nothing_to_hand_on_to(box: Start, url: str) -> None:
    running = box(Reply(chunks=answer("No.", refused=True)), database_url=url)
    address = f"{running.url}/asks/{asked(running)}/handoff"
    assert httpx.post(address, headers=HTMX).status_code == 404


def test_an_old_answer_is_there_and_can_be_voted_on_after_a_restart(
    box: Start, url: str, store: Store
) -> None:
    id = asked(box(Reply(chunks=answer("Yes. ")), database_url=url))
    again = box(Reply(), database_url=url)
    stream = httpx.get(f"{again.url}/asks/{id}/events").text
    assert "event: done" in stream
    assert "Yes." in stream
    vote = httpx.post(f"{again.url}/votes", data={"ask": id, "vote": "up"})
    assert vote.status_code == 200
    assert "Yes." in vote.text
    assert store.get(id).vote == Vote("up")


CLOSED = [
    chunk("98,765 euros. "),
    chunk(None, finish_reason="stop", askdocs={"model": "m", "readers": [["hr"]]}),
    b"data: [DONE]\n\n",
]


def test_a_closed_answer_is_not_handed_on_nor_shared_without_rights(
    box: Start, url: str, store: Store
) -> None:
    tickets = Tickets()
    with serve(tickets.app) as hook:
        given = {"database_url": url, "handoff_webhook": f"{hook}/hook"}
        running = box(Reply(chunks=CLOSED), **given)
        id = asked(running, page=f"{WIKI}/pay/", quote="98,765 euros")
        assert store.get(id).answered.answer == "98,765 euros. "
        for one in (running, box(Reply(), **given)):  # the second has it from the database
            assert httpx.post(f"{one.url}/asks/{id}/handoff", headers=HTMX).status_code == 200
    sent = [
        [body[name] for name in ("question", "answer", "page", "quote")] for body in tickets.posted
    ]
    assert sent == [["How?", "", "", ""]] * 2


async def test_a_gateway_that_knows_no_rights_opens_only_what_was_open(
    box: Start, url: str
) -> None:
    """It answers 404, as a proxy in front of it may do, too."""
    running = box(Reply(chunks=answer("Yes. ")), database_url=url)
    gateway = Gateway(WidgetSettings(gateway_url=running.url, gateway_key=None))
    try:
        for groups in (frozenset[str](), frozenset({"hr"})):
            assert await gateway.may_read([f"{WIKI}/pay/"], groups, is_open=True)
            assert not await gateway.may_read([f"{WIKI}/pay/"], groups)
    finally:
        await gateway.close()


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_a_gateway_that_refuses_the_box_opens_no_stored_answer(status: int) -> None:
    """Only a 404 may: a key that is refused says nothing about who may read."""

    async def refuse(request: Request) -> Response:
        return JSONResponse({"error": {"code": "not_allowed"}}, status)

    with serve(Starlette(routes=[Route(readable.PATH, refuse, methods=["POST"])])) as url:
        gateway = Gateway(WidgetSettings(gateway_url=url, gateway_key=None))
        try:
            for groups in (frozenset[str](), frozenset({"hr"})):
                assert not await gateway.may_read([f"{WIKI}/pay/"], groups, is_open=True)
        finally:
            await gateway.close()


async def test_a_question_is_asked_without_what_was_closed_since() -> None:
    closed: set[str] = set()

    requests: list[list[str]] = []

    async def may(request: Request) -> Response:
        urls = (await request.json())["urls"]
        requests.append(urls)
        return JSONResponse({"readable": [url not in closed for url in urls]})

    def turn(question: str, page: str) -> Turn:
        return Turn(question, Answered("answered", "So.", outcome={"pages": [{"url": page}]}))

    with serve(Starlette(routes=[Route(readable.PATH, may, methods=["POST"])])) as address:
        gateway = Gateway(WidgetSettings(gateway_url=address, gateway_key=None))
        try:
            turns = [turn("Tea?", f"{WIKI}/tea/"), turn("Pay?", f"{WIKI}/pay/"), turn("And?", "")]
            turns_now = await gateway.readable_turns(turns, frozenset())
            assert [question for question, _ in turns_now] == ["Tea?", "Pay?", "And?"]
            closed.add(f"{WIKI}/pay/")  # the question after it may repeat it
            turns_now = await gateway.readable_turns(turns, frozenset())
            assert [question for question, _ in turns_now] == ["Tea?"]
            assert requests == [[f"{WIKI}/tea/", f"{WIKI}/pay/"]] * 2  # one for all turns
        finally:
            await gateway.close()


def test_an_answer_that_is_closed_is_not_read_by_its_name(
    box: Start, url: str, store: Store
) -> None:
    id = asked(box(Reply(chunks=CLOSED), database_url=url))
    again = box(Reply(), database_url=url)  # it knows of it from the database alone
    told = httpx.get(f"{again.url}/asks/{id}/events").text
    assert "98,765" not in told
    assert "The connection was lost" in told
    vote = httpx.post(f"{again.url}/votes", data={"ask": id, "vote": "up"})
    assert vote.status_code == 200
    assert "98,765" not in vote.text


async def test_a_gateway_that_does_not_tell_all_rights_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is of before, or the key may not pass on all groups."""

    async def tell(request: Request) -> Response:
        return JSONResponse({"readable": []})

    with serve(Starlette(routes=[Route(readable.PATH, tell, methods=["POST"])])) as address:
        gateway = Gateway(WidgetSettings(gateway_url=address, gateway_key=None))
        try:
            assert await gateway.rights([]) is None
        finally:
            await gateway.close()
    assert not caplog.records


@pytest.mark.parametrize(
    ("code", "asks_again", "says"),
    [("not_allowed", True, "may not pass on groups"), ("model_not_allowed", False, "403")],
)
async def test_only_a_key_that_may_not_pass_on_groups_is_told_so(
    code: str, asks_again: bool, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def tell(request: Request) -> Response:
        if GROUPS_HEADER in request.headers:
            return JSONResponse({"error": {"code": code}}, 403)
        return JSONResponse({"readable": [True]})

    with serve(Starlette(routes=[Route(readable.PATH, tell, methods=["POST"])])) as address:
        gateway = Gateway(WidgetSettings(gateway_url=address, gateway_key=None))
        try:
            assert await gateway.may_read([f"{WIKI}/tea/"], frozenset({"hr"})) is asks_again
        finally:
            await gateway.close()
    assert says in caplog.text
