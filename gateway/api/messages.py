"""Translates `/v1/messages` to and from chat.

https://docs.anthropic.com/en/api/messages, and its pages about streaming and citations. Omits
tools that run at Anthropic, and the thoughts of earlier turns.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from gateway.answering.stream import new_id
from gateway.api.plan import tokens
from gateway.api.rules import shown
from gateway.api.translation import Part, Translation, event, field, refused, same_fields, text
from gateway.http.asgi import dump

Block = dict[str, Any]

_STOPS = {
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_THINKS = ("enabled", "adaptive")


class Messages(Translation):
    """Translates one request. While the chat streams, `_block` and the calls are open."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        super().__init__(request)
        self._id = new_id("msg_")
        self._index = -1
        self._block = ""  # type of the open block: text or thoughts
        self._calls: dict[int, int] = {}  # the block index of each call, by the chat's index
        self._reminded: dict[int, list[str]] = {}  # texts of a message, by its index in the chat
        self._stop = ""
        self._sequence: str | None = None
        self._has_begun = False
        thinking = request.get("thinking") or {}
        self._shows_thoughts = thinking.get("type") in _THINKS

    # The request

    def _chat(self) -> dict[str, Any]:
        request = self.request
        if system := request.get("system"):
            system_texts = [system] if isinstance(system, str) else list(_texts("system", system))
            self.add("system", {"role": "system", "content": "\n\n".join(system_texts)})
        for number, message in enumerate(request["messages"]):
            self._message(f"messages[{number}]", message)
        for position, texts in self._reminded.items():
            self.messages[position]["content"] = "\n\n".join(texts)
        same = ("model", "stream", "temperature", "top_p", "top_k", "metadata", "user")
        body = {"messages": self.messages, **same_fields(request, *same)}
        if isinstance(person := (request.get("metadata") or {}).get("user_id"), str):
            body.setdefault("user", person)
        if "max_tokens" in request:
            body["max_completion_tokens"] = request["max_tokens"]
        if "stop_sequences" in request:
            body["stop"] = request["stop_sequences"]
        output = request.get("output_config") or {}
        form = request.get("output_format") or output.get("format")
        if isinstance(form, dict) and form.get("type") == "json_schema":
            schema = {"name": "output", "schema": form.get("schema"), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if isinstance(output.get("effort"), str):
            body["reasoning_effort"] = output["effort"]
        tools: list[Block] = []
        for number, tool in enumerate(request.get("tools") or ()):
            if _runs(tool):
                self.places[f"tools[{len(tools)}]"] = f"tools[{number}]"
                tools.append(_tool(f"tools[{number}]", tool))
        if tools:
            body["tools"] = tools
            choice = request.get("tool_choice") or {}
            if (kind := choice.get("type")) is not None:
                text("tool_choice.type", kind)
            if kind == "tool":
                function = {"name": field("tool_choice", choice, "name")}
                body["tool_choice"] = {"type": "function", "function": function}
            elif kind is not None:
                if kind not in _CHOICES:
                    raise refused(
                        "tool_choice.type", f"({shown(kind)}) must be auto, any, tool or none"
                    )
                body["tool_choice"] = _CHOICES[kind]
            if choice.get("disable_parallel_tool_use"):
                body["parallel_tool_calls"] = False
        return body

    def _message(self, place: str, message: Block) -> None:
        role, content = message["role"], message.get("content")
        if role == "system":
            self._remind(place, content)
            return
        if role not in ("user", "assistant"):
            raise refused(f"{place}.role", f"({shown(role)}) must be user, assistant or system")
        if not isinstance(content, list):
            self.add(place, {"role": role, "content": content or ""})
            return
        parts: list[Part] = []
        calls = []
        for number, block in enumerate(content):
            where = f"{place}.content[{number}]"
            kind = block["type"]
            if role == "user" and kind == "tool_result":
                if parts:
                    self.add_parts(role, place, parts)
                    parts = []
                self._result(where, block)
            elif role == "assistant" and kind == "tool_use":
                calls.append((where, block))
            elif not (role == "assistant" and kind in ("thinking", "redacted_thinking")):
                parts += _parts(where, block)
        if parts:
            self.add_parts(role, place, parts)
        elif calls:
            self.add(place, {"role": role, "content": None})
        for where, block in calls:
            arguments = dump(block.get("input") or {}).decode()
            name = field(where, block, "name")
            self.call(where, field(where, block, "id"), name, arguments)

    def _remind(self, place: str, content: Any) -> None:
        """Append a system message within the conversation, as Claude Code sends it, to the user's
        message.

        Many chat templates reject system messages there, and two consecutive user messages.
        """
        if not isinstance(content, list):
            content = [{"type": "text", "text": content or ""}]
        texts = "\n\n".join(_texts(f"{place}.content", content))
        reminder = f"<system-reminder>\n{texts}\n</system-reminder>"
        last = self.messages[-1] if self.messages else {}
        if last.get("role") != "user":
            self.add(place, {"role": "user", "content": reminder})
        elif isinstance(existing := last["content"], list):
            existing.append({"type": "text", "text": reminder})
        else:  # joined once at the end, so that a long text is not copied for each reminder
            self._reminded.setdefault(len(self.messages) - 1, [existing]).append(reminder)

    def _result(self, place: str, block: Block) -> None:
        content = block.get("content")
        if content is None or isinstance(content, str):
            result: Any = content or ""
        else:
            if not isinstance(content, list) or not all(
                isinstance(entry, dict) for entry in content
            ):
                raise refused(f"{place}.content", "must be text or a list of blocks")
            parts = [
                part
                for number, entry in enumerate(content)
                for part in _parts(f"{place}.content[{number}]", entry)
            ]
            result = [part.content for part in parts]
            if all(part["type"] == "text" for part in result):
                result = "\n".join(part["text"] for part in result)
            else:
                for index, part in enumerate(parts):
                    self.places[f"messages[{len(self.messages)}].content[{index}]"] = part.place
        self.add_result(place, block, "tool_use_id", result)

    # The answer

    def _whole(self, chat: dict[str, Any]) -> dict[str, Any]:
        choice = chat["choices"][0]
        message = choice["message"]
        self._note(choice)
        content: list[Block] = []
        thought = message.get("reasoning_content") or message.get("reasoning")
        if thought and self._shows_thoughts:
            content.append({"type": "thinking", "thinking": thought, "signature": ""})
        message_text = message.get("content") or message.get("refusal")
        calls = message.get("tool_calls") or ()
        if message_text or not calls:
            content.append({"type": "text", "text": message_text or ""})
            if cited := self._cited(message.get("annotations")):
                content[-1]["citations"] = cited
        if message.get("refusal"):
            self._stop = "refusal"
        for call in calls:
            self._stop = "tool_use"
            function = call["function"]
            block = {"type": "tool_use", "id": call["id"], "name": function["name"]}
            content.append({**block, "input": _arguments(function.get("arguments"))})
        whole = {**self._head(), "content": content, **self._stopped(), "usage": self._used()}
        return whole | ({"askdocs": self._askdocs} if self._askdocs else {})

    def _chunk(self, chunk: dict[str, Any]) -> bytes:
        out = b"" if self._has_begun else self._begin()
        for choice in chunk["choices"]:
            delta = choice.get("delta") or {}
            self._note(choice)
            thought = delta.get("reasoning_content") or delta.get("reasoning")
            if thought and self._shows_thoughts:
                if self._block != "thinking":
                    out += self._start({"type": "thinking", "thinking": "", "signature": ""})
                out += self._delta("thinking_delta", thinking=thought)
            if delta_text := delta.get("content") or delta.get("refusal"):
                if self._block != "text":
                    out += self._start({"type": "text", "text": ""})
                out += self._delta("text_delta", text=delta_text)
            if delta.get("refusal"):
                self._stop = "refusal"
            if self._block == "text":
                for citation in self._cited(delta.get("annotations")):
                    out += self._delta("citations_delta", citation=citation)
            for call in delta.get("tool_calls") or ():
                out += self._call(call)
        return out

    def _end(self) -> bytes:
        out = b"" if self._has_begun else self._begin()
        if self._index < 0:
            out += self._start({"type": "text", "text": ""})
        out += self._close()
        for index in self._calls.values():
            out += event("content_block_stop", {"index": index})
        last = {"askdocs": self._askdocs} if self._askdocs else {}
        out += event("message_delta", {"delta": self._stopped(), "usage": self._used(), **last})
        return out + event("message_stop", {})

    def _failed(self, error: dict[str, Any]) -> bytes:
        return event("error", {"error": {"type": "api_error", "message": error["message"]}})

    def _begin(self) -> bytes:
        self._has_begun = True
        nothing = {"stop_reason": None, "stop_sequence": None, "usage": self._used()}
        return event("message_start", {"message": {**self._head(), "content": [], **nothing}})

    def _call(self, call: Block) -> bytes:
        """Extend a tool call. Blocks of calls end with the answer: calls may be interleaved."""
        function = call.get("function") or {}
        out = b""
        number = call.get("index", 0)
        if number not in self._calls:
            self._stop = "tool_use"
            id, name = call.get("id") or new_id("toolu_"), function.get("name") or ""
            out = self._start({"type": "tool_use", "id": id, "name": name, "input": {}})
            self._block = ""
            self._calls[number] = self._index
        if more := function.get("arguments"):
            delta = {"type": "input_json_delta", "partial_json": more}
            out += event("content_block_delta", {"index": self._calls[number], "delta": delta})
        return out

    def _start(self, block: Block) -> bytes:
        out = self._close()
        self._index += 1
        self._block = block["type"]
        begun = {"index": self._index, "content_block": block}
        return out + event("content_block_start", begun)

    def _delta(self, kind: str, **more: Any) -> bytes:
        delta = {"type": kind, **more}
        return event("content_block_delta", {"index": self._index, "delta": delta})

    def _close(self) -> bytes:
        if not self._block:
            return b""
        self._block = ""
        return event("content_block_stop", {"index": self._index})

    def _note(self, choice: Mapping[str, Any]) -> None:
        """Note why the answer ends, if the choice says so."""
        reason = choice.get("finish_reason")
        if reason and not self._stop:
            self._stop = _STOPS.get(reason, "end_turn")
            matched = choice.get("stop_reason")  # vLLM's field
            if self._stop == "end_turn" and isinstance(matched, str):
                self._stop, self._sequence = "stop_sequence", matched

    def _stopped(self) -> dict[str, Any]:
        return {"stop_reason": self._stop or "end_turn", "stop_sequence": self._sequence}

    def _head(self) -> dict[str, Any]:
        model = self.request["model"]
        return {"id": self._id, "type": "message", "role": "assistant", "model": model}

    def _used(self) -> dict[str, Any]:
        prompt, completion, _ = tokens(self._usage) or (0, 0, 0)
        return {
            "input_tokens": prompt,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": completion,
        }

    def _cited(self, annotations: Any) -> list[Block]:
        """Cites each section once, as Anthropic cites a web page.

        Vercel's AI SDK knows this type, and rejects an answer with a `search_result_location`.
        """
        facts = self._askdocs if isinstance(self._askdocs, dict) else {}
        quotes = {source["url"]: source["quote"] for source in facts.get("sources") or ()}
        citations: dict[str, Block] = {}
        for annotation in annotations if isinstance(annotations, list) else ():
            if isinstance(annotation, dict) and isinstance(
                place := annotation.get("url_citation"), dict
            ):
                url = place["url"]
                citations.setdefault(
                    url,
                    {
                        "type": "web_search_result_location",
                        "cited_text": quotes.get(url, ""),
                        "url": url,
                        "title": place["title"],
                        "encrypted_index": "",
                    },
                )
        return list(citations.values())


_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def _texts(place: str, blocks: list[Block]) -> Iterator[str]:
    for number, block in enumerate(blocks):
        if block["type"] != "text":
            raise refused(f"{place}[{number}].type", f"({shown(block['type'])}) must be text")
        yield block["text"]


def _runs(tool: Any) -> bool:
    """Is it the client's own tool, rather than one that runs at Anthropic?"""
    return tool.get("type") in (None, "custom")


def _tool(place: str, tool: Block) -> dict[str, Any]:
    schema = tool.get("input_schema")
    if not isinstance(schema, dict):
        raise refused(f"{place}.input_schema", "must be an object")
    function = {"name": field(place, tool, "name"), "parameters": schema}
    return {
        "type": "function",
        "function": {**function, **same_fields(tool, "description", "strict")},
    }


def _parts(place: str, block: Block) -> list[Part]:
    """Converts a block to chat parts. Raises ApiError 400."""
    kind = block.get("type")
    source = block.get("source")
    source = source if isinstance(source, dict) else {}
    if kind == "text":
        return [Part(place, {"type": "text", "text": field(place, block, "text")})]
    if kind == "image":
        if source.get("type") == "url":
            url = field(f"{place}.source", source, "url")
        elif source.get("type") == "base64":
            data = field(f"{place}.source", source, "data")
            url = f"data:{field(f'{place}.source', source, 'media_type')};base64,{data}"
        else:
            raise refused(f"{place}.source", "must be base64 or url; files are not stored here")
        return [Part(place, {"type": "image_url", "image_url": {"url": url}})]
    if kind == "document":
        title = f"{block['title']}\n\n" if isinstance(block.get("title"), str) else ""
        if source.get("type") == "text":
            data = field(f"{place}.source", source, "data")
            return [Part(place, {"type": "text", "text": title + data})]
        if source.get("type") == "content":
            return _within(f"{place}.source.content", source.get("content"), title)
        if source.get("type") == "base64":
            data = field(f"{place}.source", source, "data")
            url = f"data:{field(f'{place}.source', source, 'media_type')};base64,{data}"
            return [Part(place, {"type": "file", "file": {"file_data": url}})]
        raise refused(f"{place}.source", "must be text, content or base64; nothing is fetched")
    if kind == "search_result":
        title = f"{field(place, block, 'title')} ({field(place, block, 'source')})\n\n"
        return _within(f"{place}.content", block.get("content"), title)
    raise refused(f"{place}.type", f"({shown(kind)}) is not served here")


def _within(place: str, content: Any, title: str) -> list[Part]:
    """Converts the blocks within a document or a search result."""
    if isinstance(content, str):
        return [Part(place, {"type": "text", "text": title + content})]
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise refused(place, "must be text or a list of blocks")
    heading = [Part(place, {"type": "text", "text": title})] if title else []
    inside = [block for block in content if block.get("type") in ("text", "image")]
    if len(inside) != len(content):
        raise refused(place, "may have blocks of type text and image")
    parts = [part for n, block in enumerate(inside) for part in _parts(f"{place}[{n}]", block)]
    return heading + parts


def _arguments(text: Any) -> Any:
    try:
        return orjson.loads(text or "{}")
    except ValueError:
        return {}
