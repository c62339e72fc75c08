"""The endpoints under /v1, each declared once for routes, validation, OpenAPI, metrics and traces.

`gateway.runtime.app` lists the routes.
"""

from typing import NamedTuple


class Endpoint(NamedTuple):
    """An endpoint, served with and without /v1."""

    path: str
    is_chat: bool = False
    """Does the model receive the alias's instructions?"""
    summary: str = ""
    """A summary for the OpenAPI description."""
    answer: str = ""
    """The name of the response schema in OpenAPI."""
    headers: tuple[str, ...] = ()
    """The headers that it reads, in addition to those of every model endpoint."""


DESCRIPTION = "/openapi.json"  # not under /v1
GROUNDING = "x-askdocs-grounding"  # requests pages, or none; the response states the outcome
PROGRESS = "x-askdocs-progress"
SOURCES = "x-askdocs-sources"  # where the client shows them: in the text, or as annotations

CHAT = Endpoint(
    "/chat/completions",
    is_chat=True,
    summary="Answer, with or without the wiki",
    answer="ChatCompletion",
    headers=(GROUNDING, SOURCES, PROGRESS),
)
COMPLETIONS = Endpoint("/completions", summary="Complete a text", answer="Completion")
EMBEDDINGS = Endpoint("/embeddings", summary="Embed texts", answer="Embeddings")
RERANK = Endpoint("/rerank", summary="Rank texts by relevance to a question", answer="Ranks")
RESPONSES = Endpoint(
    "/responses",
    is_chat=True,
    summary="Answer in the Responses format",
    answer="Response",
    headers=(GROUNDING, SOURCES),
)
MESSAGES = Endpoint(
    "/messages",
    is_chat=True,
    summary="Answer in the Messages format",
    answer="Message",
    headers=(GROUNDING, SOURCES),
)
COUNT_TOKENS = Endpoint("/messages/count_tokens")
MODELS = Endpoint("/models")
MCP = Endpoint("/mcp")
OTHER = Endpoint("other")  # the label of paths without a series of their own, in metrics and traces
# Endpoints that a model answers.
ENDPOINTS = (CHAT, COMPLETIONS, EMBEDDINGS, RERANK, RESPONSES, MESSAGES)
