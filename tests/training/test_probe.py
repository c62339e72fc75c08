"""What counts as the same model: the arithmetic, and engines that do not answer as they should."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AskdocsError
from tests.speaking import Handler, serving
from training.artefacts import probe

LIMITS = probe.LIMITS[16]
numbers = st.floats(-6, -0.1)
rows = st.lists(st.tuples(numbers, numbers), min_size=2, max_size=40)


def quiet(step: str, done: int, total: int | None) -> None:
    pass


@given(rows, st.floats(0, 2))
def test_the_share_of_the_adapter_is_how_far_an_engine_is_on_the_way_from_the_base(
    rows: list[tuple[float, float]], part: float
) -> None:
    pairs = [(base + part * (tuned - base), tuned, base) for tuned, base in rows]
    share = probe.share(pairs)
    if all(math.isclose(tuned, base, abs_tol=1e-3) for tuned, base in rows):
        return
    assert share == pytest.approx(part, abs=1e-6)


def test_an_adapter_that_changes_nothing_has_no_share_and_passes_nowhere() -> None:
    assert math.isnan(probe.share([(-1.0, -1.0, -1.0)]))
    result = probe.ProbeResult(0.0, 0.0, math.nan, 0, 0, ())
    assert "adapter: its effect is too small" in next(probe.judged(result, LIMITS))


@given(
    furthest=st.floats(0, 9), mean=st.floats(0, 9), share=st.floats(-1, 3), missed=st.integers(0, 3)
)
def test_every_limit_counts_by_itself(
    furthest: float, mean: float, share: float, missed: int
) -> None:
    result = probe.ProbeResult(furthest, mean, share, 3, 3 - missed, ())
    wrong = [
        furthest > LIMITS.furthest,
        mean > LIMITS.mean,
        abs(1 - share) > LIMITS.share,
        missed > 0,
    ]
    assert len(list(probe.judged(result, LIMITS))) == sum(wrong)


def one_probe() -> probe.Probes:
    place = probe.ProbePoint(after=0, tokens=(7, 8), logprobs=(-0.1, -3.0), base=(-2.0, -0.5))
    asked = probe.Probe(
        messages=[{"role": "user", "content": "q"}], prompt=(1, 2, 3), answer=(), places=(place,)
    )
    return probe.Probes(dtype="float32", seed=0, probes=(asked,))


def completion(logprobs: dict[str, float]) -> dict[str, Any]:
    return {
        "choices": [{"logprobs": {"top_logprobs": [logprobs]}}],
        "usage": {"prompt_tokens": 3},
    }


def chat(logprobs: dict[str, float], tokens: int) -> dict[str, Any]:
    listed = [{"token": token, "logprob": value} for token, value in logprobs.items()]
    return {
        "choices": [{"logprobs": {"content": [{"top_logprobs": listed}]}}],
        "usage": {"prompt_tokens": tokens},
    }


Answers = Callable[[str], tuple[int, Any]]


@contextmanager
def answering(answers: Answers) -> Iterator[str]:
    class Engine(Handler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body = answers(self.path)
            if isinstance(body, bytes):
                self.send(status, body)
            else:
                self.json(status, body)

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Engine)) as server:
        yield f"http://127.0.0.1:{server.server_port}/v1"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, b"no such model", "404 'no such model': the engine must serve m"),
        (200, b"<html>", "is not the answer of an engine with log-probabilities"),
        (200, {"choices": [{"logprobs": None}]}, "is not the answer of an engine with"),
        (200, completion({}), "is not the answer of an engine with"),
        (200, completion({"word": -1.0}), "is not the answer of an engine with"),
    ],
)
def test_an_engine_that_answers_otherwise_is_reported_in_one_line(
    status: int, body: Any, words: str
) -> None:
    with answering(lambda _: (status, body)) as url, pytest.raises(AskdocsError) as told:
        probe.ask(url, "m", one_probe(), LIMITS, quiet)
    assert f"{url}/completions: " in str(told.value)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_an_engine_that_has_gone_is_reported_in_one_line() -> None:
    with answering(lambda _: (200, {})) as url:
        pass
    with pytest.raises(AskdocsError, match=r"no answer .*is the engine running"):
        probe.ask(url, "m", one_probe(), LIMITS, quiet)


def test_a_token_that_an_engine_does_not_list_counts_as_far_as_is_certain() -> None:
    only = {"token_id:9": -0.2, "token_id:10": -2.0}

    def answers(path: str) -> tuple[int, Any]:
        return 200, chat(only, 3) if "chat" in path else completion(only)

    with answering(answers) as url:
        result = probe.ask(url, "m", one_probe(), LIMITS, quiet)
    assert not result.passed
    assert result.furthest == pytest.approx(1.9)  # token 7: -0.1 there, at most -2.0 here
    assert (result.clear, result.agreed) == (1, 0)


def test_messages_that_are_other_tokens_than_in_training_fail_by_their_number() -> None:
    right = {"token_id:7": -0.1, "token_id:8": -3.0}

    def answers(path: str) -> tuple[int, Any]:
        return 200, chat(right, 5) if "chat" in path else completion(right)

    with answering(answers) as url:
        result = probe.ask(url, "m", one_probe(), LIMITS, quiet)
    assert result.problems == (
        "chat template: the messages of probe 1 are 5 tokens here, 3 in training: start the engine"
        " with the version's adapter/chat_template.jinja (vLLM: --chat-template)",
    )


def test_probes_are_read_as_they_were_written_and_else_refused(tmp_path: Path) -> None:
    file = tmp_path / probe.FILE
    with pytest.raises(AskdocsError, match="no such file"):
        probe.read(file)
    file.write_text(one_probe().model_dump_json())
    assert probe.read(file) == one_probe()
    older = {**one_probe().model_dump(), "chat_template_sha256": "0" * 64}
    file.write_text(json.dumps(older))
    assert probe.read(file) == one_probe()
    file.write_text('{"dtype": "float32"}')
    with pytest.raises(AskdocsError, match=r"probes\.json: cannot be read"):
        probe.read(file)
