import asyncio
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from core import tasks
from core.database import Unreachable
from tests.slack.conftest import Start
from tests.slack.stand_in import BOT, DM, GENERAL, HELP, HR, LITERAL, OTHER, USER, leaves
from tests.widget.stand_in import Reply, answer, chunk, data, reading
from widget.service.store import NewQuestion, Store, Unknown
from widget.slack import replies
from widget.slack.replies import Pace

WIKI = "https://wiki.example.com"
PAGE = {"title": "Getting started", "url": f"{WIKI}/start/", "tokens": 1204}
SOURCE = {**PAGE, "section": "Linux", "url": f"{WIKI}/start/#linux", "quote": "Run `make run`."}
TEXT = "To start, run **make run**. It takes a minute. "
HOSTILE = "<!channel> <@U0BOSS> <!subteam^S0> @here & <https://evil.example|here>. "


def good(text: str = TEXT, pause: float = 0.0, **extra: Any) -> Reply:
    return Reply(chunks=[reading(PAGE), *answer(text, sources=[SOURCE], **extra)], pause=pause)


async def test_a_mention_is_answered_in_its_thread_with_growing_text_and_sources(
    team: Start,
) -> None:
    running = await team(good("One. Two. Three. Four. ", pause=0.15))
    event = running.slack.mention("How do I start?")
    await running.event(event)
    message = await running.slack.ended()
    assert message.thread == event["event"]["ts"]
    assert len(message.edits) >= 4
    assert "Looking into the docs" in message.args["text"]
    assert "Reading Getting started" in message.edits[0]["text"]
    texts = [edit["text"] for edit in message.edits[1:]]
    assert all(b.startswith(a.rstrip()) for a, b in pairwise(texts))
    assert message.words.startswith("One. Two. Three. Four.")
    opened = message.buttons["open-1"]
    assert opened["url"] == f"{WIKI}/start/#linux"
    assert opened["text"]["text"] == "Getting started › Linux"
    assert {"up", "down"} <= message.buttons.keys()
    assert running.gateway.requests[0]["model"] == "docs"
    assert running.gateway.requests[0]["messages"] == [
        {"role": "user", "content": "How do I start?"}
    ]


async def test_what_a_sentence_rests_on_is_marked_and_the_buttons_have_its_number(
    team: Start,
) -> None:
    other = {**SOURCE, "url": f"{WIKI}/ports/#all", "title": "Ports", "section": ""}
    text = "Run `make run`. It has **three** ports."
    chunks = answer(text, sources=[SOURCE, other, SOURCE])
    last = json.loads(chunks[-2].removeprefix(b"data: "))
    ends = {f"{WIKI}/ports/#all": len(text), f"{WIKI}/start/#linux": 15, "https://no.example/": 3}
    last["choices"][0]["delta"]["annotations"] = [
        {"type": "url_citation", "url_citation": {"url": url, "start_index": 0, "end_index": end}}
        for url, end in ends.items()
    ]
    running = await team(Reply(chunks=[*chunks[:-2], data(last), chunks[-1]]))
    await running.event(running.slack.mention("How?"))
    message = await running.slack.ended()
    assert message.words.startswith("Run make run.[1] It has three ports.[2]")
    links = [leaf for leaf in leaves(message.now["blocks"][0]) if leaf["type"] == "link"]
    assert [(leaf["text"], leaf["url"]) for leaf in links] == [
        ("[1]", f"{WIKI}/start/#linux"),
        ("[2]", f"{WIKI}/ports/#all"),
    ]
    labels = [message.buttons[name]["text"]["text"] for name in ("open-1", "open-2")]
    assert labels == ["1  Getting started › Linux", "2  Ports"]


async def test_a_thread_is_a_conversation_and_another_one_is_not(team: Start) -> None:
    running = await team(good())
    first = running.slack.mention("How do I start?")
    await running.event(first)
    await running.slack.ended()
    await running.event(running.slack.mention("And then?", thread_ts=first["event"]["ts"]))
    await running.slack.ended(count=2)
    await running.event(running.slack.mention("What else?"))
    await running.slack.ended(count=3)
    said = [request["messages"] for request in running.gateway.requests]
    assert [message["content"] for message in said[1]] == ["How do I start?", TEXT, "And then?"]
    assert [message["content"] for message in said[2]] == ["What else?"]


@pytest.mark.parametrize("stored", [True, False])
async def test_a_conversation_goes_on_after_a_restart_if_it_is_stored(
    team: Start, stored: bool
) -> None:
    running = await team(good(), stored=stored)
    first = running.slack.mention("How do I start?")
    await running.event(first)
    await running.slack.ended()
    again = await team(good(), stored=stored)
    await again.event(again.slack.mention("And then?", thread_ts=first["event"]["ts"]))
    await again.slack.ended(count=2)
    assert len(again.gateway.requests[0]["messages"]) == (3 if stored else 1)


async def test_a_direct_message_needs_no_mention(team: Start) -> None:
    running = await team(good())
    await running.event(running.slack.written("How do I start?"))
    assert (await running.slack.ended(DM)).words.startswith("To start, run make run.")


@pytest.mark.parametrize(
    "extra",
    [
        {"subtype": "message_changed", "message": {"text": "new"}},
        {"subtype": "message_deleted"},
        {"subtype": "bot_message", "bot_id": "B2"},
        {"bot_id": "B2"},
        {"user": BOT},
        {"edited": {"user": USER, "ts": "1"}},
        {"channel": GENERAL, "channel_type": "channel"},
    ],
)
async def test_what_is_no_new_message_of_a_person_to_us_is_left_alone(
    team: Start, extra: dict[str, Any]
) -> None:
    running = await team(good())
    await running.event(running.slack.written("How do I start?", **extra))
    await asyncio.sleep(0.05)
    assert not running.slack.messages
    assert not running.gateway.requests


async def test_what_slack_delivers_again_is_answered_once(team: Start) -> None:
    running = await team(good(pause=0.05))
    event = running.slack.mention("How do I start?")
    retry = {"x-slack-retry-num": "1", "x-slack-retry-reason": "http_timeout"}
    await asyncio.gather(
        running.event(event),
        running.event(event, **retry),
        running.event({**event, "event_id": "Ev999"}),
    )
    await running.slack.ended()
    await running.event(event, **retry)
    restarted = await team(good())
    await restarted.event(event, **retry)
    await asyncio.sleep(0.1)
    assert len(running.slack.ours(GENERAL)) == 1
    assert len(running.gateway.requests) == 1
    assert not restarted.gateway.requests


async def test_a_refusal_names_the_closest_pages(team: Start) -> None:
    pages = [{"title": "Pricing", "url": f"{WIKI}/price/"}, {"title": "No", "url": "javascript:x"}]
    refusal = answer("I don't have enough.", refused=True, pages=pages)
    running = await team(Reply(chunks=refusal))
    await running.event(running.slack.mention("What is the weather?"))
    message = await running.slack.ended()
    assert message.words.startswith("Not in the docs\nThese pages do not answer that.")
    assert message.buttons["open-1"]["url"] == f"{WIKI}/price/"
    assert "open-2" not in message.buttons
    assert "enough" not in message.words


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (Reply(429, {"retry-after": "20"}, {"error": {}}), "Please try again in 20 seconds"),
        (Reply(503, body={"error": {}}), "The model is not ready yet."),
        (Reply(chunks=[chunk("Half an ")], broken=True), "The answer broke off."),
        (Reply(chunks=[b"data: [DONE]\n\n"]), "The model gave no answer."),
    ],
)
async def test_a_failure_is_a_sentence_and_one_press_asks_again(
    team: Start, reply: Reply, sentence: str
) -> None:
    running = await team(reply, good())
    event = running.slack.mention("How do I start?")
    await running.event(event)
    failed = await running.slack.ended()
    assert sentence in failed.words
    assert ("Half an" in failed.words) == reply.broken
    assert failed.buttons.keys() == {"retry"}
    await running.interact(running.slack.press(failed, "retry"))
    await running.slack.until(lambda: "up" in failed.buttons)
    assert failed.words.startswith("To start")
    assert running.gateway.requests[1]["messages"][-1]["content"] == "How do I start?"
    assert len(running.slack.messages) == 1


async def test_nobody_is_pinged_by_an_answer_or_a_title(team: Start) -> None:
    hostile = {**SOURCE, "title": HOSTILE, "section": HOSTILE}
    chunks = [reading({**PAGE, "title": HOSTILE}), *answer(HOSTILE, sources=[hostile])]
    running = await team(Reply(chunks=chunks, pause=0.1))
    await running.event(running.slack.mention(HOSTILE))
    message = await running.slack.ended()
    for shown in (message.args, *message.edits):  # the stand-in looks at the texts
        for block in shown["blocks"]:
            if block["type"] == "rich_text":
                assert {leaf["type"] for leaf in leaves(block)} <= LITERAL
    assert all(edit["parse"] == "none" and edit["link_names"] is False for edit in message.edits)
    assert message.args["unfurl_links"] is False
    assert "<!channel> <@U0BOSS>" in message.words
    # What people typed is read as they see it.
    asked = running.gateway.requests[0]["messages"][0]["content"]
    assert asked.startswith("@channel @U0BOSS @subteam @here & here (https://evil.example)")


async def test_the_alias_is_that_of_the_channel_by_id_or_by_name(team: Start) -> None:
    running = await team(good(), channels={HR: "hr", "#help": "it"}, model="wiki")
    for number, channel in enumerate((HR, HELP, GENERAL, HELP)):
        await running.event(running.slack.mention("How?", channel=channel))
        await running.slack.ended(channel, count=1 + (number == 3))
    assert [request["model"] for request in running.gateway.requests] == ["hr", "it", "wiki", "it"]
    assert len(running.slack.calls["conversations.info"]) == 2  # names are remembered


async def test_a_command_is_answered_in_private_by_the_channels_alias(team: Start) -> None:
    running = await team(good(), channels={HR: "hr"})
    form = running.slack.command("How do I start?", channel=HR)
    await asyncio.gather(running.command(form), running.command(form))
    message = await running.slack.ended("D0ANNA")
    above = running.slack.ours("D0ANNA")[0]
    assert above.words == "You asked:How do I start?"
    assert message.thread == above.ts
    assert not running.slack.ours(HR)
    await running.slack.until(lambda: running.slack.whispers)
    assert above.ts in running.slack.whispers[0]["text"]
    # The conversation stays with the alias that it began with.
    await running.event(running.slack.written("And then?", "D0ANNA", thread_ts=above.ts))
    await running.slack.ended("D0ANNA", count=2)
    assert [request["model"] for request in running.gateway.requests] == ["hr", "hr"]
    assert len(running.gateway.requests[1]["messages"]) == 3


@pytest.mark.parametrize(
    ("text", "sentence"), [("", "Please type a question."), ("x" * 2001, "2,001 characters long")]
)
async def test_a_question_that_is_none_gets_a_sentence(
    team: Start, text: str, sentence: str
) -> None:
    running = await team(good())
    await running.event(running.slack.mention(text))
    await running.slack.until(lambda: running.slack.messages)
    assert sentence in running.slack.ours(GENERAL)[0].words
    await running.command(running.slack.command(text))
    await running.slack.until(lambda: running.slack.whispers)
    assert sentence in running.slack.whispers[0]["text"]
    assert not running.gateway.requests


async def test_an_answer_longer_than_a_message_is_cut_and_says_so(team: Start) -> None:
    running = await team(good("**Very** `long` and so on.\n\n" * 400))
    await running.event(running.slack.mention("How?"))
    message = await running.slack.ended()
    assert "longer than a message can be" in message.words
    assert message.buttons.keys() >= {"open-1", "up"}


async def test_blocks_that_slack_does_not_take_leave_the_text(
    team: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("widget.slack.richtext.LIMIT", 50_000)
    running = await team(good("word " * 5_000))
    await running.event(running.slack.mention("How?"))
    await running.slack.until(lambda: [one for one in running.slack.ours(GENERAL) if one.edits])
    message = running.slack.ours(GENERAL)[0]
    await running.slack.until(lambda: not message.now["blocks"])
    assert message.now["text"].startswith("word word")


@pytest.mark.slow
async def test_edits_wait_when_slack_says_so_and_the_end_is_shown(team: Start) -> None:
    running = await team(good("One. Two. Three. Four. ", pause=0.2))
    running.slack.limits["chat.update"] = [1, 1]
    await running.event(running.slack.mention("How?"))
    message = await running.slack.ended()
    first, second, third, *_ = running.slack.calls["chat.update"]
    assert second - first >= 0.9
    assert third - second >= 0.9
    assert message.words.startswith("One. Two. Three. Four.")


def test_edits_share_what_slack_allows_a_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "EDIT", 1.2)
    now = 100.0
    pace = Pace(lambda: now)
    with pace.writing():
        assert pace.pause() == 1.2
        with pace.writing(), pace.writing():
            assert 60 / pace.pause() * 3 <= 50
        pace.hold(30)
        assert pace.pause() == 30
        now += 29.5
        assert pace.pause() == 1.2


async def test_who_asks_too_often_is_reported_when_to_ask_again(team: Start) -> None:
    running = await team(good(), asks_per_minute=1)
    await running.event(running.slack.mention("One?"))
    await running.slack.ended()
    await running.event(running.slack.mention("Two?"))
    often = await running.slack.ended(count=2)
    assert "You have asked many questions. Please try again in" in often.words
    assert often.buttons.keys() == {"retry"}
    await running.event(running.slack.mention("Three?", user=OTHER))
    assert (await running.slack.ended(count=3)).words.startswith("To start")


async def test_a_long_question_is_asked_again_as_a_whole(team: Start) -> None:
    question = "How " + '"very" ' * 240 + "long?"
    running = await team(Reply(503, body={"error": {}}), good())
    await running.event(running.slack.mention(question))
    failed = await running.slack.ended()
    await running.interact(running.slack.press(failed, "retry"))
    await running.slack.until(lambda: "up" in failed.buttons)
    assert running.gateway.requests[1]["messages"][0]["content"] == question


@pytest.mark.parametrize("how", ["cut", "down", "limits"])
async def test_an_end_that_slack_did_not_hear_of_is_shown_later(
    team: Start, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("widget.slack.answering.AGAIN", 0.1)
    monkeypatch.setattr("widget.slack.running.TRIES", 0)
    running = await team(good())
    getattr(running.slack, how)["chat.update"] = [0, 0, 0]
    await running.event(running.slack.mention("How?"))
    assert (await running.slack.ended()).words.startswith("To start")
    assert getattr(running.slack, how)["chat.update"] == []


async def test_questions_are_deleted_after_their_days(team: Start) -> None:
    running = await team(good())
    old = NewQuestion("old-question", "How?", "c", "slack")
    running.store.asked(old, datetime.now(UTC) - timedelta(days=91))
    running.store.asked(replace(old, id="new-question"))
    again = await team(good())
    await again.slack.until(lambda: _is_gone(running.store, "old-question"))
    assert running.store.get("new-question")


async def test_a_retention_that_fails_shows_and_begins_again(
    team: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(tasks, "LONGEST_PAUSE", 0.05)
    before = await team()
    old = NewQuestion("old-question", "How?", "c", "slack")
    before.store.asked(old, datetime.now(UTC) - timedelta(days=91))
    with closing(sqlite3.connect(tmp_path / "askdocs.db", isolation_level=None)) as database:
        database.execute("ALTER TABLE questions RENAME TO away")
        running = await team()
        while (await running.http.get("/health")).json() == {"status": "ok"}:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert (await running.http.get("/health")).json()["degraded"] == ["retention"]
        database.execute("ALTER TABLE away RENAME TO questions")
    await running.slack.until(lambda: _is_gone(running.store, "old-question"))


def _is_gone(store: Store, id: str) -> bool:
    try:
        store.get(id)
    except Unknown:
        return True
    return False


@pytest.mark.parametrize("people", [True, False])
async def test_a_question_is_kept_with_its_answer_under_a_name_or_a_pseudonym(
    team: Start, people: bool
) -> None:
    running = await team(good(), people=people)
    await running.event(running.slack.mention("How do I start?"))
    up = (await running.slack.ended()).buttons["up"]
    kept = running.store.get(up["value"])
    await running.slack.until(lambda: running.store.get(up["value"]).answered.state != "asked")
    kept = running.store.get(up["value"])
    assert (kept.asked.question, kept.asked.channel) == ("How do I start?", "slack")
    assert (kept.answered.state, kept.answered.answer) == ("answered", TEXT)
    assert kept.answered.outcome["sources"][0]["url"] == f"{WIKI}/start/#linux"
    assert kept.asked.person == (USER if people else "")
    assert (USER in str(kept)) is people


async def test_a_database_that_is_away_keeps_nobody_from_an_answer(
    team: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await team(good())

    def away(*_: Any) -> None:
        raise Unreachable("the database does not answer")

    for name in ("asked", "answered", "history"):
        monkeypatch.setattr(running.store, name, away)
    await running.event(running.slack.mention("How?"))
    assert (await running.slack.ended()).words.startswith("To start")
