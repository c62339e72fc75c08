"""Extractive mode: passages as quotations, in OpenAI's shape, without a model."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from starlette.datastructures import Headers

from gateway.answering.extract import Extract, marks
from gateway.answering.grounding.ground import Grounding
from gateway.answering.grounding.prompt import REFUSAL
from gateway.api import openapi
from gateway.api.chat_request import take_apart
from gateway.api.plan import RequestPlan
from gateway.upstream.engine import estimates
from tests.gateway.conftest import SITE
from wiki.index.index import Index

BACKUP = (
    "# Backup\n\nAll that matters is copied.\n\n## Where\n\nThe server keeps 14 backups, see"
    " [settings](../settings.md).\n\n## Restore\n\nThe restore stops the database first.\n"
)
SETTINGS = "# Settings\n\nBackups are kept for a fortnight.\n"
HEN = "# Hens\n\nA hen lays eggs.\n"


@pytest.fixture
def made(indexed: Callable[..., Index]) -> Index:
    return indexed(guide__backup=BACKUP, settings=SETTINGS, hens=HEN)


def planned(request: dict[str, Any]) -> RequestPlan:
    """As much of a plan as is looked at."""
    facts = {"alias": "docs", "first_choice": "base", "copies": request.get("n") or 1}
    return cast("RequestPlan", SimpleNamespace(request=request, **facts))


def extract(index: Index, question: str, **request: Any) -> Extract:
    request = {"messages": [{"role": "user", "content": question}], **request}
    asked = take_apart(request, Headers({}))
    looked = asyncio.run(Grounding(index, estimates).look_up(asked.question))
    plan = planned(request)
    return Extract(asked, looked, plan, keeps_text=True, model_name="SmolLM2")


def whole(index: Index, question: str, **request: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(extract(index, question, **request).start())
    return made


def test_the_best_passage_is_quoted_with_its_link(made: Index) -> None:
    response = whole(made, "How many backups does the server keep?")
    (choice,) = response["choices"]
    content = choice["message"]["content"]
    first, second = content.split("\n\n")[:2]
    assert first == f"> The server keeps 14 backups, see [settings]({SITE}guide/settings.md)."
    assert second == f"[Backup › Where]({SITE}guide/backup/#where)"
    assert choice["finish_reason"] == "stop"
    facts = response["askdocs"]
    assert (facts["mode"], facts["refused"]) == ("extractive", False)
    source = facts["sources"][0]
    assert (source["title"], source["section"]) == ("Backup", "Where")
    assert source["url"] == f"{SITE}guide/backup/#where"
    marked = [source["quote"][start:end] for start, end in source["marks"]]
    assert marked == ["server", "keeps", "backups"]
    assert response["usage"]["total_tokens"] == 0
    assert (response["model"], facts["served"]) == ("docs", "base")  # readers' votes count for it
    assert response["askdocs"]["model"] == "SmolLM2"  # as people call it, in both modes
    assert "answers" not in response["askdocs"]


def test_each_annotation_is_of_a_quotation_and_its_link(made: Index) -> None:
    message = whole(made, "backups of the server")["choices"][0]["message"]
    cited = [one["url_citation"] for one in message["annotations"]]
    assert cited
    for one in cited:
        part = message["content"][one["start_index"] : one["end_index"]]
        assert part.startswith("> ")
        assert part.endswith(f"({one['url']})")


def test_at_most_three_passages_are_shown(made: Index) -> None:
    assert 1 <= len(whole(made, "backup server database")["askdocs"]["sources"]) <= 3


MOVING = " ".join(["Moving the archive needs a stopped server, a free disk and an hour."] * 8)
COPYING = " ".join(["Moving the archive ends with a copy of the keys, which it checks."] * 8)
WALKING = " ".join(["Later, hens walk by."] * 25)
LONG = f"# Moves\n\n## Archive\n\n{MOVING}\n\n{COPYING}\n\n{WALKING}\n"


def test_passages_that_continue_each_other_are_one_quotation(indexed: Callable[..., Index]) -> None:
    index = indexed(moves=LONG, hens=HEN, settings=SETTINGS)
    for question in ("moving the archive", "the archive"):
        response = whole(index, question)
        source, *others = response["askdocs"]["sources"]
        assert source["quote"] == f"{MOVING}\n\n{COPYING}"
        assert source["url"] == f"{SITE}moves/#archive"
        assert not any("Moving" in other["quote"] for other in others)
        citation = response["choices"][0]["message"]["annotations"][0]["url_citation"]
        assert (citation["start_index"], citation["title"]) == (0, "Moves")
        assert {source["quote"][start:end] for start, end in source["marks"]} >= {"archive"}


@pytest.mark.parametrize(
    "body",
    [
        # Definitions of two terms, with an address each.
        f"move\n:   {MOVING}\n\nmove --all\n:   {COPYING}\n",
        # Other text between them.
        f"{MOVING}\n\n{WALKING}\n\n{COPYING}\n",
        # Another section.
        f"{MOVING}\n\n## Keys\n\n{COPYING}\n",
    ],
)
def test_other_passages_are_quotations_of_their_own(
    body: str, indexed: Callable[..., Index]
) -> None:
    index = indexed(moves=f"# Moves\n\n## Archive\n\n{body}", hens=HEN, settings=SETTINGS)
    sources = whole(index, "moving the archive")["askdocs"]["sources"]
    assert len([source for source in sources if "Moving" in source["quote"]]) > 1
    for source in sources:
        assert not ("stopped" in source["quote"] and "copy of the keys" in source["quote"])


def test_a_quotation_has_at_most_two_passages(indexed: Callable[..., Index]) -> None:
    last = COPYING.replace("keys", "logs")
    index = indexed(moves=LONG.replace(WALKING, last), hens=HEN, settings=SETTINGS)
    first, second = whole(index, "moving the archive")["askdocs"]["sources"]
    assert {first["quote"], second["quote"]} == {f"{MOVING}\n\n{COPYING}", last}


def test_a_stream_says_the_same(made: Index) -> None:
    question = "How many backups does the server keep?"
    sent = extract(made, question, stream=True, stream_options={"include_usage": True})
    events = [line.removeprefix("data: ") for line in sent.start().decode().strip().split("\n\n")]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(one) for one in events[:-1]]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    said = "".join(
        choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]
    )
    response = whole(made, question)
    assert said == response["choices"][0]["message"]["content"] == sent.answer
    last = next(chunk for chunk in chunks if "askdocs" in chunk)
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["askdocs"]["sources"] == response["askdocs"]["sources"]
    assert chunks[-1]["choices"] == []
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["model"] for chunk in chunks} == {"docs"}


def test_who_follows_the_progress_is_told_the_pages(made: Index) -> None:
    request = {"messages": [{"role": "user", "content": "server backups"}], "stream": True}
    asked = take_apart(request, Headers({"x-askdocs-progress": "on"}))
    looked = asyncio.run(Grounding(made, estimates).look_up(asked.question))
    plan = planned(request)
    first = (
        Extract(asked, looked, plan, keeps_text=False, model_name=None).start().split(b"\n\n")[0]
    )
    told = json.loads(first.removeprefix(b"data: "))
    assert told["choices"] == []
    assert told["askdocs"]["reading"][0]["title"] == "Backup"


def test_what_the_wiki_does_not_answer_is_refused(made: Index) -> None:
    found = extract(made, "Why do kangaroos jump over fences?")
    assert (found.refused, found.pages, found.answer) == (True, (), REFUSAL)
    response = json.loads(found.start())
    assert response["choices"][0]["message"]["content"] == REFUSAL
    assert response["askdocs"]["sources"] == []
    assert response["askdocs"]["confidence"] is None
    assert response["model"] == "docs"  # no model is counted


@pytest.mark.parametrize("question", ["server backups", "Why do kangaroos jump over fences?"])
def test_it_is_as_the_api_describes_it(made: Index, question: str) -> None:
    described = openapi.description()["components"]
    schema = {"$ref": "#/components/schemas/ChatCompletion", "components": described}
    Draft202012Validator(schema).validate(whole(made, question))


def test_several_choices_are_the_same(made: Index) -> None:
    choices = whole(made, "server backups", n=3)["choices"]
    assert [one["index"] for one in choices] == [0, 1, 2]
    assert len({one["message"]["content"] for one in choices}) == 1


def test_an_answer_ends_at_its_greatest_length(made: Index) -> None:
    (choice,) = whole(made, "server backups", max_tokens=5)["choices"]
    assert choice["finish_reason"] == "length"
    assert len(choice["message"]["content"]) <= 20


def test_marks_are_of_the_words_of_the_question_in_any_form() -> None:
    text = "Backups: a backup, back up. 設定を変更"
    found = [text[start:end] for start, end in marks(text, ["backup", "設定"])]
    assert found == ["Backups", "backup", "設定"]
