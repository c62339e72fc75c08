"""The person's question, in what named clients really send."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.answering.grounding import neutral
from gateway.answering.grounding.question import MOST, asked, edits, questions
from gateway.api import schemas
from gateway.api.messages import Messages
from gateway.api.responses import Responses
from gateway.api.translation import Translation

RECORDINGS = Path(__file__).parent / "recordings"
QUESTION = "How do I stop askdocs?"


TRANSLATIONS: dict[str, type[Translation]] = {"/messages": Messages, "/responses": Responses}


def recorded(name: str) -> list[dict[str, Any]]:
    """The messages of a recorded request, as the model is sent them."""
    read = json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))
    request = schemas.accept(read["endpoint"], {"model": "docs", **read["request"]})
    translation = TRANSLATIONS.get(read["endpoint"])
    chat = translation(request).chat() if translation else request
    messages: list[dict[str, Any]] = chat["messages"]
    return messages


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("aider-diff", 9),
        ("aider-reminder-system", 9),
        ("aider-whole", 7),
        ("claude-code", 1),
        ("cline", 1),
        ("codex", 3),
        ("continue-cli", 1),
        ("opencode", 1),
        ("opencode-title", 2),
    ],
)
def test_each_client_s_question_is_found_and_nothing_else(name: str, place: int) -> None:
    assert questions(recorded(name)) == [(QUESTION, place)]


@given(
    st.lists(st.sampled_from(["<", "<context>", "</context>", "<task>", "</task>", "a", " ", ">"])),
    st.integers(1, 9),
)
def test_a_long_message_is_read_in_pieces(parts: list[str], size: int) -> None:
    """Other threads run between the pieces, but not while a pattern reads one."""
    whole = asked(["".join(parts)])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(neutral, "_PIECE", size)
        assert asked(["".join(parts)]) == whole


def test_aider_edits_files_and_others_who_send_no_tools_ask() -> None:
    names = {path.stem for path in RECORDINGS.iterdir()}
    aiders = {"aider-diff", "aider-reminder-system", "aider-whole"}
    assert {name for name in names if edits(recorded(name))} == aiders


def test_a_second_question_comes_with_the_first() -> None:
    found = questions(recorded("claude-code-second-question"))
    assert found == [(QUESTION, 1), ("Where is the coffee machine?", 5)]


def test_each_recording_is_tested() -> None:
    names = {path.stem for path in RECORDINGS.iterdir()}
    source = Path(__file__).read_text(encoding="utf-8")
    assert len(names) == 10
    assert all(f'"{name}"' in source for name in names)


def test_the_question_stays_while_the_agent_works_on_it() -> None:
    work = [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": "How do I start?"},
        {"role": "user", "content": "<system-reminder>\nThe list is empty.\n</system-reminder>"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]},
    ]
    messages: list[dict[str, Any]] = [{"role": "user", "content": QUESTION}]
    for message in work:
        messages.append(message)
        assert questions(messages) == [(QUESTION, 0)]


@pytest.mark.parametrize(
    ("text", "question"),
    [
        # GitHub Copilot in VS Code
        (
            "<attachments>\n<attachment id='a'>\nx\n</attachment>\n</attachments>\n<context>\nIt is"
            " Monday.\n</context>\n<userRequest>\nHow do I stop it?\n</userRequest>",
            "How do I stop it?",
        ),
        ("<task>\nStop it\n</task>\n<environment_details>\nx\n</environment_details>", "Stop it"),
        ("Stop <b>it</b> <system-reminder>now</system-reminder>", "Stop <b>it</b>"),
        ("Why does <task> not close?", "Why does <task> not close?"),
        ('Say "yes"', 'Say "yes"'),
        ('""', ""),
        (
            "How do I reply?\n\nReply in full.\n\nThanks",
            "How do I reply?\n\nReply in full.\n\nThanks",
        ),
        ("# AGENTS.md instructions for x\n\n<INSTRUCTIONS>\ny\n</INSTRUCTIONS>", ""),
        (
            "<current_datetime>2026-12-03T09:00:00Z</current_datetime>\n\nHow do I stop it?",
            "How do I stop it?",
        ),  # Copilot CLI
        ("Observation:\nHow do I stop it?", ""),  # smolagents
        ("New task:\nHow do I stop it?", "How do I stop it?"),
        ("Another language model started to solve this problem and produced a summary", ""),
        ("Operator note (not from the user): the following was a system message.", ""),  # LiteLLM
    ],
)
def test_what_programs_add_is_left_out(text: str, question: str) -> None:
    assert [found.text for found in questions([{"role": "user", "content": text}])] == (
        [question] if question else []
    )


def test_no_more_questions_are_looked_for_than_are_needed() -> None:
    messages = [{"role": "user", "content": f"Question {number}?"} for number in range(9)]
    found = questions(messages)
    assert [question.place for question in found] == list(range(9 - MOST, 9))


@pytest.mark.parametrize(
    "piece",
    [
        "<task>",
        "<task ",
        "<system-reminder><task></task>",
        "<context></context>",
        "</task>",
        '"',
        "\n\nReply in ",
    ],
)
def test_time_is_linear_in_the_text(piece: str) -> None:
    text = piece * (4_000_000 // len(piece))
    began = time.thread_time()
    asked([text])
    assert time.thread_time() - began < 30  # some seconds; in quadratic time it is many minutes
