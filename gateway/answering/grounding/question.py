"""Extracts the user's question from a conversation that a program has wrapped.

Coding agents and editors put texts of their own around what a person types: reminders, the state
of the editor, files, formats of answers. Whoever searches a wiki for all of it finds nothing. The
rules are those of named clients, and their recordings test them (tests/gateway/recordings): where
none fits, a message is what a person wrote. Time is linear in the text.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

# Questions that are looked for: the last one and those that it may go on from.
MOST = 4

# Elements that programs put beside a question.
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
)
# Elements that a question stands in: Copilot, Cline, Cursor.
_AROUND = ("userRequest", "user_message", "user_query", "task", "feedback")
_TAG = re.compile(rf"<({'|'.join((*_OWN, *_AROUND))})(?=[\s>])[^<>]{{0,300}}>")
# The first words of messages that a program has written.
_PROGRAMS = (
    "Operator note (not from the user)",  # LiteLLM, of a system message within a conversation
    "I have *added these files to the chat*",  # aider
    "Here are summaries of some files present in my git repository",
    "Here are some READ ONLY files",
    "I am working with you on code in a git repository.",
    "# AGENTS.md instructions",  # Codex
    "[Request interrupted by user",  # Claude Code
    "Generate a title for this conversation:",  # opencode
)
# Everything before it is an example of aider's.
_ANEW = "I switched to a new code base."
# What aider adds to a question: the format of its answer, and the language.
_REMINDERS = (
    "\n\n# *SEARCH/REPLACE block*",
    "\n\n# File editing rules:",
    "\n\nTo suggest changes to a file you MUST return",
)
_LANGUAGE = re.compile(r"\n\nReply in [^\n]{1,40}\Z")


class Question(NamedTuple):
    """A person's question."""

    text: str
    place: int
    """The number of its message."""


def questions(messages: Sequence[Mapping[str, Any]]) -> list[Question]:
    """What the person asked last, and before that: oldest first. Empty: a program speaks alone."""
    recent: list[Question] = []
    for place in range(len(messages) - 1, -1, -1):
        message = messages[place]
        if message.get("role") != "user":
            continue
        texts = list(_texts(message.get("content")))
        if any(text.startswith(_ANEW) for text in texts):
            break
        if text := asked(texts):
            recent.insert(0, Question(text, place))
            if len(recent) == MOST:
                break
    return recent


def edits(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Does aider want files edited? It has no tools: its edits are text of the answer."""
    texts = (
        f"\n\n{text}"
        for message in messages
        if message.get("role") in ("user", "system", "developer")
        for text in _texts(message.get("content"))
    )
    return any(reminder in text for text in texts for reminder in _REMINDERS)


def asked(texts: Sequence[str]) -> str:
    """What a person wrote of the texts of a message; empty: nothing."""
    if any(text.lstrip().startswith(_PROGRAMS) for text in texts):
        return ""
    text = "\n".join(filter(None, (_own_words(text) for text in texts)))
    for reminder in _REMINDERS:
        text = text.partition(reminder)[0]
    text = _LANGUAGE.sub("", text.strip())
    if len(text) > 1 and text[0] == text[-1] == '"':  # opencode
        text = text[1:-1].strip()
    return text


def _own_words(text: str) -> str:
    """`text` without the elements of programs; of a question that stands in one, only that."""
    parts: list[str] = []
    around: list[str] = []
    open_ended: set[str] = set()  # names that are not closed in the rest of the text
    done = 0
    for tag in _TAG.finditer(text):
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


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield _utf8(content)
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            yield _utf8(part["text"])


def _utf8(text: str) -> str:
    """Half a surrogate pair, which JSON can carry and UTF-8 cannot, becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
