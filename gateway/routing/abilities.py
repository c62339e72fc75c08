"""Capabilities of models: unsupported fields are rejected by name, never ignored.

llama.cpp reports the capabilities of its model, but silently drops tools if the chat template does
not support them. vLLM rejects unsupported fields itself, with its own messages.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.api.endpoints import EMBEDDINGS, RERANK
from gateway.http.asgi import ApiError
from gateway.http.json_body import children, nested
from gateway.upstream.engine import Abilities
from gateway.upstream.local import models

# The kind of media of each type of content part.
MEDIA = {
    "image_url": "vision",
    "image_embeds": "vision",
    "input_audio": "audio",
    "audio_url": "audio",
    "audio_embeds": "audio",
    "video_url": "video",
    "file": "file",
}
# The gateway's own model for each endpoint that an engine for chats does not serve.
OWN = {EMBEDDINGS.path: models.EMBEDDINGS, RERANK.path: models.RERANK}
_NO_MEDIA = re.compile(r"multimodal|image|audio|video|content\[\]|part type", re.I)
_NO_TOOLS = re.compile(r"--enable-auto-tool-choice|--tool-call-parser")


def media(request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the location and type of each non-text part of the messages."""
    return ((place, part["type"]) for place, part in _media(request))


def _media(request: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, message in enumerate(request.get("messages") or ()):
        content = message.get("content")
        for index, part in enumerate(content if isinstance(content, list) else ()):
            if part.get("type") in MEDIA:
                yield f"messages[{number}].content[{index}]", part


def without_media(request: Mapping[str, Any]) -> list[Any]:
    """The messages of a request, reduced to their text."""
    messages = []
    for message in request.get("messages") or ():
        content = message.get("content")
        if isinstance(content, list):
            content = [part for part in content if part.get("type") not in MEDIA]
        messages.append({**message, "content": content})
    return messages


def is_forced(request: Mapping[str, Any]) -> bool:
    """Must the model call a tool?"""
    return request.get("tool_choice") not in (None, "none", "auto")


def speaks(request: Mapping[str, Any]) -> bool:
    """Does the request ask for audio output?"""
    return "audio" in (request.get("modalities") or ())


def check(name: str, can: Abilities, request: Mapping[str, Any]) -> None:
    """Raises ApiError 400: the model does not support the request's images, audio, video or speech,
    or cannot call tools; or as `refuse_addresses`."""
    if can.media is not None:
        for place, kind in media(request):
            if MEDIA[kind] not in can.media:
                raise no_media(name, place, kind)
    refuse_addresses(request)
    if can.tools is False and is_forced(request):
        raise no_tools(name)
    refuse_to_speak(name, request)
    if request.get("echo") and not can.echo:
        text = f"echo: the engine of {name} returns the prompt only if max_tokens is 0"
        raise ApiError(400, text, param="echo", code="model_not_supported")


def refuse_to_speak(name: str, request: Mapping[str, Any]) -> None:
    """Raises ApiError 400: the request asks for audio output."""
    if speaks(request):
        text = f"modalities: {name} writes text only, not audio"
        raise ApiError(400, text, param="modalities", code="model_not_supported")


def refuse_addresses(request: Mapping[str, Any]) -> None:
    """Raises ApiError 400: a part is an address.

    Engines fetch any address, even of hosts that only their machine reaches, and even to count
    tokens.
    """
    for place, part in _media(request):
        kind = part["type"]
        inside = part.get(kind)
        url = inside.get("url") if isinstance(inside, dict) else inside
        if kind.endswith("_url") and not (isinstance(url, str) and url.startswith("data:")):
            raise ApiError(
                400,
                f"{place}.{kind} is not a data: URL, and engines here do not fetch addresses: "
                "send the file itself, as data:image/png;base64,...",
                param=f"{place}.{kind}",
                code="invalid_value",
            )


# Files that LiteLLM lets a provider read with the operator's credentials: in the operator's
# buckets, or uploaded to Gemini.
_BUCKETS = ("gs://", "s3://")
_GEMINI = "generativelanguage.googleapis.com"
_KEPT = (*_BUCKETS, _GEMINI)
_ADDRESSES = (*_BUCKETS, f"https://{_GEMINI}", "files/")


def refuse_kept_files(request: Mapping[str, Any]) -> None:
    """Raises ApiError 400: a part or a text to embed names a file stored at a provider, which would
    be the operator's."""
    for place, part in _media(request):
        if _names_kept(part):
            raise _kept(place)
    given = request.get("input")
    for number, text in enumerate(given if isinstance(given, list) else [given]):
        # A text that mentions a bucket may be embedded. LiteLLM treats a text that begins with an
        # address, or names a file uploaded to Gemini, as a file.
        if isinstance(text, str) and text.strip().lower().startswith(_ADDRESSES):
            raise _kept(f"input[{number}]" if isinstance(given, list) else "input")


_DATA = re.compile(
    r"data:[a-z]{1,20}/[\w.+-]{1,100}(?:;[\w=.+-]{1,100}){0,4};base64,", re.IGNORECASE
)
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n "
# Characters of an address or name in a part; what is longer is data.
_LONGEST_ADDRESS = 8192


def refuse_odd_data(request: Mapping[str, Any]) -> None:
    """Raises ApiError 400: a picture, sound or file for a provider is not base64.

    LiteLLM searches errors that repeat it for secrets, which takes minutes for some texts of a few
    MB: 40 s for a picture of 5 MiB without the beginning of a `data:` URL.
    """
    for place, part in _media(request):
        is_url = part["type"].endswith("_url")
        for text in nested(part):
            if isinstance(text, str) and not _is_data(text, is_url):
                why = f"the data in {place} is not base64: send it as data:image/png;base64,..."
                raise ApiError(400, why, param="messages", code="invalid_value")


def _is_data(text: str, as_url: bool) -> bool:
    """Whether a `data:` URL, or a text too long for an address, is base64. True for others.

    `as_url`: data has the form of a `data:` URL.
    """
    is_url = text[:5].lower() == "data:"
    if not is_url and len(text) <= _LONGEST_ADDRESS:
        return True
    head = _DATA.match(text)
    if (is_url or as_url) and head is None:
        return False
    data = text[head.end() :] if head else text
    return data.isascii() and not data.encode().translate(None, _BASE64)


# Maximum nesting of lists and objects. LiteLLM copies bodies recursively, and fails at a depth of
# some 250 as if the provider had failed, which opens its breaker for all users.
DEEPEST = 64


def refuse_depth(request: Mapping[str, Any]) -> None:
    """Raises ApiError 400: the body for a provider is nested too deeply."""
    for name, value in request.items():
        level = [value] if isinstance(value, dict | list) else []
        for _ in range(DEEPEST):
            level = [
                inside
                for outer in level
                for inside in children(outer)
                if isinstance(inside, dict | list)
            ]
        if level:
            text = (
                f"{name} is nested too deeply: at most {DEEPEST} lists and objects in one another"
            )
            raise ApiError(400, text, param=name, code="invalid_value")


# Maximum values of a request's schemas once references are expanded. LiteLLM expands them in the
# event loop for Gemini and Bedrock: 26 definitions with two references each would take gigabytes,
# and 128 tools of this size each would take seconds.
EXPANDED = 20_000


def refuse_schema_bombs(request: Mapping[str, Any]) -> None:
    """Raises ApiError 400: the references in the schemas for a provider expand to too many
    values."""
    schemas = {"response_format": request.get("response_format")}
    for number, tool in enumerate(request.get("tools") or ()):
        schemas[f"tools[{number}].function.parameters"] = tool.get("function")
    left = EXPANDED
    for place, schema in schemas.items():
        left -= _expanded(schema, left)
        if left < 0:
            text = (
                f"{place}: the schemas of a request may have {EXPANDED:,} values with their"
                " definitions in place"
            )
            raise ApiError(400, text, param=place, code="invalid_value")


def _expanded(schema: Any, most: int) -> int:
    """Counts the values of a schema with definitions, up to one more than `most`; 0 for others.

    Follows LiteLLM's expansion: by a reference's last part, without recursion.
    """
    definitions: dict[str, Any] = {}
    for value in nested(schema):
        for name in ("$defs", "definitions") if isinstance(value, dict) else ():
            if isinstance(inside := value.get(name), dict):
                definitions.update(inside)
    left: list[tuple[Any, frozenset[str]]] = [(schema, frozenset())] if definitions else []
    count = 0
    while left and count <= most:
        value, within = left.pop()
        count += 1
        reference = value.get("$ref") if isinstance(value, dict) else None
        if isinstance(reference, str):
            name = reference.rpartition("/")[2]
            if name in definitions and name not in within:
                left.append((definitions[name], within | {name}))
        else:
            left += [(inside, within) for inside in children(value)]
    return count


def _names_kept(value: Any) -> bool:
    """Does any text in the value, at any depth, name such a file?"""
    return any(
        "://" in text and any(mark in text.lower() for mark in _KEPT)
        for text in nested(value)
        if isinstance(text, str)
    )


def _kept(place: str) -> ApiError:
    text = f"{place} names a file stored elsewhere: send the file itself"
    return ApiError(400, text, param=place, code="invalid_value")


def explained(name: str, error: ApiError, request: Mapping[str, Any]) -> ApiError:
    """Adds the field to an engine's refusal that does not name it."""
    text = str(error)
    # For an unknown part, vLLM names the field `type` without its location.
    if error.status != 400 or error.body["error"]["param"] not in (None, "type"):
        return error
    if request.get("tools") and _NO_TOOLS.search(text):
        return no_tools(name)
    medium = next(media(request), None)
    return no_media(name, *medium) if medium and _NO_MEDIA.search(text) else error


def forced(request: dict[str, Any]) -> dict[str, Any]:
    """Rewrites a request that forces a tool call, so that our engines obey it.

    Of the tools, only a named one is kept: engines interpret names differently. vLLM constrains
    arguments to their schema only if the function is strict, and otherwise returns a call with
    truncated or invalid arguments as text; llama.cpp always constrains them. The client's `strict`
    takes precedence.
    """
    if not is_forced(request):
        return request
    choice, tools = request["tool_choice"], request["tools"]
    if isinstance(choice, dict) and choice.get("type") == "function":
        name = choice["function"]["name"]
        functions = (tool for tool in tools if tool["type"] == "function")
        tools = [tool for tool in functions if tool["function"]["name"] == name]
        choice = "required"
    return {**request, "tools": [_strict(tool) for tool in tools], "tool_choice": choice}


def _strict(tool: dict[str, Any]) -> dict[str, Any]:
    if tool["type"] != "function" or tool["function"].get("strict") is not None:
        return tool
    return {**tool, "function": {**tool["function"], "strict": True}}


def no_media(name: str, place: str, kind: str) -> ApiError:
    return ApiError(
        400,
        f"{place} has the type {kind}, which {name} cannot read: send text, or use another model",
        param=place,
        code="model_not_supported",
    )


def no_endpoint(name: str, path: str) -> ApiError:
    return ApiError(
        400,
        f"{name} does not answer /v1{path}: use the model {OWN[path]!r}, which is part of this "
        "gateway",
        param="model",
        code="model_not_supported",
    )


def no_tools(name: str) -> ApiError:
    return ApiError(
        400,
        f"{name} cannot be forced to call tools: set tool_choice to auto, ask for JSON with"
        " response_format, or ask another model",
        param="tool_choice",
        code="model_not_supported",
    )
