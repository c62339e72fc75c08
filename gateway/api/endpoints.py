"""The endpoints under /v1, each once: routes, validation, OpenAPI, metrics and traces use them.

`gateway.runtime.app` lists the routes.
"""

from typing import NamedTuple


class Endpoint(NamedTuple):
    """An endpoint under /v1, and without it."""

    path: str
    is_chat: bool = False
    """Is the model given the alias's instructions?"""
    summary: str = ""
    """What it does, for the OpenAPI description."""
    answer: str = ""
    """The name of its answer's schema there."""
    headers: tuple[str, ...] = ()
    """Those that it reads, beside the model's."""


DESCRIPTION = "/openapi.json"  # not under /v1
GROUNDING = "x-askdocs-grounding"  # asks for pages, or for none; the response says what it got
PROGRESS = "x-askdocs-progress"

CHAT = Endpoint(
    "/chat/completions",
    is_chat=True,
    summary="Answer, from the wiki or not",
    answer="ChatCompletion",
    headers=(GROUNDING, PROGRESS),
)
COMPLETIONS = Endpoint("/completions", summary="Go on with a text", answer="Completion")
EMBEDDINGS = Endpoint("/embeddings", summary="Turn texts into vectors", answer="Embeddings")
RERANK = Endpoint("/rerank", summary="Order texts by how well they answer", answer="Ranks")
RESPONSES = Endpoint(
    "/responses",
    is_chat=True,
    summary="Answer, as the Responses API has it",
    answer="Response",
    headers=(GROUNDING,),
)
MESSAGES = Endpoint(
    "/messages",
    is_chat=True,
    summary="Answer, as the Messages API has it",
    answer="Message",
    headers=(GROUNDING,),
)
COUNT_TOKENS = Endpoint("/messages/count_tokens")
MODELS = Endpoint("/models")
MCP = Endpoint("/mcp")
OTHER = Endpoint("other")  # in metrics and traces: a path that has no series of its own
# Answered by a model.
ENDPOINTS = (CHAT, COMPLETIONS, EMBEDDINGS, RERANK, RESPONSES, MESSAGES)
