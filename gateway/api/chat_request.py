"""Parses and validates a grounded chat request."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers

from gateway.answering.grounding.prompt import Message
from gateway.answering.grounding.question import MOST, Question, edits, questions
from gateway.api.endpoints import GROUNDING, PROGRESS, SOURCES
from gateway.http.asgi import ApiError


@dataclass(frozen=True)
class DocsRequest:
    """A chat request to `docs`."""

    question: str
    """The message as it appears in the prompt."""
    sought: str
    """The person's question in the message: the search query."""
    before: list[str]
    """The person's earlier questions, oldest first."""
    history: list[Message]
    client_system: str
    page_url: str | None
    stream: bool
    progress: bool
    usage: bool
    """Did the client ask for usage in the stream?"""
    logprobs: bool = False
    """Did the client ask for token probabilities?"""
    plain: bool = True
    """Is the answer text rather than JSON?"""
    sources_in_text: bool = False
    """Does the client show sources only if they are in the text?"""


# The request's fields for tools, beside its messages.
OF_TOOLS = ("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call")


def wants_grounding(headers: Headers) -> bool | None:
    """Does the client ask for pages? None: the header is absent.

    Raises:
        ApiError: 400, the header has an unknown value.
    """
    value = headers.get(GROUNDING)
    if value is None:
        return None
    if value.lower() not in ("on", "off"):
        raise ApiError(400, f"{GROUNDING}: {value!r} is neither on nor off")
    return bool(value.lower() == "on")


def _wants_sources_in_text(request: Mapping[str, Any], headers: Headers) -> bool:
    """Raises ApiError 400: the header has an unknown value."""
    value = headers.get(SOURCES, "annotations").lower()
    if value not in ("text", "annotations"):
        raise ApiError(400, f"{SOURCES}: {value[:100]!r} is neither text nor annotations")
    # Other text than the model's would not fit a schema, or the probabilities of its tokens.
    has_form = is_structured(request) or bool(request.get("logprobs"))
    return value == "text" and not has_form and (request.get("n") or 1) == 1


def is_agents(request: Mapping[str, Any]) -> bool:
    """Is the conversation to be kept as it is: an agent's turn, or one without a last question?

    In an agent's turn the model has tools, may edit files, or has called a tool. The last message
    may also be the beginning of the assistant's answer, and there may be only a system message.
    """
    offered = request.get("tools") or request.get("functions")
    choice = request.get("tool_choice") or request.get("function_call")
    if offered and choice != "none":
        return True
    messages = _messages(request)
    has_called = any(
        message.get("role") in ("tool", "function") or message.get("tool_calls")
        for message in messages
    )
    return has_called or edits(messages) or not _ends_with_user(messages)


def _ends_with_user(messages: list[dict[str, Any]]) -> bool:
    roles = (message.get("role") for message in reversed(messages))
    return next((role for role in roles if role not in ("system", "developer")), "") == "user"


def has_system(request: Mapping[str, Any]) -> bool:
    """Did the client send a system prompt of its own?"""
    systems = (m for m in _messages(request) if m.get("role") in ("system", "developer"))
    return any(text_of(message.get("content")).strip() for message in systems)


def take_turn(request: Mapping[str, Any], headers: Headers) -> tuple[DocsRequest, list[Question]]:
    """Returns the person's last question in an agent's conversation, and all questions, oldest
    first; none if no person has asked anything."""
    every = questions(_messages(request), most=None)
    last = every[-1].text if every else ""
    return _asked(request, headers, last, last, every[-MOST:-1]), every


def take_apart(request: Mapping[str, Any], headers: Headers) -> DocsRequest:
    """Raises ApiError 400 if a message is not an object, or the last one is not a user's text."""
    messages: list[dict[str, Any]] = request["messages"]
    if not messages or not all(isinstance(message, dict) for message in messages):
        raise ApiError(400, "messages must be a list of objects, and not empty", param="messages")
    systems = [m for m in messages if m.get("role") in ("system", "developer")]
    # Some clients append a reminder of their instructions: the question comes before it.
    spoken = [m for m in messages if m.get("role") not in ("system", "developer")]
    last = spoken[-1] if spoken else {}
    question = text_of(last.get("content")).strip()
    if last.get("role") != "user" or not question:
        raise ApiError(
            400,
            "the last message must be the user's question, with text",
            param="messages",
        )
    *before, sought = questions(spoken) or [Question(question, 0)]
    history = [
        {"role": m["role"], "content": text_of(m.get("content"))}
        for m in spoken[:-1]
        if m.get("role") in ("user", "assistant")
    ]
    system = "\n\n".join(text_of(m.get("content")) for m in systems)
    return _asked(request, headers, question, sought.text, before, history, system)


def _asked(
    request: Mapping[str, Any],
    headers: Headers,
    question: str,
    sought: str,
    before: list[Question],
    history: list[Message] | None = None,
    client_system: str = "",
) -> DocsRequest:
    metadata = request.get("metadata")
    page_url = metadata.get("page_url") if isinstance(metadata, dict) else None
    options = request.get("stream_options")
    return DocsRequest(
        question=question,
        sought=sought,
        before=[earlier.text for earlier in before],
        history=history or [],
        client_system=client_system,
        page_url=page_url if isinstance(page_url, str) else None,
        stream=bool(request.get("stream")),
        progress=headers.get(PROGRESS, "").lower() == "on",
        usage=isinstance(options, dict) and bool(options.get("include_usage")),
        logprobs=bool(request.get("logprobs")),
        plain=not is_structured(request),
        sources_in_text=_wants_sources_in_text(request, headers),
    )


def _messages(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [message for message in request["messages"] if isinstance(message, dict)]


def text_of(content: Any) -> str:
    """Returns the text of a message's content, which is a string or a list of parts."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def is_structured(request: Mapping[str, Any]) -> bool:
    """Does the request prescribe the answer's form: by a schema, a grammar or a choice?"""
    if any(request.get(name) for name in STRUCTURES):
        return True
    return _kind(request.get("response_format")) not in ("", "text")


# Fields other than `response_format` that prescribe the answer's form in vLLM and llama.cpp.
STRUCTURES = (
    *("structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar"),
    *("grammar", "json_schema"),
)


def _kind(response_format: Any) -> str:
    return str(response_format.get("type", "")) if isinstance(response_format, dict) else ""
