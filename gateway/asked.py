"""A chat request to `docs`, taken apart; and which requests are none."""

from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers

from gateway.grounding.prompt import Message
from gateway.http import ApiError


@dataclass(frozen=True)
class Asked:
    """A chat request to `docs`."""

    question: str
    history: list[Message]
    client_system: str
    page_url: str | None
    stream: bool
    progress: bool
    usage: bool
    """Did the client ask for usage in the stream?"""
    logprobs: bool = False
    """Did it ask for the probabilities of tokens?"""
    plain: bool = True
    """Is the answer to be text, and no JSON?"""

    @property
    def questions(self) -> list[str]:
        """What the same person asked before, oldest first."""
        return [str(turn["content"]) for turn in self.history if turn["role"] == "user"]


def wants_grounding(request: dict[str, Any], headers: Headers) -> bool:
    """Is this a question to the wiki? Tool calls and `x-askdocs-grounding: off` are none.

    Raises:
        ApiError: 400, the header has another value.
    """
    said = headers.get("x-askdocs-grounding", "on")
    if said.lower() not in ("on", "off"):
        raise ApiError(400, f"x-askdocs-grounding: {said!r} is neither on nor off")
    if said.lower() == "off":
        return False
    messages = request.get("messages")
    if request.get("tools") or request.get("functions") or not isinstance(messages, list):
        return False
    return not any(isinstance(m, dict) and m.get("role") in ("tool", "function") for m in messages)


def take_apart(request: dict[str, Any], headers: Headers) -> Asked:
    """Raises ApiError 400 when a message is no object, or the last one not a user's text."""
    messages: list[dict[str, Any]] = request["messages"]
    if not messages or not all(isinstance(message, dict) for message in messages):
        raise ApiError(400, "messages must be a list of objects, and not empty", param="messages")
    systems = [m for m in messages if m.get("role") in ("system", "developer")]
    # Some clients put a reminder of their instructions at the end: the question is before it.
    spoken = [m for m in messages if m.get("role") not in ("system", "developer")]
    last = spoken[-1] if spoken else {}
    question = text_of(last.get("content")).strip()
    if last.get("role") != "user" or not question:
        raise ApiError(
            400,
            "the last message must be the user's, with text: it is the question to the docs",
            param="messages",
        )
    metadata = request.get("metadata")
    page_url = metadata.get("page_url") if isinstance(metadata, dict) else None
    options = request.get("stream_options")
    return Asked(
        question=question,
        history=[
            {"role": m["role"], "content": text_of(m.get("content"))}
            for m in spoken[:-1]
            if m.get("role") in ("user", "assistant")
        ],
        client_system="\n\n".join(text_of(m.get("content")) for m in systems),
        page_url=page_url if isinstance(page_url, str) else None,
        stream=bool(request.get("stream")),
        progress=headers.get("x-askdocs-progress", "").lower() == "on",
        usage=isinstance(options, dict) and bool(options.get("include_usage")),
        logprobs=bool(request.get("logprobs")),
        plain=not is_structured(request),
    )


def text_of(content: Any) -> str:
    """The text of a message's content, which is a string or a list of parts.

    Half a surrogate pair, which JSON can carry and UTF-8 cannot, becomes a question mark.
    """
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "\n".join(part for part in parts if isinstance(part, str))
    return content.encode("utf-8", "replace").decode() if isinstance(content, str) else ""


def is_structured(request: dict[str, Any]) -> bool:
    """Is the form of the answer given: by a schema, a grammar, a choice?"""
    if any(request.get(name) for name in STRUCTURES):
        return True
    return _kind(request.get("response_format")) not in ("", "text")


# Fields beside `response_format` by which vLLM and llama.cpp are given the form of an answer.
STRUCTURES = (
    *("structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar"),
    *("grammar", "json_schema"),
)


def _kind(response_format: Any) -> str:
    return str(response_format.get("type", "")) if isinstance(response_format, dict) else ""
