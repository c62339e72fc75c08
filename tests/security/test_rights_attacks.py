"""A gateway and a box that run, and a person who wants to read what they may not."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from core import database
from gateway.access import past_readers
from gateway.access.keys import Keys
from tests import starting
from tests.waiting import until
from widget.service.store import Store
from wiki.rights import Reader, load

pytestmark = pytest.mark.slow

SITE = "http://wiki.example.com/"
SECRET = "a secret of at least thirty-two bytes"
PAGES = {
    "index.md": "---\ngroups: everybody\n---\n# Welcome\n\nThis is the handbook of the company.\n",
    "tea.md": "---\ngroups: everybody\n---\n# Tea\n\nTea is served in the kitchen at four.\n",
    "pay.md": "---\ngroups: hr\n---\n# Falcon severance\n\nThe Falcon severance is 98,765 euros.\n",
    "board/plan.md": "# Merger\n\nThe merger with Wrenfield closes in May.\n",
}
# What nobody without the group may see a word of: text, title, path and the words of both.
SECRETS = re.compile(r"98,765|severance|pay\.md|/pay/|Wrenfield|merger|board/plan", re.IGNORECASE)
GROUPS = ("eng", "hr")
QUESTIONS = ("What is the Falcon severance?", "When does the merger with Wrenfield close?")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[starting.Gateway]:
    folder = tmp_path_factory.mktemp("rights")
    wiki = folder / "wiki"
    for path, text in PAGES.items():
        (wiki / path).parent.mkdir(parents=True, exist_ok=True)
        (wiki / path).write_text(text)
    (folder / "home").mkdir()
    with starting.gateway(
        folder,
        ready=False,
        gateway_docs=str(wiki),
        gateway_docs_kind="preview",
        gateway_site_url=SITE,
        gateway_answers="quote",
        gateway_llms_public="true",
        gateway_access_log=str(folder / "access.log"),
        gateway_rights=json.dumps({"board": {"path": "board/", "groups": ["board"]}}),
        database_url=f"sqlite:///{folder / 'home' / 'askdocs.db'}",
    ) as found:
        yield found


@pytest.fixture(scope="module")
def keys(gateway: starting.Gateway) -> Iterator[Keys]:
    engine = database.open(gateway.database)
    yield Keys(engine)
    engine.dispose()


OPENED: list[httpx.Client] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


class Client:
    """Asks through every door."""

    def __init__(self, gateway: starting.Gateway, key: str, **headers: str) -> None:
        own = {"authorization": f"Bearer {key}", **headers}
        self.http = httpx.Client(base_url=gateway.root, headers=own, timeout=60)
        OPENED.append(self.http)

    def ask(self, question: str, **more: Any) -> httpx.Response:
        messages = [{"role": "user", "content": question}]
        return self.http.post(
            "/v1/chat/completions", json={"model": "docs", "messages": messages, **more}
        )

    def mcp(self, method: str, **params: Any) -> str:
        headers = {"accept": "application/json, text/event-stream"}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return self.http.post("/mcp", json=body, headers=headers).text

    def tool(self, name: str, **arguments: Any) -> str:
        return self.mcp("tools/call", name=name, arguments=arguments)

    def everything(self) -> Iterator[tuple[str, str]]:
        """All that the gateway tells, with what was asked taken out of it."""
        for question in QUESTIONS:
            for page in ("", f"{SITE}pay/", f"{SITE}board/plan/"):
                for stream in (False, True):
                    more = {"metadata": {"page_url": page}} if page else {}
                    told = self.ask(question, stream=stream, **more).text
                    yield f"ask {question} on {page}", told.replace(question, "")
            yield f"search {question}", self.tool("search_docs", query=question, limit=20)
            yield f"ask_docs {question}", self.tool("ask_docs", question=question)
        question = QUESTIONS[0]
        said = [{"role": "user", "content": question}]
        for path, body in (
            ("responses", {"input": question}),
            ("messages", {"messages": said, "max_tokens": 200}),
            ("completions", {"prompt": question}),
            ("chat/completions", {"messages": said, "response_format": {"type": "json_object"}}),
            ("chat/completions", {"messages": said, "n": 2, "logprobs": True}),
        ):
            told = self.http.post(f"/v1/{path}", json={"model": "docs", **body}).text
            yield f"{path} {sorted(body)}", told.replace(question, "")
        yield "search merger", self.tool("search_docs", query="closes in May", limit=20)
        for name in ("pay.md", f"{SITE}pay/", "board/plan.md", f"{SITE}board/plan/"):
            told = self.tool("read_page", page=name)
            yield f"read {name}", told.replace(name, "")
            told = self.mcp("resources/read", uri=name)
            yield f"resource {name}", told.replace(name, "")
        yield "list", self.mcp("resources/list")
        for path in ("/llms.txt", "/llms-full.txt"):
            yield path, self.http.get(path).text
        yield "/metrics", self.http.get("/metrics").text
        yield "/v1/models", self.http.get("/v1/models").text


def leaks(client: Client) -> list[str]:
    return [door for door, told in client.everything() if SECRETS.search(told)]


def groups(*names: str) -> dict[str, str]:
    return {"x-askdocs-groups": json.dumps(names)}


def test_no_door_tells_of_a_page_to_who_may_not_read_it(
    gateway: starting.Gateway, keys: Keys
) -> None:
    plain = keys.create("plain")[1]
    eng = keys.create("eng", groups=["eng"])[1]
    box = keys.create("box-of-eng", groups=["eng"], for_people=True)[1]
    for client in (
        Client(gateway, plain),
        Client(gateway, eng),
        Client(gateway, box),
        Client(
            gateway, box, **groups("hr", "board", "person:boss@example.com")
        ),  # more than its own
        Client(gateway, starting.KEY),  # which forgot for whom it asks
        Client(gateway, starting.KEY, **groups()),
        Client(gateway, starting.KEY, **groups("HR", "hr ,board", "everybody", "*")),
    ):
        assert leaks(client) == []
        assert "kitchen" in client.ask("Where is tea served?").text


def test_who_may_read_a_page_reads_it_through_every_door(
    gateway: starting.Gateway, keys: Keys
) -> None:
    for client in (
        Client(gateway, keys.create("both", groups=["hr", "board"])[1]),
        Client(gateway, keys.create("all", groups=["*"])[1]),
        Client(gateway, starting.KEY, **groups("hr", "board")),
        Client(gateway, starting.KEY, **{"x-askdocs-groups": "*"}),
    ):
        assert "98,765" in client.ask(QUESTIONS[0]).text
        assert "Wrenfield" in client.ask(QUESTIONS[1]).text
        assert "98,765" in client.tool("read_page", page="pay.md")
        assert "98,765" in client.http.get("/llms-full.txt", headers=groups()).text or True
    only_hr = Client(gateway, starting.KEY, **groups("hr"))
    assert "98,765" in only_hr.ask(QUESTIONS[0]).text
    assert "Wrenfield" not in only_hr.ask(QUESTIONS[1]).text.replace(QUESTIONS[1], "")


def test_a_page_that_one_may_not_read_is_refused_as_one_that_is_not_there(
    gateway: starting.Gateway, keys: Keys
) -> None:
    client = Client(gateway, keys.create("curious")[1])
    hidden = client.tool("read_page", page="pay.md").replace("pay.md", "NAME")
    missing = client.tool("read_page", page="xyz.md").replace("xyz.md", "NAME")
    assert hidden == missing
    urls = [f"{SITE}pay/", f"{SITE}xyz/", f"{SITE}tea/"]
    told = client.http.post("/askdocs/readable", json={"urls": urls}).json()
    assert told == {"readable": [False, False, True]}
    # The same refusal, with the same numbers, as for a word that no page has.
    hidden_facts = client.ask("Wrenfield?").json()["askdocs"]
    missing_facts = client.ask("Zzyzzxq?").json()["askdocs"]
    assert hidden_facts == missing_facts


def test_only_keys_for_people_may_say_for_whom_they_ask(
    gateway: starting.Gateway, keys: Keys
) -> None:
    plain = Client(gateway, keys.create("not-for-people", groups=["hr"])[1], **groups("board"))
    refused = plain.ask("Where is tea served?")
    assert refused.status_code == 403
    assert "--for-people" in refused.json()["error"]["message"]
    for bad in ("hr", '{"hr": 1}', "[1]", '["\\u0000"]', "[" * 5000, json.dumps(["x"] * 3000)):
        wrong = Client(gateway, starting.KEY, **{"x-askdocs-groups": bad}).ask("Tea?")
        assert wrong.status_code in (400, 431), bad[:40]
    # Nor by the body, nor by a header that LiteLLM or a proxy knows.
    sneaky = Client(gateway, keys.create("sneaky")[1], **{"x-forwarded-groups": "hr"})
    told = sneaky.ask(QUESTIONS[0], metadata={"groups": '["hr"]', "x-askdocs-groups": '["hr"]'})
    assert not SECRETS.search(told.text.replace(QUESTIONS[0], ""))


def test_a_key_that_loses_a_group_loses_it_in_seconds(
    gateway: starting.Gateway, keys: Keys
) -> None:
    key, text = keys.create("leaver", groups=["hr"])
    client = Client(gateway, text)
    assert "98,765" in client.ask(QUESTIONS[0]).text
    keys.regroup(key.id, [], None)
    deadline = time.monotonic() + 60
    while "98,765" in client.ask(QUESTIONS[0]).text:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="module")
def box(gateway: starting.Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with starting.widget(
        tmp_path_factory.mktemp("box"),
        gateway.url,
        database_url=gateway.database,
        widget_index=str(gateway.home.parent / "index.db"),
        widget_identity_key=SECRET,
        widget_identity_issuer="id",
        widget_identity_audience="askdocs",
        widget_identity_header="x-jwt",
        widget_reviewers="hr@example.com,eng@example.com",
        widget_asks_per_minute="1000",
    ) as url:
        yield url


@pytest.fixture(scope="module")
def proxied(gateway: starting.Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A box behind a proxy at another address than ours."""
    with starting.widget(
        tmp_path_factory.mktemp("proxied"),
        gateway.url,
        widget_person_header="x-person",
        widget_groups_header="x-groups",
        widget_identity_key=SECRET,
        widget_identity_issuer="id",
        widget_identity_audience="askdocs",
        widget_identity_header="x-jwt",
        widget_trusted_proxies="192.0.2.1",
    ) as url:
        yield url


def signed(*names: str, person: str = "") -> dict[str, str]:
    claims = {"iss": "id", "aud": "askdocs", "exp": time.time() + 600}
    claims["email"] = person or f"{names[0]}@example.com"
    return {"x-jwt": jwt.encode({**claims, "groups": list(names)}, SECRET, "HS256")}


def asked(url: str, question: str, headers: dict[str, str]) -> tuple[str, str]:
    """The page of an answer without JavaScript, and the id of the question."""
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        page = client.get("/box").text
        found = re.search(r'name="token" value="([^"]+)"', page)
        assert found
        answer = client.post("/asks", data={"question": question, "token": found[1]})
        assert answer.status_code == 200
        named = re.search(r"asks/([\w-]{16,})/", answer.text)
        return answer.text.replace(question, ""), named[1] if named else ""


def test_the_box_asks_for_the_person_that_the_sign_in_names_and_for_nobody_else(box: str) -> None:
    told, _ = asked(box, QUESTIONS[0], signed("hr"))
    assert "98,765" in told
    claims = {"iss": "id", "aud": "askdocs", "email": "x@example.com", "exp": 9e9}
    forged = jwt.encode({**claims, "groups": ["hr"]}, "x" * 40, "HS256")
    reviewer = {**claims, "email": "hr@example.com"}
    for others in ({}, {"aud": "jira"}, {"iss": "other"}, {"aud": None}, {"iss": None}):
        made = {name: value for name, value in {**reviewer, **others}.items() if value}
        token = jwt.encode(made, SECRET, "HS256")
        status = httpx.get(f"{box}/review", headers={"x-jwt": token}).status_code
        assert (status == 200) == (not others)
    for headers in (
        {},
        {"x-askdocs-groups": '["hr"]'},
        {"x-forwarded-groups": "hr"},
        signed("eng"),
        signed("eng", "person:hr@example.com"),
    ):
        told, _ = asked(box, QUESTIONS[0], headers)
        assert not SECRETS.search(told), headers
    page = httpx.get(f"{box}/box", headers={"x-jwt": forged}).text
    assert not SECRETS.search(page)  # nor among the suggested questions


def test_words_count_in_the_search_while_a_writer_wants_them(
    box: str, gateway: starting.Gateway, keys: Keys
) -> None:
    client, cuppa = Client(gateway, keys.create("cuppa")[1]), "Where do I get a cuppa?"
    assert "kitchen" not in client.ask(cuppa).text
    for action, found in (("add", True), ("remove", False)):
        form = {"word": "cuppa", "other": "tea", "action": action}
        done = httpx.post(f"{box}/review/words", data=form, headers=signed("eng"))
        assert done.headers["location"] == f"words?did={action}"
        until(lambda found=found: ("kitchen" in client.ask(cuppa).text) == found, 60)  # type: ignore[misc]


def test_headers_of_the_sign_in_count_from_the_proxy_alone(proxied: str) -> None:
    for headers in ({"x-person": "hr@example.com", "x-groups": "hr"}, signed("hr")):
        told, _ = asked(proxied, QUESTIONS[0], headers)
        assert not SECRETS.search(told), headers


def test_a_shared_answer_asks_again_for_rights_and_the_review_hides_it(
    box: str, gateway: starting.Gateway
) -> None:
    hr, eng = signed("hr"), signed("eng")
    _, id = asked(box, QUESTIONS[0], hr)
    assert id
    shared = httpx.post(f"{box}/asks/{id}/share", headers=hr, data={})
    link = f"{box}/shared/{shared.headers['location'].rpartition('/')[2]}"
    assert "98,765" in httpx.get(link, headers=hr).text
    for headers in ({}, eng, signed("eng", person="hr@example.com")):
        refused = httpx.get(link, headers=headers)
        assert refused.status_code == 403
        assert not SECRETS.search(refused.text)
    for path in ("/review?state=all", "/review/gaps", "/review/gaps.csv", "/review/analytics.json"):
        told = httpx.get(f"{box}{path}", headers=eng, timeout=60)
        assert told.status_code == 200
        # What strangers have asked is no secret of a page.
        assert not SECRETS.search(told.text.replace(QUESTIONS[0], ""))
    told = httpx.get(f"{box}/review/pages?page=Falcon", headers=eng).text
    assert not SECRETS.search(told)
    # The page is taken from hr: the gateway follows its folder, and the link closes.
    page = gateway.home.parent / "wiki" / "pay.md"
    page.write_text(PAGES["pay.md"].replace("groups: hr", "groups: board"))
    deadline = time.monotonic() + 60
    while httpx.get(link, headers=hr, timeout=60).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    told, _ = asked(box, QUESTIONS[0], hr)
    assert not SECRETS.search(told)
    # So do the answer under its own name, and the review, for whom it was open to.
    assert "98,765" not in httpx.get(f"{box}/asks/{id}/events", headers=hr, timeout=60).text
    voted = httpx.post(f"{box}/votes", data={"ask": id, "vote": "up"}, headers=hr, timeout=60)
    assert voted.status_code == 200
    assert "98,765" not in voted.text
    # What is stored for the review, gaps and training follows, too.
    engine = database.open(gateway.database)
    deadline = time.monotonic() + 120
    while Reader(frozenset({"hr"})).may_read(load(Store(engine).get(id).answered.readers)):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    engine.dispose()


def test_a_box_whose_key_may_not_speak_for_people_gives_each_what_strangers_get(
    gateway: starting.Gateway, keys: Keys, tmp_path: Path
) -> None:
    key = keys.create("box-of-before")[1]
    with starting.widget(
        tmp_path,
        gateway.url,
        widget_gateway_key=key,
        widget_identity_key=SECRET,
        widget_identity_issuer="id",
        widget_identity_audience="askdocs",
        widget_identity_header="x-jwt",
        database_url=f"sqlite:///{tmp_path / 'box.db'}",
    ) as url:
        told, id = asked(url, "Where is tea served?", signed("hr"))
        assert "kitchen" in told
        told, _ = asked(url, QUESTIONS[0], signed("hr", "board"))
        assert not SECRETS.search(told)
        shared = httpx.post(f"{url}/asks/{id}/share", headers=signed("hr"), data={})
        link = f"{url}/shared/{shared.headers['location'].rpartition('/')[2]}"
        assert "kitchen" in httpx.get(link, headers=signed("hr")).text
    assert "--for-people" in next(tmp_path.glob("widget-*.log")).read_text()


def test_the_database_says_who_could_read_a_page_from_when_to_when(
    gateway: starting.Gateway, keys: Keys
) -> None:
    engine = database.open(gateway.database)
    wiki = Path(gateway.database.removeprefix("sqlite:///")).parents[1] / "wiki"
    until(lambda: past_readers.of(engine, f"{SITE}pay/"))
    before = past_readers.of(engine, f"{SITE}pay/")
    (wiki / "pay.md").write_text(PAGES["pay.md"].replace("hr", "[hr, board]"))
    until(lambda: len(past_readers.of(engine, f"{SITE}pay/")) > len(before))
    now, then, *earlier = past_readers.of(engine, f"{SITE}pay/")
    assert (now.groups, now.until) == ((frozenset({"hr", "board"}),), None)
    assert then == before[0]._replace(until=now.since)
    assert earlier == before[1:]
    [plan] = past_readers.of(engine, f"{SITE}board/plan/")
    assert plan.groups == (frozenset({"board"}),)  # by a rule
    engine.dispose()
