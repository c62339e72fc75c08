"""An engine that codes by a script, for sessions of agents: it looks at a file, writes another, and
says that it is done. It keeps every request."""

import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

# The tool that runs a command, by its name in opencode and in Continue.
SHELLS = {"bash", "Bash"}
COMMANDS = ("cat hello.py", "echo written >> NOTES.md")
DONE = "All of it is done."
EDIT = """hello.py
```
<<<<<<< SEARCH
print("hello")
=======
print("greeting")
>>>>>>> REPLACE
```"""
MODEL = "scripted"


@dataclass
class Scripted:
    asked: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of requests with tools, or of aider."""

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/health", lambda _: JSONResponse({})),
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
            ]
        )

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"data": [{"id": MODEL, "max_model_len": 65_536}]})

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        message = self._message(body)
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        finish = "tool_calls" if message.get("tool_calls") else "stop"
        whole = {"id": "x", "created": 1, "model": MODEL, "usage": usage}
        if not body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": finish}
            return JSONResponse({**whole, "object": "chat.completion", "choices": [choice]})

        async def chunks() -> AsyncIterator[str]:
            deltas = [message, *_pieces(message)]
            for delta, reason in [*((delta, None) for delta in deltas), ({}, finish)]:
                choice = {"index": 0, "delta": delta, "finish_reason": reason}
                chunk = {**whole, "object": "chat.completion.chunk", "choices": [choice]}
                yield f"data: {json.dumps({**chunk, 'usage': None})}\n\n"
            yield f"data: {json.dumps({**whole, 'choices': []})}\n\ndata: [DONE]\n\n"

        return StreamingResponse(chunks(), media_type="text/event-stream")

    def _message(self, body: dict[str, Any]) -> dict[str, Any]:
        """The next step of the script; its arguments are still to come where it is streamed."""
        messages = body["messages"]
        shells = [tool["function"]["name"] for tool in body.get("tools", [])]
        shell = next((name for name in shells if name in SHELLS), None)
        is_edit = "SEARCH" in json.dumps(messages)
        if shell or is_edit:
            self.asked.append(body)
        steps = list(itertools.takewhile(lambda m: m["role"] != "user", reversed(messages)))
        step = sum(message["role"] == "tool" for message in steps)
        if shell is None or step == len(COMMANDS):
            return {"role": "assistant", "content": EDIT if is_edit else DONE}
        arguments = {"command": COMMANDS[step], "description": "Run it"}
        call = {
            "index": 0,
            "id": f"call_scripted_{len(self.asked)}",
            "type": "function",
            "function": {"name": shell, "arguments": json.dumps(arguments)},
        }
        return {"role": "assistant", "content": None, "tool_calls": [call]}


def _pieces(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Takes the arguments of a call out of a message, as pieces of a stream."""
    pieces = []
    for call in message.get("tool_calls", []):
        text = call["function"]["arguments"]
        call["function"]["arguments"] = ""
        pieces += [
            {"tool_calls": [{"index": 0, "function": {"arguments": text[at : at + 7]}}]}
            for at in range(0, len(text), 7)
        ]
    return pieces
