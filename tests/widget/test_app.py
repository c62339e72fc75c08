import re
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.widget.conftest import WIKI, Box
from tests.widget.stand_in import Reply, answer, chunk, data, reading, serve
from widget import answers
from widget.app import create_app
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
    response = httpx.post(
        f"{box.url}/asks", data={"question": question, "page": page}, headers=HTMX
    )
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
    assert text(seen[0][1]) == "Reading Getting started — 1,204 tokens, about 3 s"
    assert [text(html) for _, html in seen[1:3]] == ["One.", "One. Two."]
    done = seen[3][1]
    assert f'<a href="{WIKI}/start/#linux" target="_top" rel="noopener nofollow">' in done
    assert "Getting started › Install › Linux" in text(done)
    assert f'<a href="{WIKI}/ports/" target="_top"' in done
    assert "Answered by SmolLM2-135M-Instruct" in done
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
    response = httpx.post(f"{running.url}/asks", data={"question": HOSTILE}, headers=HTMX)
    everything = response.text
    id = re.findall(r"asks/([\w-]+)/events", everything)[0]
    everything += "".join(html for _, html in events(running, id))
    assert everything.count("alert(1)") > 5
    assert not re.search(r"<script|<img|javascript:", everything)


def test_without_javascript_the_form_gets_a_whole_page(box: Start) -> None:
    running = box(Reply(chunks=answer("It is **easy**.", sources=[SOURCE])))
    form = {"question": "How?", "page": f"{WIKI}/start/"}
    response = httpx.post(f"{running.url}/asks", data=form)
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
    running = box(Reply(chunks=[chunk("A beginning. "), *answer("More. " * 50)], pause=0.3))
    id = ask(running)
    stream = events(running, id)
    assert next(stream)[0] == "answer"
    assert httpx.post(f"{running.url}/asks/{id}/stop", headers=HTMX).status_code == 204
    name, html = next(event for event in stream if event[0] != "answer")
    assert name == "done"
    assert "A beginning." in html
    assert "Ask again" in html
    assert running.gateway.left.wait(5)


def test_a_reader_who_leaves_stops_the_gateway(box: Start) -> None:
    running = box(Reply(chunks=answer("More. " * 100), pause=0.2))
    stream = events(running, ask(running))
    assert next(stream)[0] == "answer"
    stream.close()  # type: ignore[attr-defined]
    assert running.gateway.left.wait(5)


def test_a_reader_without_javascript_who_leaves_stops_the_gateway(box: Start) -> None:
    running = box(Reply(chunks=answer("More. " * 100), pause=0.2))
    with httpx.stream("POST", f"{running.url}/asks", data={"question": "How?"}) as response:
        pieces = response.iter_text()  # held: httpx closes the response with its iterator
        assert "<header>" in next(pieces)
        assert running.gateway.began.wait(5)
    assert running.gateway.left.wait(5)


def test_a_browser_that_reconnects_does_not_ask_again(box: Start) -> None:
    running = box(Reply(chunks=answer("Yes.")))
    id = ask(running)
    assert [name for name, _ in events(running, id)][-2:] == ["done", "end"]
    assert list(events(running, id)) == [("end", "")]
    name, html = next(events(running, "unknown-id-000"))
    assert (name, "connection was lost" in html) == ("failed", True)
    assert 'form="again-unknown-id-000"' in html
    assert len(running.gateway.requests) == 1


def test_a_quiet_stream_is_kept_alive(box: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "QUIET", 0.1)
    running = box(Reply(chunks=answer("Yes. "), pause=0.5))
    assert ("", ": still here") in list(events(running, ask(running)))
