"""The endpoints under /v1. Routes, validation, OpenAPI, metrics and traces all use this table.

`gateway.runtime.app` lists the routes.
"""

from typing import NamedTuple


class Endpoint(NamedTuple):
    """An endpoint under /v1, and without it."""

    path: str
    is_chat: bool = False
    """Is the model given the alias's instructions?"""


CHAT = Endpoint("/chat/completions", is_chat=True)
COMPLETIONS = Endpoint("/completions")
EMBEDDINGS = Endpoint("/embeddings")
RERANK = Endpoint("/rerank")
RESPONSES = Endpoint("/responses", is_chat=True)
MESSAGES = Endpoint("/messages", is_chat=True)
COUNT_TOKENS = Endpoint("/messages/count_tokens")
MODELS = Endpoint("/models")
MCP = Endpoint("/mcp")
OTHER = Endpoint("other")  # in metrics and traces: a path that has no series of its own
# Answered by a model.
ENDPOINTS = (CHAT, COMPLETIONS, EMBEDDINGS, RERANK, RESPONSES, MESSAGES)
