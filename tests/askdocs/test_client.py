"""Against a gateway that does what a real one cannot be made to do, in the real wire format."""

import socket
import threading
import time

import pytest

from askdocs.clients import question
from askdocs.clients.question import Answered
from core.errors import AskdocsError
from tests.widget.stand_in import Reply, StandIn, answer, chunk, data, reading, serve


def ask(*replies: Reply, page_url: str | None = None) -> tuple[StandIn, list[question.Event]]:
    """What comes for a question."""
    gateway = StandIn(*replies)
    with serve(gateway.app) as url:
        return gateway, list(question.ask(f"{url}/v1", "ask-key", "How?", page_url))


def refusal(reply: Reply) -> str:
    """The one line that is said."""
    with pytest.raises(AskdocsError) as caught:
        ask(reply)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_answer_streams_with_what_is_read_first_and_its_sources_last() -> None:
    page = {"title": "Install", "url": "http://w/install/", "tokens": 300}
    source = {"title": "Install", "section": "", "url": "http://w/install/", "quote": "Run make."}
    chunks = [
        reading(page, seconds=2.0),
        b": ping\n\n",
        *answer("Run make. Done.", sources=[source]),
    ]
    gateway, events = ask(Reply(chunks=chunks, pause=0.02))
    assert [kind for kind, _ in events] == ["reading", "text", "text", "done"]
    assert events[0][1]["reading"] == [page]
    done = events[-1][1]
    assert isinstance(done, Answered)
    assert done.answer == "Run make. Done."
    assert done.sources == [source]
    assert not done.refused
    assert done.model == "SmolLM2-135M-Instruct"
    assert done.first_token is not None
    assert 0 < done.first_token < done.seconds
    assert gateway.headers[0]["authorization"] == "Bearer ask-key"
    assert gateway.requests[0]["messages"] == [{"role": "user", "content": "How?"}]
    assert "metadata" not in gateway.requests[0]


def test_what_ends_a_line_elsewhere_ends_none_of_an_event() -> None:
    _, events = ask(Reply(chunks=answer("One\u2028two\x85three.")))
    assert events[-1][1].answer == "One\u2028two\x85three."


def test_the_page_that_one_is_on_goes_along() -> None:
    gateway, _ = ask(Reply(chunks=answer("Yes.")), page_url="http://w/install/")
    assert gateway.requests[0]["metadata"] == {"page_url": "http://w/install/"}


def test_a_refusal_comes_with_the_best_pages() -> None:
    pages = [{"title": "Ports", "url": "http://w/ports/"}]
    _, events = ask(Reply(chunks=answer("I don't know.", refused=True, pages=pages)))
    assert events[-1][1].refused
    assert events[-1][1].pages == pages


def test_a_wrong_key_is_reported_with_the_status_and_the_gateways_words() -> None:
    body = {"error": {"message": "no such key", "type": "auth_error", "code": "401"}}
    assert refusal(Reply(401, body=body)) == "the gateway answered 401: no such key"


@pytest.mark.parametrize("body", [{"detail": "starting"}, ["starting"], "starting", {"error": "x"}])
def test_an_error_in_another_form_is_reported_as_it_came(body: object) -> None:
    with pytest.raises(question.Unavailable):
        ask(Reply(503, body=body))
    said = refusal(Reply(503, body=body))
    assert said.startswith("the gateway answered 503: ")
    assert "x" in said or "starting" in said


def test_an_error_inside_the_stream_is_reported() -> None:
    failed = data({"error": {"message": "the engine stopped", "code": "502"}})
    assert refusal(Reply(chunks=[chunk("It be"), failed])) == "the engine stopped"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_stream_that_breaks_off_is_an_error_and_no_answer() -> None:
    said = refusal(Reply(chunks=[chunk("It begins well. ")], broken=True))
    assert "broke off" in said


def test_a_stream_that_ends_too_early_is_an_error_and_no_answer() -> None:
    assert "broke off in the middle" in refusal(Reply(chunks=[chunk("It begins well. ")]))


def test_an_answer_that_is_no_json_is_an_error() -> None:
    assert "is not a gateway" in refusal(Reply(chunks=[b"data: <html>\n\n"]))


def test_a_gateway_that_is_not_there_names_the_command_to_start_it() -> None:
    began = time.monotonic()
    with pytest.raises(AskdocsError, match=r"127\.0\.0\.1:9/v1 does not answer .*`askdocs up`"):
        list(question.ask("http://127.0.0.1:9/v1", "k", "How?"))
    assert time.monotonic() - began < 60


def test_a_connection_that_is_closed_at_once_is_an_error() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        closing = threading.Thread(target=lambda: listener.accept()[0].close())
        closing.start()
        port = listener.getsockname()[1]
        with pytest.raises(AskdocsError, match="does not answer"):
            list(question.ask(f"http://127.0.0.1:{port}/v1", "k", "How?"))
        closing.join()


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    _, events = ask(Reply(chunks=answer("Yes.")))
    assert events[-1][1].answer == "Yes."
