import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from core import database
from core.database import Unreachable
from tests.slack.conftest import Gateways, Start, Team
from tests.slack.stand_in import GENERAL, HELP, OTHER, USER, Message, leaves
from tests.widget.stand_in import Reply, answer
from widget.service.store import Vote

Answered = tuple[Team, Message]


@pytest.fixture
async def answered(team: Start) -> Callable[..., Any]:
    """A question that was asked in a channel and answered."""

    async def ask(channel: str = GENERAL, question: str = "How?", **settings: Any) -> Answered:
        running = await team(Reply(chunks=answer("Like this. ")), **settings)
        event = running.slack.mention(question, channel, channel_type="im")
        await running.event(event)
        return running, await running.slack.ended(channel)

    return ask


async def test_a_vote_is_kept_and_can_be_changed(
    answered: Callable[..., Any], gateways: Gateways
) -> None:
    gateways.votes.clear()
    running, message = await answered()
    id = message.buttons["up"]["value"]
    press = running.slack.press(message, "up")
    await asyncio.gather(running.interact(press), running.interact(press))
    await running.slack.until(lambda: running.slack.whispers)
    assert running.store.get(id).vote == Vote("up")
    whisper = running.slack.whispers[0]
    assert whisper["text"].startswith("Thank you.")
    assert (whisper["response_type"], whisper["replace_original"]) == ("ephemeral", False)
    assert whisper["thread_ts"] == message.thread
    assert not running.slack.views
    await running.interact(running.slack.press(message, "down", OTHER))
    await running.slack.until(lambda: len(running.slack.whispers) == 2)
    assert running.store.get(id).vote == Vote("down")
    view = running.slack.views[0]
    reasons = running.slack.submit(view, ["outdated", "wrong"], "It is 3.11 <now>.")
    assert (await running.interact(reasons)).text == ""
    assert running.store.get(id).vote == Vote("down", ("wrong", "outdated"), "It is 3.11 <now>.")
    await running.interact(running.slack.press(message, "up"))
    await running.slack.until(lambda: len(running.slack.whispers) == 3)
    assert running.store.get(id).vote == Vote("up")
    first = {"alias": "docs", "model": "docs@v7", "vote": "up"}
    assert gateways.votes == [first]  # of an answer the first one counts for its model


async def test_a_vote_that_is_not_stored_says_so_and_keeps_what_was_typed(
    answered: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, message = await answered()

    def away(*_: Any) -> None:
        raise Unreachable("the database does not answer")

    monkeypatch.setattr(running.store, "vote", away)
    await running.interact(running.slack.press(message, "down"))
    await running.slack.until(lambda: running.slack.whispers)
    assert "could not be stored just now" in running.slack.whispers[0]["text"]
    dialog = running.slack.submit(running.slack.views[0], ["wrong"], "No.")
    told = (await running.interact(dialog)).json()
    assert told["response_action"] == "errors"  # the dialog stays open
    assert "could not be stored just now" in told["errors"]["text"]


async def test_a_vote_that_takes_too_long_to_store_does_not_keep_slack_waiting(
    answered: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("widget.slack.record.PATIENCE", 0.2)
    running, message = await answered()
    with database.writing(running.store.engine):  # somebody else has the lock
        await running.interact(running.slack.press(message, "up"))
        await running.slack.until(lambda: running.slack.whispers)
    assert "could not be stored just now" in running.slack.whispers[0]["text"]


async def test_a_vote_where_nothing_is_stored_says_so(answered: Callable[..., Any]) -> None:
    running, message = await answered(stored=False)
    await running.interact(running.slack.press(message, "up"))
    await running.slack.until(lambda: running.slack.whispers)
    assert "Nothing is stored here" in running.slack.whispers[0]["text"]


async def test_a_human_is_asked_in_a_channel_with_a_link_to_the_thread(
    answered: Callable[..., Any],
) -> None:
    running, message = await answered(humans="#help", question="Is <!channel> free?")
    await running.interact(running.slack.press(message, "human", OTHER))
    await running.slack.until(lambda: len(running.slack.ours(GENERAL)) == 2)
    asked = running.slack.ours(HELP)[0]
    found = list(leaves(asked.now["blocks"][0]))
    assert {"type": "user", "user_id": OTHER} in found
    assert {"type": "text", "text": "Is @channel free?"} in found
    assert [leaf["url"] for leaf in found if leaf["type"] == "link"] == [
        f"https://team.slack.com/archives/{GENERAL}/p{message.ts}"
    ]
    told = running.slack.ours(GENERAL)[1]
    assert told.thread == message.thread
    assert told.words == "I have passed the question on to people. See it there"
    await running.interact(running.slack.press(message, "human"))
    await running.slack.until(lambda: running.slack.whispers)
    assert "already" in running.slack.whispers[0]["text"]
    assert len(running.slack.ours(HELP)) == 1


async def test_a_user_group_is_called_into_the_thread(answered: Callable[..., Any]) -> None:
    running, message = await answered(humans="S0HUMANS1")
    await running.interact(running.slack.press(message, "human"))
    await running.slack.until(lambda: len(running.slack.ours(GENERAL)) == 2)
    told = running.slack.ours(GENERAL)[1]
    assert told.thread == message.thread
    found = list(leaves(told.now["blocks"][0]))
    assert {"type": "usergroup", "usergroup_id": "S0HUMANS1"} in found
    assert {"type": "user", "user_id": USER} in found


async def test_in_a_direct_message_nobody_gets_a_link_that_they_cannot_open(
    answered: Callable[..., Any],
) -> None:
    running, message = await answered("D0ANNA", humans=HELP)
    await running.interact(running.slack.press(message, "human"))
    await running.slack.until(lambda: running.slack.ours(HELP))
    asked = running.slack.ours(HELP)[0]
    assert "asked in a direct message" in asked.words
    assert not [leaf for leaf in leaves(asked.now["blocks"][0]) if leaf["type"] == "link"]


async def test_a_user_group_is_not_offered_where_it_cannot_be_called(
    answered: Callable[..., Any],
) -> None:
    _, message = await answered("D0ANNA", humans="S0HUMANS1")
    assert "human" not in message.buttons


async def test_a_question_that_was_not_handed_on_can_be_handed_on_again(
    answered: Callable[..., Any],
) -> None:
    running, message = await answered(humans="nowhere")
    for count in (1, 2):
        await running.interact(running.slack.press(message, "human"))
        await running.slack.until(lambda: len(running.slack.whispers) == count)  # noqa: B023
        assert "could not be passed on" in running.slack.whispers[-1]["text"]
    assert len(running.slack.messages) == 1


async def test_opening_a_page_is_acknowledged(team: Start) -> None:
    page = {"title": "Start", "url": "https://wiki.example.com/start/"}
    running = await team(Reply(chunks=answer("Yes. ", sources=[page])))
    await running.event(running.slack.mention("How?"))
    message = await running.slack.ended()
    assert (await running.interact(running.slack.press(message, "open-1"))).status_code == 200
