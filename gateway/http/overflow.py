"""Errors for a prompt that exceeds the model's context, in the words that clients recognise.

LangChain, LiteLLM, CrewAI and Continue look for OpenAI's code or words, Claude Code for
Anthropic's. Then they shorten the conversation, or show what to do.
"""

import re

from gateway.http.asgi import ApiError

CODE = "context_length_exceeded"
_OPENAI = "This model's maximum context length is"
_ANTHROPIC = "prompt is too long"


def too_long(
    tokens: int, context: int, param: str = "messages", what: str | None = None
) -> ApiError:
    """`what`: the things that have so many tokens, if not only `param`."""
    text = (
        f"{_OPENAI} {context} tokens. However, your {what or param} resulted in {tokens} tokens."
        f" Please reduce the length of the {param}."
    )
    return ApiError(400, text, param=param, code=CODE)


def in_openais_words(message: str) -> str:
    """An engine's or a provider's message for such an error."""
    return message if _OPENAI in message else f"{_OPENAI} exceeded: {message}"


def in_anthropics_words(message: str) -> str:
    """A message in OpenAI's words, for `/v1/messages`."""
    if _ANTHROPIC in message:
        return message[message.index(_ANTHROPIC) :]
    numbers = [int(number) for number in re.findall(r"\d{1,12}", message)]
    if len(numbers) < 2:
        return f"{_ANTHROPIC}: {message}"
    # After OpenAI's words, the context comes first; llama.cpp names the prompt before it.
    context = numbers[0] if f"{_OPENAI} {numbers[0]}" in message else min(numbers)
    return f"{_ANTHROPIC}: {max(numbers)} tokens > {context} maximum"
