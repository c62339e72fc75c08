"""Keeps prompts apart in the engine's prefix cache.

An engine reads a prompt faster if another one began alike. If all prompts shared its cache, anybody
could send a guess of a page or question, and learn from the time how much of it is right. So a
prompt finds only what others with the same salt have sent: requests of the same key and groups, or
questions about pages for the same readers. What everybody may read has no salt, and is shared.
"""

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

from gateway.api.endpoints import CHAT, COMPLETIONS
from gateway.upstream import fim
from gateway.upstream.engine import Engine
from wiki.rights import Groups, Reader, shown


class Salts:
    """The salts for one caller's requests."""

    def __init__(self, secret: str, key: str, reader: Reader) -> None:
        """`secret`: the installation's key. `key`: the ID of the caller's."""
        self._secret = hashlib.sha256(f"cache salt {secret}".encode()).digest()
        groups = None if reader.groups is None else sorted(reader.groups)
        self._caller = ["caller", key, groups]

    def own(self) -> str:
        """For a prompt with the caller's own texts."""
        return self._salt(self._caller)

    def of(self, readers: Groups) -> str:
        """For a question about pages with these access requirements; empty if they are public."""
        return self._salt(["readers", shown(readers)]) if readers else ""

    def _salt(self, of: list[Any]) -> str:
        text = json.dumps(of).encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:16]


async def salted(path: str, body: dict[str, Any], salt: str, engine: Engine) -> dict[str, Any]:
    """The request to the engine with this salt, which begins the prompt where an engine knows no
    `cache_salt`.

    Raises httpx.HTTPError, AskdocsError: the engine is unavailable.
    """
    if not salt:
        return body
    kind = await engine.kind()
    if kind == "vllm":
        return body | {"cache_salt": salt}
    mark = f"Session {salt}\n\n"  # a model of 135M answers with emoji below a comment
    if path == CHAT.path:
        return body | {"messages": _marked(body["messages"], mark)}
    if path == COMPLETIONS.path:
        prompt = body["prompt"]
        if isinstance(prompt, str) and fim.is_framed(prompt):
            return body | {"prompt": mark + prompt}
        # Before any other text, the mark would change what is written.
        return body | {"cache_prompt": False} if kind == "llama.cpp" else body
    return body


def _marked(messages: Sequence[dict[str, Any]], mark: str) -> list[dict[str, Any]]:
    """The messages, with the mark before all text.

    Some templates put the system's message into the last one of the user, behind earlier turns. So
    the first of the user is marked as well, from the first turn on: what an engine has read of a
    conversation stays as it was.
    """
    first = next((at for at, message in enumerate(messages) if message.get("role") == "user"), 0)
    marked = list(messages)
    for place in {0, first}:
        content = marked[place].get("content")
        if isinstance(content, list):
            content = [{"type": "text", "text": mark}, *content]
        else:
            content = f"{mark}{content or ''}"
        marked[place] = {**marked[place], "content": content}
    return marked
