"""The box beside a gateway of another release: what is new to it is ignored, what is missing is
done without.

`streams/gateway_0006.sse` is what the gateway of schema 0006 sent with the small model, byte for
byte, when it was asked "How do I descale the coffee machine?".
"""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from widget.service.gateway import _parts
from widget.service.outcome import Outcome, Reading

RECORDED = (Path(__file__).parent / "streams" / "gateway_0006.sse").read_text(encoding="utf-8")
NEW = {"of_a_later_release": {"deep": [1, {"er": None}]}}


def chunks(text: str) -> list[Any]:
    """The events of a stream, but for the last one."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def stream(events: list[Any]) -> str:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in [*events, "[DONE]"]).replace(
        '"[DONE]"', "[DONE]"
    )


async def read(text: str) -> tuple[Reading | None, str, Outcome | None]:
    """What the box makes of a stream."""

    async def sent() -> AsyncIterator[bytes]:
        yield text.encode()

    found: list[Any] = [part async for part in _parts(sent())]
    reading = [part for part in found if isinstance(part, Reading)]
    outcome = [part for part in found if isinstance(part, Outcome)]
    words = "".join(part for part in found if isinstance(part, str))
    return (reading or [None])[0], words, (outcome or [None])[-1]


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object within a value, itself too."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from objects(inner)


async def test_the_box_understands_the_gateway_of_the_release_before() -> None:
    reading, words, outcome = await read(RECORDED)
    assert reading is not None
    assert reading.reading[0].title == "Coffee machine"
    assert "40 ml of descaler" in words
    assert outcome is not None
    assert not outcome.refused
    assert outcome.served == "base"
    assert [(source.section, source.title) for source in outcome.sources] == [
        ("Descaling", "Coffee machine")
    ]


async def test_the_box_ignores_what_a_newer_gateway_says_besides() -> None:
    events = chunks(RECORDED)
    for found in list(objects(events)):
        found.update(NEW)
    assert await read(stream(events)) == await read(RECORDED)
    events.insert(1, {"object": "askdocs.of_a_later_release", "choices": [], **NEW})
    assert (await read(stream(events)))[1] == (await read(RECORDED))[1]


async def test_the_box_answers_without_each_of_the_fields_that_only_askdocs_sends() -> None:
    whole = await read(RECORDED)
    count = len([one for event in chunks(RECORDED) for one in objects(event.get("askdocs", {}))])
    assert count > 3
    for number in range(count):
        for name in _names(number):
            events = chunks(RECORDED)
            del _of_askdocs(events)[number][name]
            _, words, outcome = await read(stream(events))
            assert words == whole[1], name
            assert outcome is None or outcome.served == "base", name
    events = chunks(RECORDED)
    for event in events:
        event.pop("askdocs", None)
    _, words, outcome = await read(stream(events))
    assert words == whole[1]
    assert outcome is not None  # of OpenAI's own annotations
    assert [source.url for source in outcome.sources] == [s.url for s in whole[2].sources]  # type: ignore[union-attr]


def _of_askdocs(events: list[Any]) -> list[dict[str, Any]]:
    return [one for event in events for one in objects(event.get("askdocs", {}))]


def _names(number: int) -> list[str]:
    return list(_of_askdocs(chunks(RECORDED))[number])


@pytest.mark.parametrize("wrong", [None, 7, "text", [], {"reading": 7}, {"sources": "none"}])
async def test_the_box_answers_where_a_field_has_become_something_else(wrong: object) -> None:
    events = chunks(RECORDED)
    for event in events:
        if "askdocs" in event:
            event["askdocs"] = wrong
    assert (await read(stream(events)))[1] == (await read(RECORDED))[1]
