"""Translates `/v1/responses` to and from chat.

https://platform.openai.com/docs/api-reference/responses and its page about streaming. Nothing is
stored: each request carries its whole conversation. Thoughts of earlier turns are not sent again.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from gateway.answering.stream import new_id
from gateway.api.plan import tokens
from gateway.api.rules import shown
from gateway.api.translation import Part, Translation, event, field, refused, same_fields, text
from gateway.http import overflow
from gateway.http.asgi import dump

Item = dict[str, Any]

_TEXTS = ("input_text", "output_text", "text")
_CALLS = ("function_call", "custom_tool_call")
_OUTPUTS = ("function_call_output", "custom_tool_call_output")
# OpenAI's grammars for custom tools work with OpenAI's models only: others get a JSON field.
_INPUT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
_NOT_KEPT = "is not stored here; send its content"


class Responses(Translation):
    """Translates one request. `_output` grows while the chat streams; calls stay open to the
    end."""

    # As OpenAI does. Codex shortens its conversation after this event, but not after error 400.
    streamed_errors = (overflow.CODE,)

    def __init__(self, request: Mapping[str, Any]) -> None:
        super().__init__(request)
        self._id = new_id("resp_")
        self._created = int(time.time())
        self._number = -1  # of the last event
        self._output: list[Item] = []
        self._index: dict[str, int] = {}  # index in `_output`, by the item's ID
        self._open: Item | None = None  # the open item: text or thoughts
        self._calls: dict[int, Item] = {}  # by the chat's index
        self._reason = ""
        self._has_begun = False
        self._offered = 0
        self._custom: set[str] = set()  # tools that take plain text
        self._spaces: dict[str, tuple[str, str]] = {}  # namespace and name, by the name in the chat

    # The request

    def _chat(self) -> dict[str, Any]:
        request = self.request
        if instructions := request.get("instructions"):
            self.add("instructions", {"role": "system", "content": instructions})
        tools = list(self._tools("tools", request.get("tools") or []))
        if isinstance(request["input"], str):
            self.add("input", {"role": "user", "content": request["input"]})
        else:
            if not request["input"]:
                raise refused("input", "must not be empty")
            for number, item in enumerate(request["input"]):
                self._item(f"input[{number}]", item)
        same = ("model", "stream", "temperature", "top_p", "user", "safety_identifier", "metadata")
        body = {"messages": self.messages, **same_fields(request, *same)}
        if "max_output_tokens" in request:
            body["max_completion_tokens"] = request["max_output_tokens"]
        wanted = request.get("text") or {}
        if isinstance(form := wanted.get("format"), dict):
            body["response_format"] = _format(form)
        if isinstance(wanted.get("verbosity"), str):
            body["verbosity"] = wanted["verbosity"]
        effort = (request.get("reasoning") or {}).get("effort")
        if isinstance(effort, str):
            body["reasoning_effort"] = effort
        if tools:
            choice, tools = self._choice(request.get("tool_choice"), tools)
            body |= {"tools": tools, **same_fields(request, "parallel_tool_calls")}
            if choice is not None:
                body["tool_choice"] = choice
        return body

    def _item(self, place: str, item: Item) -> None:
        kind = item.get("type") or ("message" if "role" in item else None)
        if kind == "message":
            role = field(place, item, "role")
            content = item.get("content")
            if isinstance(content, str):
                self.add(place, {"role": role, "content": content})
            else:
                self.add_parts(role, place, _parts(f"{place}.content", content))
        elif kind in _CALLS:
            name = field(place, item, "name")
            if kind == "function_call":
                arguments = field(place, item, "arguments")
            else:
                arguments = dump({"input": field(place, item, "input")}).decode()
            name = self._named(item.get("namespace"), name)
            self.call(place, field(place, item, "call_id"), name, arguments)
        elif kind in _OUTPUTS:
            output = item.get("output")
            result: Any = output
            if not isinstance(output, str):
                parts = _parts(f"{place}.output", output)
                result = [part.content for part in parts]
                if all(part.get("type") == "text" for part in result):
                    result = "\n".join(part["text"] for part in result)
            self.add_result(place, item, "call_id", result)
        elif kind == "item_reference":
            raise refused(place, _NOT_KEPT)
        elif kind != "reasoning":
            raise refused(f"{place}.type", f"({shown(kind)}) is not served here")

    def _tools(self, place: str, tools: Any, space: str = "") -> Iterable[Item]:
        """Converts tools, except OpenAI's hosted tools, which are not available here."""
        if not isinstance(tools, list):
            raise refused(place, "must be a list of tools")
        for number, tool in enumerate(tools):
            where = f"{place}[{number}]"
            if not isinstance(tool, dict):
                raise refused(where, "must be an object")
            kind = tool.get("type")
            if kind == "namespace" and not space:
                name = field(where, tool, "name")
                yield from self._tools(f"{where}.tools", tool.get("tools"), name)
            elif kind in ("function", "custom"):
                name = field(where, tool, "name")
                self.places[f"tools[{self._offered}]"] = where
                self._offered += 1
                if space:
                    self._spaces[f"{space}__{name}"] = (space, name)
                    name = f"{space}__{name}"
                function = {"name": name, **self._function(where, tool, name)}
                yield {"type": "function", "function": function}

    def _function(self, place: str, tool: Item, name: str) -> Item:
        if tool["type"] == "function":
            names = ("description", "parameters", "strict")
            return {name: tool[name] for name in names if tool.get(name) is not None}
        self._custom.add(name)
        about = [text(f"{place}.description", tool.get("description") or "")]
        form = tool.get("format")
        if isinstance(form, dict) and form.get("definition"):
            grammar = field(f"{place}.format", form, "definition")
            about.append(f"The input has this grammar:\n{grammar}")
        return {"description": "\n\n".join(filter(None, about)), "parameters": _INPUT}

    def _choice(self, choice: Any, tools: list[Item]) -> tuple[Any, list[Item]]:
        if not isinstance(choice, dict):
            return choice, tools
        kind = choice.get("type")
        if kind in ("function", "custom"):
            name = self._named(choice.get("namespace"), field("tool_choice", choice, "name"))
            return {"type": "function", "function": {"name": name}}, tools
        if kind == "allowed_tools":
            mode = choice.get("mode", "auto")
            if mode not in ("auto", "required"):
                raise refused("tool_choice.mode", "must be auto or required")
            names = set(_names("tool_choice.tools", choice.get("tools") or []))
            allowed = [tool for tool in tools if tool["function"]["name"] in names]
            return mode, allowed or tools
        return None, tools

    def _named(self, space: Any, name: str) -> str:
        return f"{space}__{name}" if isinstance(space, str) and space else name

    # The answer

    def _whole(self, chat: dict[str, Any]) -> dict[str, Any]:
        choice = chat["choices"][0]
        message = choice["message"]
        self._reason = choice.get("finish_reason") or ""
        if thought := message.get("reasoning_content") or message.get("reasoning"):
            self._output.append(_thought(thought))
        content = []
        if message_text := message.get("content"):
            content.append(_text(message_text, _cited(message.get("annotations"))))
        if refusal := message.get("refusal"):
            content.append({"type": "refusal", "refusal": refusal})
        calls = message.get("tool_calls") or ()
        if content or not calls:
            self._output.append(self._message(content or [_text("")], self._done()))
        for call in calls:
            item = self._called(call)
            self._output.append(self._final(item))
        return self._response(self._done())

    def _chunk(self, chunk: dict[str, Any]) -> bytes:
        out = b"" if self._has_begun else self._begin()
        for choice in chunk["choices"]:
            delta = choice.get("delta") or {}
            self._reason = choice.get("finish_reason") or self._reason
            if thought := delta.get("reasoning_content") or delta.get("reasoning"):
                out += self._think(thought)
            if delta_text := delta.get("content"):
                out += self._say("output_text", "text", delta_text)
            if delta_text := delta.get("refusal"):
                out += self._say("refusal", "refusal", delta_text)
            for citation in _cited(delta.get("annotations")):
                out += self._cite(citation)
            for call in delta.get("tool_calls") or ():
                out += self._go_on(call)
        return out

    def _end(self) -> bytes:
        out = b"" if self._has_begun else self._begin()
        if not self._output:
            out += self._say("output_text", "text", "")
        out += self._close()
        for call in self._calls.values():
            out += self._close_call(call)
        status = self._done()
        return out + self._event(f"response.{status}", response=self._response(status))

    def _failed(self, error: dict[str, Any]) -> bytes:
        out = b"" if self._has_begun else self._begin()
        # Of the gateway's codes, OpenAI has only this one here.
        code = overflow.CODE if error.get("code") == overflow.CODE else "server_error"
        failed = self._response("failed")
        failed["error"] = {"code": code, "message": error["message"]}
        return out + self._event("response.failed", response=failed)

    def _begin(self) -> bytes:
        self._has_begun = True
        response = self._response("in_progress")
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def _say(self, kind: str, name: str, more: str) -> bytes:
        """Extend the text or the refusal."""
        out = b""
        if self._open is None or self._open["type"] != "message":
            out = self._add(self._message([], "in_progress"))
        assert self._open is not None
        content = self._open["content"]
        if not content or content[-1]["type"] != kind:
            out += self._end_part()
            content.append(_text("") if kind == "output_text" else {"type": kind, "refusal": ""})
            out += self._event("response.content_part.added", **self._where(), part=content[-1])
        content[-1][name] += more
        logprobs: Item = {"logprobs": []} if kind == "output_text" else {}
        if not more:
            return out
        return out + self._event(f"response.{kind}.delta", **self._where(), delta=more, **logprobs)

    def _cite(self, citation: Item) -> bytes:
        out = b""
        if self._open is None or self._open["type"] != "message" or not self._open["content"]:
            out = self._say("output_text", "text", "")
        assert self._open is not None
        part = self._open["content"][-1]
        if part["type"] != "output_text":
            return out
        part["annotations"].append(citation)
        index = len(part["annotations"]) - 1
        return out + self._event(
            "response.output_text.annotation.added",
            **self._where(),
            annotation_index=index,
            annotation=citation,
        )

    def _think(self, thought: str) -> bytes:
        out = b""
        if self._open is None or self._open["type"] != "reasoning":
            out = self._add(_thought(""))
        assert self._open is not None
        self._open["content"][0]["text"] += thought
        return out + self._event("response.reasoning_text.delta", **self._where(), delta=thought)

    def _go_on(self, call: Item) -> bytes:
        """Extend a tool call; calls may be interleaved."""
        out = b""
        number = call.get("index", 0)
        if number not in self._calls:
            self._calls[number] = self._called(call) | {"arguments": ""}
            out = self._add(self._calls[number])
        item = self._calls[number]
        more = (call.get("function") or {}).get("arguments") or ""
        item["arguments"] += more
        if more and item["type"] == "function_call":
            kind = "response.function_call_arguments.delta"
            out += self._event(kind, **self._place(item), delta=more)
        return out

    def _add(self, item: Item) -> bytes:
        out = self._close()
        self._index[item["id"]] = index = len(self._output)
        self._output.append(item)
        self._open = None if item["type"] in _CALLS else item
        added = self._shown(item)
        return out + self._event("response.output_item.added", output_index=index, item=added)

    def _close(self) -> bytes:
        """The events that close the open text or thoughts."""
        item, out = self._open, b""
        if item is None:
            return out
        if item["type"] == "message":
            out = self._end_part()
            item["status"] = self._done()
        else:
            thought = item["content"][0]["text"]
            out = self._event("response.reasoning_text.done", **self._where(), text=thought)
        self._open = None
        index = self._index[item["id"]]
        return out + self._event("response.output_item.done", output_index=index, item=item)

    def _close_call(self, item: Item) -> bytes:
        final, place = self._final(item), self._place(item)
        index = place["output_index"]
        self._output[index] = final
        if final["type"] == "function_call":
            out = self._event(
                "response.function_call_arguments.done",
                **place,
                name=final["name"],
                arguments=final["arguments"],
            )
        else:
            out = self._event(
                "response.custom_tool_call_input.delta", **place, delta=final["input"]
            )
            out += self._event(
                "response.custom_tool_call_input.done", **place, input=final["input"]
            )
        return out + self._event("response.output_item.done", output_index=index, item=final)

    def _end_part(self) -> bytes:
        assert self._open is not None
        if not self._open["content"]:
            return b""
        part = self._open["content"][-1]
        if part["type"] == "output_text":
            done = {"text": part["text"], "logprobs": []}
        else:
            done = {"refusal": part["refusal"]}
        return self._event(f"response.{part['type']}.done", **self._where(), **done) + self._event(
            "response.content_part.done", **self._where(), part=part
        )

    def _where(self) -> Item:
        """The open part."""
        assert self._open is not None
        return {
            **self._place(self._open),
            "content_index": max(0, len(self._open["content"]) - 1),
        }

    def _place(self, item: Item) -> Item:
        return {"item_id": item["id"], "output_index": self._index[item["id"]]}

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return event(kind, {**fields, "sequence_number": self._number})

    def _done(self) -> str:
        return "incomplete" if self._reason in _CUT else "completed"

    def _message(self, content: list[Item], status: str) -> Item:
        return {
            "type": "message",
            "id": new_id("msg_"),
            "status": status,
            "role": "assistant",
            "content": content,
        }

    def _called(self, call: Item) -> Item:
        """Converts a call to an item; `_final` makes it a custom tool's when it is complete."""
        function = call.get("function") or {}
        name = str(function.get("name") or "")
        space, own = self._spaces.get(name, ("", name))
        return {
            "type": "custom_tool_call" if name in self._custom else "function_call",
            "id": new_id("ctc_" if name in self._custom else "fc_"),
            "call_id": call.get("id") or new_id("call_"),
            "name": own,
            "arguments": function.get("arguments") or "",
            "status": "in_progress",
            **({"namespace": space} if space else {}),
        }

    def _shown(self, item: Item) -> Item:
        if item["type"] != "custom_tool_call":
            return item
        return {name: value for name, value in item.items() if name != "arguments"} | {"input": ""}

    def _final(self, item: Item) -> Item:
        if item["type"] not in _CALLS:
            return item
        item = {**item, "status": "completed"}
        if item["type"] == "custom_tool_call":
            item["input"] = _input(item.pop("arguments"))
        return item

    def _response(self, status: str) -> dict[str, Any]:
        request = self.request
        cut = {"reason": _CUT[self._reason]} if status == "incomplete" else None
        response: dict[str, Any] = {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": cut,
            "instructions": request.get("instructions"),
            "max_output_tokens": request.get("max_output_tokens"),
            "max_tool_calls": request.get("max_tool_calls"),
            "model": request["model"],
            "output": list(self._output),
            "parallel_tool_calls": request.get("parallel_tool_calls", True),
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None, **(request.get("reasoning") or {})},
            "service_tier": "default",
            "store": False,
            "temperature": request.get("temperature", 1.0),
            "text": {"format": {"type": "text"}, **(request.get("text") or {})},
            "tool_choice": request.get("tool_choice", "auto"),
            "tools": [_echoed(tool) for tool in request.get("tools") or []],
            "top_logprobs": request.get("top_logprobs", 0),
            "top_p": request.get("top_p", 1.0),
            "truncation": request.get("truncation", "disabled"),
            "usage": None,
            "metadata": request.get("metadata") or {},
            **same_fields(request, "user", "safety_identifier", "prompt_cache_key"),
        }
        if status != "in_progress":
            response["usage"] = _usage(self._usage)
            if self._askdocs:
                response["askdocs"] = self._askdocs
        return response


def _echoed(tool: Item) -> Item:
    """The tool as the response repeats it: functions with all of their fields."""
    return {"strict": None, "parameters": None, **tool} if tool.get("type") == "function" else tool


_CUT = {"length": "max_output_tokens", "content_filter": "content_filter"}


def _names(place: str, tools: Any) -> Iterable[str]:
    """The names of the tools, except hosted tools, which have none."""
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise refused(place, "must be a list of objects")
    for number, tool in enumerate(tools):
        if tool.get("name") is not None:
            yield field(f"{place}[{number}]", tool, "name")


def _parts(place: str, content: Any) -> list[Part]:
    if not isinstance(content, list) or not content:
        raise refused(place, "must be text or a list of parts")
    return [_part(f"{place}[{number}]", part) for number, part in enumerate(content)]


def _part(place: str, part: Any) -> Part:
    if not isinstance(part, dict):
        raise refused(place, "must be an object with type, such as input_text")
    kind = part.get("type")
    if kind in _TEXTS:
        return Part(place, {"type": "text", "text": field(place, part, "text")})
    if kind == "refusal":
        return Part(place, {"type": "text", "text": field(place, part, "refusal")})
    if part.get("file_id") or part.get("file_url"):
        raise refused(
            place, "names a file; send its content, because files are not fetched or stored"
        )
    if kind == "input_image":
        image = {"url": field(place, part, "image_url"), **same_fields(part, "detail")}
        return Part(place, {"type": "image_url", "image_url": image})
    if kind == "input_audio":
        return Part(place, {"type": "input_audio", "input_audio": part.get("input_audio")})
    if kind == "input_file":
        return Part(place, {"type": "file", "file": same_fields(part, "file_data", "filename")})
    known = "input_text, output_text, refusal, input_image, input_audio, input_file"
    raise refused(f"{place}.type", f"({shown(kind)}) must be one of {known}")


def _format(form: Item) -> Item:
    if form.get("type") != "json_schema":
        return {"type": text("text.format.type", form.get("type"))}
    schema = {
        name: form[name] for name in ("name", "schema", "strict", "description") if name in form
    }
    return {"type": "json_schema", "json_schema": schema}


def _text(content: str, annotations: list[Item] | None = None) -> Item:
    return {
        "type": "output_text",
        "text": content,
        "annotations": annotations or [],
        "logprobs": [],
    }


def _thought(thought: str) -> Item:
    content = [{"type": "reasoning_text", "text": thought}]
    return {"type": "reasoning", "id": new_id("rs_"), "summary": [], "content": content}


def _cited(annotations: Any) -> list[Item]:
    """Converts Chat's citations, whose fields are nested one level deeper."""
    entries = annotations if isinstance(annotations, list) else ()
    return [
        {"type": entry["type"], **entry["url_citation"]}
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("url_citation"), dict)
    ]


def _input(arguments: str) -> str:
    """A custom tool's input: the field of `_INPUT`, or else the model's raw arguments."""
    try:
        value = orjson.loads(arguments)["input"]
    except (ValueError, KeyError, TypeError):
        return arguments
    return value if isinstance(value, str) else arguments


def _usage(usage: Any) -> dict[str, Any]:
    prompt, completion, _ = tokens(usage) or (0, 0, 0)
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    thought = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": thought or 0},
        "total_tokens": prompt + completion,
    }
