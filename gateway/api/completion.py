"""`/v1/completions` for an alias that answers from the wiki.

Clients without chat support send the question as a prompt, as LlamaIndex does by default.
"""

from collections.abc import Mapping
from typing import Any

from gateway.answering.stream import new_id
from gateway.api import schemas
from gateway.api.endpoints import CHAT
from gateway.api.translation import Translation, refused
from gateway.http.asgi import DONE, dump, event

# Fields that only text completions have.
_RAW = ("suffix", "echo", "logprobs")


class Completion(Translation):
    """Treats the prompt as the question."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        super().__init__(request)
        self._id = new_id("cmpl-")

    def _chat(self) -> dict[str, Any]:
        instead = "or send x-askdocs-grounding: off for the model alone"
        for name in _RAW:
            if self.request.get(name):
                model = self.request["model"]
                raise refused(
                    name, f"is not for {model}, which answers questions; leave it out, {instead}"
                )
        prompt = self.request["prompt"]
        if isinstance(prompt, list) and len(prompt) == 1:
            (prompt,) = prompt  # LangChain sends a list of one
        if not isinstance(prompt, str):
            raise refused("prompt", f"must be one question as a string here, {instead}")
        self.places["messages[0]"] = "prompt"
        chat = schemas.ENDPOINTS[CHAT.path]
        shared = {name: value for name, value in self.request.items() if name in chat}
        shared.pop("logprobs", None)
        if not shared.get("max_tokens", 1):
            raise refused("max_tokens", f"must be above 0 here, {instead}")
        return shared | {"messages": [{"role": "user", "content": prompt}]}

    def _chunk(self, chunk: dict[str, Any]) -> bytes:
        wants_usage = (self.request.get("stream_options") or {}).get("include_usage")
        if not chunk["choices"] and not (wants_usage or chunk.get("askdocs")):
            return b""
        choices = [self._choice(choice, choice["delta"]) for choice in chunk["choices"]]
        return event({**chunk, **self._head(), "choices": choices})

    def _end(self) -> bytes:
        return DONE

    def _failed(self, error: dict[str, Any]) -> bytes:
        return b"data: %b\n\n" % dump({"error": error})

    def _whole(self, chat: dict[str, Any]) -> dict[str, Any]:
        choices = [self._choice(choice, choice["message"]) for choice in chat["choices"]]
        return {**chat, **self._head(), "choices": choices}

    def _head(self) -> dict[str, Any]:
        return {"id": self._id, "object": "text_completion"}

    def _choice(self, choice: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
        return {
            "index": choice["index"],
            "text": message.get("content") or message.get("refusal") or "",
            "logprobs": None,
            "finish_reason": choice.get("finish_reason"),
        }
