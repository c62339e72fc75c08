"""The words for a prompt that is too long: clients recognise OpenAI's and Anthropic's."""

import pytest
from orjson import dumps

from gateway.http.overflow import in_anthropics_words, in_openais_words, too_long
from gateway.routing.dispatch import stated

OPENAI = "This model's maximum context length is"
ANTHROPIC = "prompt is too long: 204210 tokens > 200000 maximum"
VLLM = (
    "This model's maximum context length is 4096 tokens. However, you requested 20 output tokens"
    " and your prompt contains at least 5000 input tokens, for a total of at least 5020 tokens."
)
LLAMACPP = "request (3000 tokens) exceeds the available context size (2048 tokens)"


def test_a_chat_learns_it_in_openais_words() -> None:
    error = too_long(5000, 4096).body["error"]
    assert error["message"].startswith(f"{OPENAI} 4096 tokens. However, your messages resulted in")
    assert error["code"] == "context_length_exceeded"
    assert in_openais_words(VLLM) == VLLM
    assert in_openais_words(ANTHROPIC) == f"{OPENAI} exceeded: {ANTHROPIC}"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (too_long(5000, 4096).body["error"]["message"], "5000 tokens > 4096 maximum"),
        (VLLM, "5020 tokens > 4096 maximum"),
        (in_openais_words(ANTHROPIC), "204210 tokens > 200000 maximum"),
        (in_openais_words(LLAMACPP), "3000 tokens > 2048 maximum"),
        (in_openais_words("input too large"), f"{OPENAI} exceeded: input too large"),
    ],
)
def test_messages_says_it_in_anthropics_words(message: str, shown: str) -> None:
    assert in_anthropics_words(message) == f"prompt is too long: {shown}"


def test_llamacpps_error_gets_openais_words() -> None:
    body = {"code": 400, "message": LLAMACPP, "type": "exceed_context_size_error"}
    error = stated(400, dumps({"error": body})).body["error"]
    assert error["message"].startswith(OPENAI)
    assert (error["type"], error["code"]) == ("invalid_request_error", "context_length_exceeded")
