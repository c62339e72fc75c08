"""Answers as a capable model writes them, through a real gateway: what arrives, and what is marked.

The writer answers from tests/answers/own_docs.jsonl: see research/bench/writer.py.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.answering.grounding.prompt import REFUSAL
from tests import starting

FOLDER = Path(__file__).parents[1] / "answers"
ROWS = {
    row["id"]: row for row in map(json.loads, (FOLDER / "own_docs.jsonl").read_text().splitlines())
}
AUTH = {"authorization": f"Bearer {starting.KEY}"}
JSON = json.dumps({"limit": "--rpm", "note": "Kangaroos jump. 2. Over fences."})

# An answer that goes on from the one before: what it says of the backup is on that page.
FOLLOWED = {
    "id": "follow",
    "question": "And what limits can I put on an API key?",
    "answer": "`--rpm N` is the number of requests in any 60 seconds."
    " The backup from before is restored with `askdocs restore FILE`.",
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("writing")
    answers = folder / "answers.jsonl"
    lines = [json.dumps({**row, "json": JSON}) for row in (*ROWS.values(), FOLLOWED)]
    answers.write_text("\n".join(lines))
    aliases = {
        name: {"targets": "base", "grounding": True, "check": name}
        for name in ("mark", "hold", "off")
    }
    aliases["strict"] = {**aliases["mark"], "thresholds": {"base": {"rules": 1.0}}}
    with ExitStack() as stack:
        gateway = starting.gateway(
            folder,
            gateway_engine_url=stack.enter_context(starting.writer(folder, answers)),
            gateway_docs=str(FOLDER / "wiki"),
            gateway_aliases=json.dumps(aliases),
        )
        yield stack.enter_context(gateway).url


def ask(url: str, name: str, model: str = "mark", **more: Any) -> tuple[str, dict[str, Any]]:
    """The text of the recorded answer as it arrives, and what askdocs says of it."""
    question = f"{ROWS[name]['question']} [{name}]"
    body = {"model": model, "messages": [{"role": "user", "content": question}], **more}
    if not body.get("stream"):
        reply = httpx.post(f"{url}/chat/completions", json=body, headers=AUTH, timeout=60).json()
        return reply["choices"][0]["message"]["content"], reply["askdocs"]
    text, facts = "", None
    with httpx.stream("POST", f"{url}/chat/completions", json=body, headers=AUTH) as reply:
        for line in reply.iter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line[6:])
                assert facts is None, "something came after the last chunk"
                text += "".join(c["delta"].get("content") or "" for c in chunk["choices"])
                facts = chunk.get("askdocs", facts)
    assert facts is not None
    return text, facts


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", ["l1", "l4", "k1", "b3", "k2-1", "s2-1", "b7"])
def test_an_answer_arrives_with_every_character(url: str, name: str, stream: bool) -> None:
    text, facts = ask(url, name, stream=stream)
    assert text == ROWS[name]["answer"]
    assert facts["mode"] == "generative"
    assert facts["cut"] is False
    ends = [(claim["start"], claim["end"]) for claim in facts["claims"]]
    assert ends == sorted(ends)
    assert all(text[start:end].strip() == text[start:end] != "" for start, end in ends)


def test_what_the_pages_do_not_support_is_marked_with_a_word_of_why(url: str) -> None:
    text, facts = ask(url, "k2-1", stream=True)
    (claim,) = [c for c in facts["claims"] if c["verdict"] in ("unsupported", "contradicted")]
    assert "7 days" in text[claim["start"] : claim["end"]]
    assert claim["reason"] == "number: 7 day"
    assert "/keys/#" in claim["source"]
    assert facts["verdict"] == claim["verdict"]
    assert facts["refused"] is False


@pytest.mark.parametrize("stream", [True, False])
def test_a_threshold_of_the_model_that_answers_decides_what_is_marked(
    url: str, stream: bool
) -> None:
    _, usual = ask(url, "l1", stream=stream)
    _, strict = ask(url, "l1", "strict", stream=stream)
    assert usual["verdict"] == "supported"
    marked = [claim for claim in strict["claims"] if claim["verdict"] != "none"]
    assert marked
    assert {claim["verdict"] for claim in marked} <= {"unsupported", "contradicted"}
    same = {(claim["start"], claim["score"]) for claim in usual["claims"]}
    assert {(claim["start"], claim["score"]) for claim in marked} <= same


def test_the_pages_of_the_turn_before_support_a_follow_up(url: str) -> None:
    question = f"{FOLLOWED['question']} [follow]"
    before = [
        {"role": "user", "content": "How do I restore a backup?"},
        {"role": "assistant", "content": "Look first with `--dry-run`."},
    ]
    verdicts = []
    for turns in ([], before):
        messages = [*turns, {"role": "user", "content": question}]
        body = {"model": "mark", "messages": messages}
        reply = httpx.post(f"{url}/chat/completions", json=body, headers=AUTH, timeout=60).json()
        verdicts.append([claim["verdict"] for claim in reply["askdocs"]["claims"]])
    (first, alone), (again, followed) = verdicts
    assert first == again == followed == "supported"
    assert alone != "supported"


def test_only_what_is_supported_is_cited(url: str) -> None:
    name = "k2-1"
    body = {
        "model": "mark",
        "messages": [{"role": "user", "content": f"A key leaked. What do I do? [{name}]"}],
    }
    reply = httpx.post(f"{url}/chat/completions", json=body, headers=AUTH, timeout=60).json()
    message = reply["choices"][0]["message"]
    cited = [
        message["content"][a["url_citation"]["start_index"] : a["url_citation"]["end_index"]]
        for a in message["annotations"]
    ]
    assert cited
    assert not any("7 days" in text for text in cited)
    assert reply["askdocs"]["sources"]


def test_a_refusal_in_the_models_own_words_is_one(url: str) -> None:
    for name in ("r1", "r2", "r4", "r6", "r8"):
        text, facts = ask(url, name)
        if facts["reason"] == "no_page":
            continue  # the search refused before the model was asked
        assert (facts["refused"], facts["reason"], facts["sources"]) == (True, "model", []), text
        assert text == ROWS[name]["answer"]


def test_an_answer_of_which_nothing_is_supported_counts_as_refused(url: str) -> None:
    text, facts = ask(url, "k5-2", model="mark")
    assert facts["refused"] is False, text
    text, facts = ask(url, "h4", stream=True)
    assert facts["refused"] is True
    assert facts["reason"] in ("unsupported", "no_page")
    assert facts["pages"]


def test_an_honest_half_answer_is_kept(url: str) -> None:
    for name in ("k6", "b7", "s6"):
        text, facts = ask(url, name, stream=True)
        assert text == ROWS[name]["answer"]
        assert facts["refused"] is False


@pytest.mark.parametrize("model", ["mark", "hold", "off"])
@pytest.mark.parametrize("stream", [True, False])
def test_json_is_never_touched(url: str, model: str, stream: bool) -> None:
    text, facts = ask(url, "l1", model, stream=stream, response_format={"type": "json_object"})
    assert text == JSON
    assert facts["claims"] == []


@pytest.mark.parametrize("model", ["mark", "hold"])
def test_json_is_never_touched_in_other_formats(url: str, model: str) -> None:
    question = f"{ROWS['l1']['question']} [l1]"
    schema = {"type": "object", "required": ["none of the answer's"]}
    responses = {
        "input": question,
        "text": {"format": {"type": "json_schema", "name": "size", "schema": schema}},
    }
    messages = {
        "messages": [{"role": "user", "content": question}],
        "max_tokens": 100,
        "output_format": {"type": "json_schema", "schema": schema},
    }
    for path, name, body in (("responses", "output", responses), ("messages", "content", messages)):
        made = httpx.post(f"{url}/{path}", json={"model": model, **body}, headers=AUTH).json()
        (part,) = made[name][-1]["content"] if path == "responses" else made[name]
        assert part["text"] == JSON
        assert not part.get("annotations")
        assert not part.get("citations")


@pytest.mark.parametrize("stream", [True, False])
def test_held_back_ends_before_the_first_unsupported_sentence_and_says_so(
    url: str, stream: bool
) -> None:
    text, facts = ask(url, "k2-1", "hold", stream=stream)
    assert text
    assert ROWS["k2-1"]["answer"].startswith(text)
    assert "7 days" not in text
    assert facts["cut"] is True
    assert {claim["verdict"] for claim in facts["claims"]} <= {"supported", "none"}


@pytest.mark.parametrize("stream", [True, False])
def test_held_back_lets_a_good_answer_through_whole(url: str, stream: bool) -> None:
    text, facts = ask(url, "l1", "hold", stream=stream)
    assert text == ROWS["l1"]["answer"]
    assert facts["cut"] is False


def test_held_back_shows_the_refusal_where_nothing_is_supported(url: str) -> None:
    text, facts = ask(url, "h2", "hold", stream=True)
    assert text == REFUSAL
    assert facts["refused"] is True


def test_nothing_is_checked_where_that_is_switched_off(url: str) -> None:
    text, facts = ask(url, "k2-1", "off", stream=True)
    assert text == ROWS["k2-1"]["answer"]
    assert (facts["claims"], facts["verdict"]) == ([], "none")
