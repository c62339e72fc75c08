"""What a model cannot do: refused with the field's name before it is asked, never passed over.

llama.cpp states what its model can do, and leaves out the tools of a chat template that has no
place for them. vLLM refuses by itself, in words of its own.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.engine import Abilities
from gateway.http import ApiError

# The kinds of media, by the part of a content.
MEDIA = {
    "image_url": "vision",
    "image_embeds": "vision",
    "input_audio": "audio",
    "audio_url": "audio",
    "audio_embeds": "audio",
    "video_url": "video",
    "file": "file",
}
_NO_MEDIA = re.compile(r"multimodal|image|audio|video", re.I)
_NO_TOOLS = re.compile(r"--enable-auto-tool-choice|--tool-call-parser")


def media(request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Place and type of each part of the messages that is not text."""
    for number, message in enumerate(request.get("messages") or ()):
        content = message.get("content")
        for index, part in enumerate(content if isinstance(content, list) else ()):
            if (kind := part.get("type")) in MEDIA:
                yield f"messages[{number}].content[{index}]", kind


def is_forced(request: Mapping[str, Any]) -> bool:
    """Is the model to call a tool in any case?"""
    return request.get("tool_choice") not in (None, "none", "auto")


def check(name: str, can: Abilities, request: Mapping[str, Any]) -> None:
    """Raises ApiError 400: the model has no eyes or ears for a part, or no way to call tools."""
    if can.media is not None:
        for place, kind in media(request):
            if MEDIA[kind] not in can.media:
                raise no_media(name, place, kind)
    if can.tools is False and is_forced(request):
        raise _no_tools(name)
    if request.get("echo") and not can.echo:
        text = f"echo: the engine of {name} does not give the prompt back, unless max_tokens is 0"
        raise ApiError(400, text, param="echo", code="model_not_supported")


def explained(name: str, error: ApiError, request: Mapping[str, Any]) -> ApiError:
    """An engine's refusal, with the field that it is about where the engine does not name it."""
    text = str(error)
    if error.status != 400 or error.body["error"]["param"]:
        return error
    if request.get("tools") and _NO_TOOLS.search(text):
        return _no_tools(name)
    found = next(media(request), None)
    return no_media(name, *found) if found and _NO_MEDIA.search(text) else error


def chosen_alone(request: dict[str, Any]) -> dict[str, Any]:
    """A request that names a tool, with that tool alone: engines read a name in various ways."""
    choice = request.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") != "function":
        return request
    name = choice["function"]["name"]
    tools = [tool for tool in request["tools"] if tool.get("function", {}).get("name") == name]
    return {**request, "tools": tools, "tool_choice": "required"}


def no_media(name: str, place: str, kind: str) -> ApiError:
    return ApiError(
        400,
        f"{place} is of type {kind}, which {name} cannot read: send text, or ask another model",
        param=place,
        code="model_not_supported",
    )


def _no_tools(name: str) -> ApiError:
    return ApiError(
        400,
        f"{name} cannot be made to call tools: leave tool_choice at auto, ask for JSON with"
        " response_format, or ask another model",
        param="tool_choice",
        code="model_not_supported",
    )
