import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.widget.conftest import WIKI, Box
from tests.widget.stand_in import Reply, answer, chunk, data, reading, serve
from widget.access import tokens
from widget.app import create_app
from widget.box import answers
from widget.service import pending
from widget.settings import WidgetSettings

HTMX = {"hx-request": "true", "sec-fetch-site": "same-origin"}
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>"
SOURCE = {
    "title": "Getting started",
    "section": "Install › Linux",
    "url": f"{WIKI}/start/#linux",
    "quote": "Run `make run`. See [ports](../ports/).",
}

Start = Callable[..., Box]


def ask(box: Box, question: str = "How do I start?", page: str = "") -> str:
    """Post a question; returns its id."""
    response = box.post("asks", HTMX, question=question, page=page)
    assert response.status_code == 200, response.text
    found = re.search(r'sse-connect="asks/([\w-]+)/events"', response.text)
    assert found
    return found[1]


def events(box: Box, id: str) -> Iterator[tuple[str, str]]:
    """The events of an answer, as a browser reads them."""
    with httpx.stream("GET", f"{box.url}/asks/{id}/events", timeout=30) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        name, lines = "", list[str]()
        for line in response.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                lines.append(line.removeprefix("data: "))
            elif line.startswith(":"):
                yield "", line
            elif not line and name:
                yield name, "\n".join(lines)
                name, lines = "", []


def outcome(box: Box, **question: str) -> tuple[str, str]:
    """Ask and return the last event but the end."""
    *_, last, end = events(box, ask(box, **question))
    assert end == ("end", "")
    return last


def text(html: str) -> str:
    """What a reader reads."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_an_answer_streams_and_ends_with_its_sources(box: Start) -> None:
    page = {"title": "Getting started", "url": f"{WIKI}/start/", "tokens": 1204}
    chunks = [b": hi\n\n", reading(page, seconds=2.1), *answer("One. Two. ", sources=[SOURCE])]
    running = box(Reply(chunks=chunks, pause=0.2))
    seen = list(events(running, ask(running, page=f"{WIKI}/start/")))
    names = [name for name, _ in seen]
    assert names == ["reading", "answer", "answer", "done", "end"]
    assert text(seen[0][1]) == "Reading “Getting started”…"
    assert [text(html) for _, html in seen[1:3]] == ["One.", "One. Two."]
    done = seen[3][1]
    passage = "#linux:~:text=Run%20make%20run.%20See%20ports."
    assert f'<a href="{WIKI}/start/{passage}" target="_top" rel="noopener nofollow">' in done
    assert "Getting started › Install › Linux" in text(done)
    assert f'<a href="{WIKI}/ports/" target="_top"' in done
    assert "Answered by SmolLM2-135M-Instruct" in done
    # A pseudonym, by which a canary is sticky.
    assert re.fullmatch("[0-9a-f]{20}", running.gateway.requests[0].pop("user"))
    assert running.gateway.requests == [
        {
            "model": "docs",
            "messages": [{"role": "user", "content": "How do I start?"}],
            "stream": True,
            "metadata": {"page_url": f"{WIKI}/start/"},
        }
    ]
    assert running.gateway.headers[0]["authorization"] == "Bearer ask-test"
    assert running.gateway.headers[0]["x-askdocs-progress"] == "on"


def test_a_fast_stream_is_shown_at_a_bounded_rate(box: Start) -> None:
    running = box(Reply(chunks=answer("Word. " * 400)))
    seen = list(events(running, ask(running)))
    assert sum(name == "answer" for name, _ in seen) < 20
    assert text(seen[-2][1]).startswith("Word. " * 399)


def test_a_refusal_names_the_best_pages(box: Start) -> None:
    pages = [{"title": "Pricing", "url": f"{WIKI}/price/"}, {"title": "No", "url": "javascript:x"}]
    running = box(Reply(chunks=answer("I don't have enough.", refused=True, pages=pages)))
    name, html = outcome(running)
    assert name == "done"
    assert "Not in the docs" in html
    assert f'<a href="{WIKI}/price/" target="_top"' in html
    assert "javascript:" not in html
    assert "don't have enough" not in html


def test_annotations_are_sources_enough(box: Start) -> None:
    citation = {"url": f"{WIKI}/a/", "title": "A page", "start_index": 0, "end_index": 1}
    annotation = {"type": "url_citation", "url_citation": citation}
    last = {"choices": [{"delta": {"annotations": [annotation] * 2}, "finish_reason": "stop"}]}
    running = box(Reply(chunks=[chunk("Yes."), data(last), b"data: [DONE]\n\n"]))
    _, html = outcome(running)
    assert html.count(f'href="{WIKI}/a/"') == 1


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (Reply(401, body={"error": {"code": "invalid_api_key"}}), "does not accept this box’s key"),
        (Reply(404, body={"error": {"code": "model_not_found"}}), "does not know the model"),
        (Reply(429, {"retry-after": "20"}, {"error": {}}), "Please try again in 20 seconds"),
        (Reply(429, {"retry-after": "nonsense"}, {}), "asking right now. Please try again in a mo"),
        (
            Reply(503, {"retry-after": "600"}, {"error": {}}),
            "not ready yet. Please try again in 10 m",
        ),
        (Reply(400, body={"error": {"code": "context_length_exceeded"}}), "too long for the model"),
        (Reply(500, body="<h1>secret trace</h1>"), "Something went wrong"),
        (Reply(chunks=[chunk("Half an ")], broken=True), "The answer broke off"),
        (Reply(chunks=[chunk("Half an ")]), "The answer broke off"),
        (Reply(chunks=[chunk("Half an "), data({"error": {"type": "api_error"}})]), "broke off"),
        (Reply(chunks=[data({"error": {"type": "rate_limit_error"}})]), "Many people are asking"),
        (Reply(chunks=[b"data: [DONE]\n\n"]), "The model gave no answer"),
        (Reply(chunks=[b'data: nonsense\n\ndata: []\n\ndata: {"choices": 3}\n\n']), "broke off"),
    ],
)
def test_a_failure_is_a_sentence_and_one_button(box: Start, reply: Reply, sentence: str) -> None:
    running = box(reply)
    name, html = outcome(running)
    assert name == "failed"
    assert sentence in text(html)
    assert html.count("<button") == 1
    assert "secret" not in html
    if any(b"Half" in piece for piece in reply.chunks):
        assert "Half an" in html


def test_an_unreachable_gateway_is_a_sentence() -> None:
    settings = WidgetSettings(gateway_url="http://127.0.0.1:9/v1")
    with serve(create_app(settings)) as url:
        name, html = outcome(Box(url, None))  # type: ignore[arg-type]
    assert name == "failed"
    assert "cannot be reached" in html


def test_hostile_content_is_only_text(box: Start) -> None:
    source = {"title": HOSTILE, "section": HOSTILE, "url": "javascript:alert(1)", "quote": HOSTILE}
    page = {"title": HOSTILE, "url": HOSTILE, "tokens": 5}
    chunks = [reading(page), *answer(HOSTILE, model=HOSTILE, sources=[source])]
    running = box(Reply(chunks=chunks, pause=0.15))
    response = running.post("asks", HTMX, question=HOSTILE)
    everything = response.text
    id = re.findall(r"asks/([\w-]+)/events", everything)[0]
    everything += "".join(html for _, html in events(running, id))
    assert everything.count("alert(1)") > 5
    assert not re.search(r"<script|<img|javascript:", everything)


def test_without_javascript_the_form_gets_a_whole_page(box: Start) -> None:
    running = box(Reply(chunks=answer("It is **easy**.", sources=[SOURCE])))
    response = running.post("asks", {}, question="How?", page=f"{WIKI}/start/")
    assert response.status_code == 200
    assert response.text.startswith("<!doctype html>")
    assert response.text.rstrip().endswith("</html>")
    assert "<strong>easy</strong>" in response.text
    assert "<h2>How?</h2>" in response.text
    assert f'name="page" value="{WIKI}/start/"' in response.text
    assert "sse-connect" not in response.text


@pytest.mark.parametrize("headers", [{}, HTMX])
@pytest.mark.parametrize("question", ["", "x" * 2001, "x" * 100_000])
def test_a_bad_question_is_a_sentence(box: Start, question: str, headers: dict[str, str]) -> None:
    running = box(Reply())
    response = httpx.post(f"{running.url}/asks", data={"question": question}, headers=headers)
    assert response.status_code == 422
    assert "Please" in response.text or "2,000 characters is the most" in response.text
    assert ("<!doctype" in response.text) is not bool(headers)
    if len(question) == 2001 and not headers:
        assert question in response.text  # kept


def test_stop_keeps_what_there_is_and_stops_the_gateway(box: Start) -> None:
    running = box(Reply(chunks=[chunk("A beginning. "), *answer("More. " * 500)], pause=0.3))
    id = ask(running)
    stream = events(running, id)
    assert next(stream)[0] == "answer"
    assert httpx.post(f"{running.url}/asks/{id}/stop", headers=HTMX).status_code == 204
    name, html = next(event for event in stream if event[0] != "answer")
    assert name == "done"
    assert "A beginning." in html
    assert "Ask again" in html
    assert running.gateway.left.wait(30)


def test_a_reader_who_leaves_stops_the_gateway(box: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    running = box(Reply(chunks=answer("More. " * 500), pause=0.2))
    stream = events(running, ask(running))
    assert next(stream)[0] == "answer"
    monkeypatch.setattr(pending, "GRACE", 0.3)
    stream.close()  # type: ignore[attr-defined]
    assert running.gateway.left.wait(30)


def test_a_reader_without_javascript_who_leaves_stops_the_gateway(
    box: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = box(Reply(chunks=answer("More. " * 500), pause=0.2))
    form = {"question": "How?", "token": running.token()}
    with httpx.stream("POST", f"{running.url}/asks", data=form) as response:
        pieces = response.iter_text()  # held: httpx closes the response with its iterator
        assert "<header>" in next(pieces)
        assert running.gateway.began.wait(30)
        monkeypatch.setattr(pending, "GRACE", 0.3)
    assert running.gateway.left.wait(30)


def test_a_browser_that_reconnects_finds_the_answer_and_does_not_ask_again(box: Start) -> None:
    running = box(Reply(chunks=answer("One. Two. Three. Four. "), pause=0.3))
    id = ask(running)
    stream = events(running, id)
    assert text(next(stream)[1]) == "One."
    stream.close()  # type: ignore[attr-defined]
    seen = list(events(running, id))
    assert text(seen[0][1]).startswith("One.")
    assert [name for name, _ in seen][-2:] == ["done", "end"]
    assert "One. Two. Three. Four." in text(seen[-2][1])
    assert len(running.gateway.requests) == 1


def test_a_browser_that_has_the_answer_gets_only_its_end(box: Start) -> None:
    running = box(Reply(chunks=answer("Yes.")))
    address = f"{running.url}/asks/{ask(running)}/events"
    last = re.findall(r"^id: (\d+)$", httpx.get(address).text, re.MULTILINE)[-1]
    again = httpx.get(address, headers={"last-event-id": last}).text
    assert again == "event: end\ndata: \n\n"
    assert "event: done" in httpx.get(address).text
    assert len(running.gateway.requests) == 1


def test_two_readers_of_one_answer_both_get_it(box: Start) -> None:
    running = box(Reply(chunks=answer("One. Two. Three. "), pause=0.2))
    id = ask(running)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: list(events(running, id)), range(2)))
    assert [text(seen[-2][1])[:16] for seen in both] == ["One. Two. Three."] * 2
    assert len(running.gateway.requests) == 1


def test_an_unknown_answer_is_a_lost_connection(box: Start) -> None:
    running = box(Reply())
    name, html = next(events(running, "unknown-id-000"))
    assert (name, "connection was lost" in html) == ("failed", True)
    assert 'form="again-unknown-id-000"' in html


def test_a_conversation_is_asked_with_what_was_said(box: Start) -> None:
    running = box(Reply(chunks=answer("It is blue. ")))
    first = running.post("asks", HTMX, question="What colour?")
    id = re.findall(r"asks/([\w-]+)/events", first.text)[0]
    list(events(running, id))
    quote = "two\nlines"
    token = re.findall(r'name="token" value="([^"]+)"', first.text)[0]
    second = running.post("asks", HTMX, question="Why?", token=token, quote=quote)
    list(events(running, re.findall(r"asks/([\w-]+)/events", second.text)[0]))
    assert running.gateway.requests[1]["messages"] == [
        {"role": "user", "content": "What colour?"},
        {"role": "assistant", "content": "It is blue. "},
        {"role": "user", "content": "> two\n> lines\n\nWhy?"},
    ]


def test_nobody_joins_a_conversation_of_somebody_else(box: Start) -> None:
    running = box(Reply(chunks=answer("It is blue. ")))
    first = running.post("asks", HTMX, question="What colour?")
    id = re.findall(r"asks/([\w-]+)/events", first.text)[0]
    theirs = re.findall(r'name="token" value="([^"]+)"', first.text)[0]
    list(events(running, id))
    # A link that somebody sends, and a form that somebody makes.
    page = httpx.get(f"{running.url}/box", params={"conversation": id, "token": theirs}).text
    token = re.findall(r'name="token" value="([^"]+)"', page)[0]
    assert id not in page
    for fields in ({"token": token}, {"conversation": id}):
        second = running.post("asks", HTMX, question="Why?", **fields)
        list(events(running, re.findall(r"asks/([\w-]+)/events", second.text)[0]))
        assert running.gateway.requests[-1]["messages"] == [{"role": "user", "content": "Why?"}]


def test_a_conversation_of_a_person_is_not_that_of_the_next_one(box: Start) -> None:
    running = box(Reply(chunks=answer("It is blue. ")), person_header="x-email")
    jo, al = ({**HTMX, "x-email": name} for name in ("jo@example.com", "al@example.com"))
    token = running.token()
    for headers, count in ((jo, 1), (jo, 3), (al, 1)):
        response = running.post("asks", headers, question="What colour?", token=token)
        list(events(running, re.findall(r"asks/([\w-]+)/events", response.text)[0]))
        token = re.findall(r'name="token" value="([^"]+)"', response.text)[0]
        assert len(running.gateway.requests[-1]["messages"]) == count


@pytest.mark.slow
def test_a_thousand_questions_that_nobody_follows_do_not_close_the_box(
    box: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long the flood takes, no place becomes free by waiting.
    monkeypatch.setattr("widget.service.pending.PATIENCE", 10_000)
    running = box(
        Reply(chunks=answer("Yes.")), asks_per_minute=10_000, trusted_proxies=("127.0.0.1",)
    )
    token = running.token()
    flood = {**HTMX, "x-forwarded-for": "203.0.113.1"}
    with httpx.Client(headers=flood) as client:
        fields = {"question": "How?", "page": "", "token": token}
        for number in range(1100):
            agent = {"user-agent": str(number)}
            sent = client.post(f"{running.url}/asks", data=fields, headers=agent)
            assert sent.status_code == 200
    other = {**HTMX, "x-forwarded-for": "203.0.113.2"}
    response = running.post("asks", other, question="How?")
    assert response.status_code == 200
    id = re.findall(r"asks/([\w-]+)/events", response.text)[0]
    assert [name for name, _ in events(running, id)][-2:] == ["done", "end"]


def test_a_new_user_agent_or_cookie_is_not_a_new_visitor(box: Start) -> None:
    running = box(Reply(chunks=answer("Yes.")), asks_per_minute=2, visitors="cookie")
    statuses = [
        running.post(
            "asks", {**HTMX, "user-agent": n, "cookie": f"askdocs_visitor={n}"}, question="How?"
        ).status_code
        for n in "abc"
    ]
    assert statuses == [200, 200, 429]
    vote = running.post("votes", {**HTMX, "user-agent": "d"}, ask="x" * 12, vote="up")
    assert vote.status_code == 429


@pytest.mark.parametrize("headers", [{}, HTMX])
@pytest.mark.parametrize("token", ["", "made.up", "eyJ9.aaaa.bbbb"])
def test_without_a_token_of_ours_nothing_is_asked(
    box: Start, headers: dict[str, str], token: str
) -> None:
    running = box(Reply(chunks=answer("Yes.")))
    response = running.post("asks", headers, question="Kept?", token=token)
    assert response.status_code == 403
    assert "Please send the question again" in response.text
    # The form that comes back can be sent as it is.
    fresh = re.findall(r'name="token" value="([^"]+)"', response.text)[0]
    assert running.post("asks", headers, question="Kept?", token=fresh).status_code == 200
    assert headers or ">Kept?</textarea>" in response.text


def test_a_token_is_of_one_wiki_and_of_a_quarter_of_an_hour(
    box: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = box(Reply(chunks=answer("Yes.")), origins=(WIKI, "https://other.example.com"))
    token = running.token(f"{WIKI}/a")
    for page, status in [
        (f"{WIKI}/b", 200),
        ("https://other.example.com/", 403),
        ("", 403),
        ("https://stranger.example.com/", 403),
    ]:
        response = running.post("asks", HTMX, question="How?", page=page, token=token)
        assert (page, response.status_code) == (page, status)
    monkeypatch.setattr(tokens, "LIFETIME", -1)
    assert running.post("asks", HTMX, question="How?", page=f"{WIKI}/b").status_code == 403


def test_a_page_that_may_not_embed_the_box_is_not_told_to_the_gateway(box: Start) -> None:
    running = box(Reply(chunks=answer("Yes.")))
    list(events(running, ask(running, page="https://stranger.example.com/x")))
    assert running.gateway.requests[0]["metadata"] == {}


def test_a_visitor_who_asks_too_often_waits_and_others_do_not(box: Start) -> None:
    running = box(Reply(chunks=answer("Yes.")), asks_per_minute=2, trusted_proxies=("127.0.0.1",))
    one = {**HTMX, "x-forwarded-for": "203.0.113.1"}
    other = {**HTMX, "x-forwarded-for": "203.0.113.2"}
    statuses = [running.post("asks", one, question="How?").status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert re.search(r"try again in \d+ seconds", running.post("asks", one, question="How?").text)
    assert running.post("asks", other, question="How?").status_code == 200


def test_an_address_that_a_stranger_claims_is_not_believed(box: Start) -> None:
    running = box(Reply(chunks=answer("Yes.")), asks_per_minute=1, trusted_proxies=())
    statuses = [
        running.post(
            "asks", {**HTMX, "x-forwarded-for": f"203.0.113.{n}"}, question="?"
        ).status_code
        for n in range(2)
    ]
    assert statuses == [200, 429]


def test_a_quiet_stream_is_kept_alive(box: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "QUIET", 0.1)
    running = box(Reply(chunks=answer("Yes. "), pause=0.5))
    assert ("", ": still here") in list(events(running, ask(running)))
