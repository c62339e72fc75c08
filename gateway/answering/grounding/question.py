"""Extracts the user's question from a conversation that a program has wrapped.

Coding agents and editors surround a person's input with their own text: reminders, editor state,
files, answer formats. A wiki search for all of that finds nothing. The rules are those of named
clients, and tested on their recordings (tests/gateway/recordings): if none applies, a message is
the person's own. Time is linear in the text.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.answering.grounding.neutral import pieces

# The maximum number of questions for a search: the last one, and those that it may follow up.
MOST = 4

# Elements that programs add to a question.
_OWN = (
    # Claude Code
    *("system-reminder", "command-name", "command-message", "ide_selection", "ide_opened_file"),
    *("local-command-caveat", "local-command-stdout", "local-command-stderr"),
    *("bash-input", "bash-stdout", "bash-stderr", "user-prompt-submit-hook", "task-notification"),
    # Codex
    *("environment_context", "user_instructions", "turn_aborted", "INSTRUCTIONS", "skill"),
    # Cline
    *("environment_details", "explicit_instructions", "file_content", "folder_content"),
    # GitHub Copilot in VS Code
    *("environment_info", "workspace_info", "attachments", "context", "editorContext"),
    *("reminderInstructions", "toolReferences", "repoContext"),
    # GitHub Copilot CLI
    *("current_datetime", "reminder", "system_reminder"),
)
# Elements that enclose a question: Copilot, Cline, Cursor.
_AROUND = ("userRequest", "user_message", "user_query", "task", "feedback")
_NAMES = (*_OWN, *_AROUND)
# The first character comes first, because it tells most texts apart in a quarter of the time.
_FIRST = "".join(sorted({name[0] for name in _NAMES}))
_TAG = re.compile(rf"<(?=[{_FIRST}])({'|'.join(_NAMES)})(?=[\s>])[^<>]{{0,300}}>")
# How messages begin that programs write.
_PROGRAMS = (
    "Operator note (not from the user)",  # LiteLLM, for a system message within a conversation
    "I have *added these files to the chat*",  # aider
    "Here are summaries of some files present in my git repository",
    "Here are some READ ONLY files",
    "I am working with you on code in a git repository.",
    "# AGENTS.md instructions",  # Codex
    "Another language model started to solve this problem",
    "Generate a title for this conversation:",  # opencode
    "[Request interrupted by user",  # Claude Code
    "This session is being continued from a previous conversation",
    "Observation:",  # smolagents: a tool's result
    "Now proceed and carry out this plan",
)
# Everything before this sentence is an example from aider.
_ANEW = "I switched to a new code base."
# Text that aider adds to a question: the answer's format and language.
_REMINDERS = (
    "\n\n# *SEARCH/REPLACE block*",
    "\n\n# File editing rules:",
    "\n\nTo suggest changes to a file you MUST return",
)
_TASK = "New task:\n"  # smolagents writes it before a question
_LANGUAGE = re.compile(r"\n\nReply in [^\n]{1,40}\Z")


class Question(NamedTuple):
    """A person's question."""

    text: str
    place: int
    """The index of its message."""


def questions(messages: Sequence[Mapping[str, Any]], most: int | None = MOST) -> list[Question]:
    """The person's last questions, at most `most`, oldest first. Empty: the messages are all by
    programs."""
    recent: list[Question] = []
    for place in range(len(messages) - 1, -1, -1):
        message = messages[place]
        if message.get("role") != "user":
            continue
        texts = list(texts_of(message.get("content")))
        if any(text.startswith(_ANEW) for text in texts):
            break
        if text := asked(texts):
            recent.insert(0, Question(text, place))
            if len(recent) == most:
                break
    return recent


def edits(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Does aider want files edited? It uses no tools: its edits are text in the answer."""
    texts = (
        text
        for message in messages
        if message.get("role") in ("user", "system", "developer")
        for text in texts_of(message.get("content"))
    )
    return any(
        reminder in text or text.startswith(reminder.lstrip())
        for text in texts
        for reminder in _REMINDERS
    )


def asked(texts: Sequence[str]) -> str:
    """The person's own text in a message; empty if there is none."""
    if any(text.lstrip().startswith(_PROGRAMS) for text in texts):
        return ""
    text = "\n".join(filter(None, (_own_words(text) for text in texts)))
    for reminder in _REMINDERS:
        text = text.partition(reminder)[0]
    text = _LANGUAGE.sub("", text.strip()).removeprefix(_TASK).strip()
    if len(text) > 1 and text[0] == text[-1] == '"':  # opencode
        text = text[1:-1].strip()
    return text


def _own_words(text: str) -> str:
    """Removes programs' elements from `text`; if an element encloses the question, returns only
    that."""
    parts: list[str] = []
    around: list[str] = []
    open_ended: set[str] = set()  # elements that are not closed in the rest of the text
    done = 0
    for tag in _tags(text):
        name = tag[1]
        if tag.start() < done or name in open_ended:
            continue
        end = text.find(f"</{name}>", tag.end())
        if end < 0:
            open_ended.add(name)
            continue
        parts.append(text[done : tag.start()])
        done = end + len(name) + 3
        if name in _AROUND:
            around.append(text[tag.end() : end])
    parts.append(text[done:])
    return (around[-1] if around else "".join(parts)).strip()


def _tags(text: str) -> Iterator[re.Match[str]]:
    """The opening tags. Between pieces, other threads run; no tag reads past the next `<`."""
    for start, end in pieces(text, "<"):
        yield from _TAG.finditer(text, start, end)


def texts_of(content: Any) -> Iterator[str]:
    """The texts of a message's content."""
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            yield part["text"]
