"""Request schemas: every field once, with its rule, its JSON Schema and its endpoints.

These declarations drive validation (`accept`), the OpenAPI description (`gateway.api.openapi`) and
the allow-lists for engines and LiteLLM (`for_engine`, `for_litellm`). A field that is not declared
is rejected by name. The fields come from the public references: OpenAI's
(https://platform.openai.com/docs/api-reference), Anthropic's
(https://docs.anthropic.com/en/api/messages), Cohere's (https://docs.cohere.com/v2/reference/rerank)
and, for our own engines, vLLM's extra parameters
(https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html).

JSON's null means that a field is absent.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.api import chat_rules, endpoints, rules
from gateway.api.endpoints import CHAT, COMPLETIONS, EMBEDDINGS, RERANK, RESPONSES
from gateway.api.rules import Rule, refused

STOPS = 4
CODE_STOPS = 16  # of a completion: OpenAI has retired these models, and Continue sends several
PROMPTS = 512  # evaluation harnesses send batches


class Field(NamedTuple):
    """A field of a body, and its recipients."""

    rule: Rule
    engine: bool = False
    litellm: bool = False


def accept(endpoint: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Validates the body and returns the fields that were sent.

    Args:
        endpoint: the path without `/v1`, such as `/chat/completions`.

    Raises:
        ApiError: 400, with `param`, at the first missing, invalid or unknown field.
    """
    fields = ENDPOINTS[endpoint]
    for name in REQUIRED[endpoint]:
        if body.get(name) is None:
            raise refused(name, f"{name} is missing")
    accepted = {}
    for name, value in body.items():
        field = fields.get(name)
        if field is None:
            shown = name[:100].encode("utf-8", "replace").decode()
            raise refused(shown, f"{shown} is not a field of {endpoint} here")
        if value is not None:
            field.rule(name, value)
            accepted[name] = value
    if endpoint == CHAT.path:
        chat_rules.check_tool_messages(accepted["messages"])
        if "top_logprobs" in accepted and not accepted.get("logprobs"):
            raise refused("top_logprobs", "top_logprobs needs logprobs: true beside it")
        chat_rules.apply_allowed_tools(accepted)
        if (choice := accepted.get("tool_choice")) not in (None, "none", "auto"):
            chat_rules.choose(choice, accepted.get("tools") or [])
    if accepted.get("best_of", 1) > accepted.get("n", 1):
        raise refused("best_of", "best_of is not supported: the engine returns all n answers")
    if endpoint == COMPLETIONS.path and (copies := accepted.get("n", 1)) > 1:
        _copied(accepted, copies)
    return accepted


def _copied(accepted: Mapping[str, Any], copies: int) -> None:
    """Check that this number of completions per prompt is possible."""
    prompt = accepted["prompt"]
    is_list = type(prompt) is list and type(prompt[0]) is not int
    if is_list and len(prompt) * copies > PROMPTS:
        text = f"n x prompts has {len(prompt) * copies:,} entries: send at most {PROMPTS}"
        raise refused("n", text)
    if accepted.get("suffix"):
        return
    if accepted.get("max_tokens") == 0:
        raise refused("n", "n must be 1 where max_tokens is 0: all choices would be the same")
    if prompt == "" or (is_list and "" in prompt):
        # llama.cpp would never answer: the second completion waits for the first one's prompt.
        raise refused("n", "n must be 1 where a prompt is empty")


def for_engine(endpoint: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Drops fields that engines do not use, and keeps fields that the gateway has added."""
    return {name: value for name, value in body.items() if name not in _NOT_FOR_ENGINES[endpoint]}


def for_litellm(endpoint: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns only the fields that LiteLLM may receive.

    LiteLLM also reads its own settings from bodies: models, addresses, credentials, timeouts; and
    files from message fields that no reference documents.
    """
    sent = {name: value for name, value in body.items() if name in _FOR_LITELLM[endpoint]}
    if endpoint == CHAT.path:
        sent["messages"] = [
            {name: value for name, value in message.items() if name in _OF_MESSAGES}
            for message in body["messages"]
        ]
    return sent


# Message fields for LiteLLM: OpenAI's, and those that reasoning models take back.
_OF_MESSAGES = {
    *("role", "content", "name", "tool_calls", "tool_call_id", "refusal", "audio"),
    *("reasoning_content", "thinking_blocks", "cache_control", "provider_specific_fields"),
}


def _both(rule: Rule) -> Field:
    return Field(rule, engine=True, litellm=True)


def _engine(rule: Rule) -> Field:
    return Field(rule, engine=True)


def _litellm(rule: Rule) -> Field:
    return Field(rule, litellm=True)


# The endpoints. A bare `Field` is accepted because well-known clients send it, but never passed on.

_ACCOUNT: dict[str, Field] = {
    "metadata": Field(rules.small_object),  # askdocs reads page_url
    "service_tier": Field(rules.string),  # it would change the operator's costs
    "store": Field(rules.boolean),
    "safety_identifier": Field(rules.string),
    "prompt_cache_key": Field(rules.string),
    "prompt_cache_retention": Field(rules.string),
    "prompt_cache_options": Field(rules.anything),
}
_SAMPLED: dict[str, Field] = {
    "model": _both(rules.nonempty_string),
    "stream": _both(rules.boolean),
    "temperature": _both(rules.number(0, 2)),
    "top_p": _both(rules.number(0, 1)),
    "user": _both(rules.string),
    "stream_options": _both(chat_rules.stream_options),
    "max_tokens": _both(rules.integer(1)),
    "n": _both(rules.integer(1, 128)),
    "stop": _both(rules.strings(STOPS)),
    "seed": _both(rules.seed),
    "frequency_penalty": _both(rules.number(-2, 2)),
    "presence_penalty": _both(rules.number(-2, 2)),
    "logit_bias": _both(chat_rules.logit_bias),
    "response_format": _both(chat_rules.response_format),
    **_ACCOUNT,
}
# Extensions of vLLM and llama.cpp. Excluded are fields that reach other users' requests or that a
# key may not choose: priority, request_id, id_slot, lora, chat_template, kv_transfer_params,
# prompt_logprobs.
_EXTRAS: dict[str, Field] = {
    "top_k": _engine(rules.integer(-1)),
    "min_p": _engine(rules.number(0, 1)),
    "repetition_penalty": _engine(rules.number(0, 10)),
    "length_penalty": _engine(rules.number(-10, 10)),
    "min_tokens": _engine(rules.integer(0)),
    "ignore_eos": _engine(rules.boolean),
    "stop_token_ids": _engine(rules.token_ids),
    "allowed_token_ids": _engine(rules.token_ids),
    "bad_words": _engine(rules.strings(chat_rules.BIASES)),
    "include_stop_str_in_output": _engine(rules.boolean),
    "skip_special_tokens": _engine(rules.boolean),
    "spaces_between_special_tokens": _engine(rules.boolean),
    "truncate_prompt_tokens": _engine(rules.integer(-1)),
    "add_special_tokens": _engine(rules.boolean),
    "return_tokens_as_token_ids": _engine(rules.boolean),
    "cache_salt": Field(rules.nonempty_string),  # the gateway's own keeps callers apart
    "structured_outputs": _engine(rules.structure),
    "guided_json": _engine(rules.schema_or_string),
    "guided_regex": _engine(rules.grammar),
    "guided_choice": _engine(rules.strings(chat_rules.BIASES)),
    "guided_grammar": _engine(rules.grammar),
    "guided_decoding_backend": Field(
        rules.string
    ),  # outlines would fill the engine's disk with schemas
    "guided_whitespace_pattern": _engine(rules.string),
    "grammar": _engine(rules.grammar),
    "json_schema": _engine(rules.schema),
    "typical_p": _engine(rules.number(0, 1)),
    "repeat_penalty": _engine(rules.number(0, 10)),
    "repeat_last_n": _engine(rules.integer(-1)),
}
# Fields for other servers, which clients also send here: they ask for nothing that would be missed.
_HABITS: dict[str, Field] = {
    name: Field(rules.anything)
    for name in (
        *("reasoning", "usage", "provider", "transforms", "route"),  # OpenRouter
        *("thinking", "enable_thinking", "thinking_budget"),  # DeepSeek, Qwen
        *("think", "num_ctx", "keep_alive"),  # Ollama
        *("cache_prompt", "timings_per_token", "return_progress"),  # llama.cpp
    )
}
_CHAT: dict[str, Field] = {
    **_SAMPLED,
    **_EXTRAS,
    **_HABITS,
    "messages": _both(chat_rules.chat_messages),
    "max_completion_tokens": _both(rules.integer(1)),
    "logprobs": _both(rules.boolean),
    "top_logprobs": _both(rules.integer(0, 20)),
    "tools": _both(chat_rules.tools(64)),
    "tool_choice": _both(chat_rules.tool_choice),
    "parallel_tool_calls": _both(rules.boolean),
    "functions": Field(chat_rules.replaced("tools", [])),
    "function_call": Field(chat_rules.replaced("tool_choice", "none", "auto")),
    "reasoning_effort": _both(rules.string),
    "verbosity": _litellm(rules.string),
    "prediction": _litellm(rules.small_object),
    "modalities": _litellm(rules.strings(rules.ENTRIES)),
    "audio": _litellm(rules.small_object),
    "web_search_options": _litellm(rules.small_object),
    "moderation": Field(rules.anything),
    "chat_template_kwargs": _engine(rules.template_values),
    "add_generation_prompt": _engine(rules.boolean),
    "continue_final_message": _engine(rules.boolean),
    "documents": _engine(rules.objects(chat_rules.DOCUMENTS)),
    "include_reasoning": _engine(rules.boolean),
    "thinking_token_budget": _engine(rules.integer(0)),
}
_COMPLETIONS: dict[str, Field] = {
    **_SAMPLED,
    **_EXTRAS,
    "prompt": _both(rules.inputs(PROMPTS)),
    "max_tokens": _both(rules.integer(0)),  # 0 with echo returns a text's logprobs, for evaluations
    "stop": _both(rules.strings(CODE_STOPS)),
    "logprobs": _both(rules.integer(0, 20)),
    "echo": _both(rules.boolean),
    "suffix": _both(rules.string),
    "best_of": _both(rules.integer(1, 128)),
}
_EMBEDDINGS: dict[str, Field] = {
    "model": _both(rules.nonempty_string),
    "input": _both(rules.embedded),
    "encoding_format": _both(rules.one_of("float", "base64")),
    "dimensions": _both(rules.integer(1)),
    "user": _both(rules.string),
    "input_type": _both(rules.string),  # Cohere's
    "truncate_prompt_tokens": _engine(rules.integer(-1)),
    "add_special_tokens": _engine(rules.boolean),
}
_RERANK: dict[str, Field] = {
    "model": _both(rules.nonempty_string),
    "query": _both(rules.string),
    "documents": _both(chat_rules.documents),
    "top_n": _both(rules.integer(1)),
    "return_documents": _both(rules.boolean),
    "max_tokens_per_doc": _both(rules.integer(1)),
    "max_chunks_per_doc": _both(rules.integer(1)),
    "rank_fields": _both(rules.strings(rules.ENTRIES)),
    "truncate_prompt_tokens": _engine(rules.integer(-1)),
    "truncation": Field(rules.anything),  # Jina's
    "priority": Field(rules.anything),  # Cohere's
    "user": Field(rules.string),
}
_RESPONSES: dict[str, Field] = {
    **_ACCOUNT,
    "model": Field(rules.nonempty_string),
    "input": Field(chat_rules.response_input),
    "instructions": Field(rules.string),
    "max_output_tokens": Field(rules.integer(1)),
    "stream": Field(rules.boolean),
    "temperature": Field(rules.number(0, 2)),
    "top_p": Field(rules.number(0, 1)),
    "user": Field(rules.string),
    "tools": Field(chat_rules.some_tools),
    "tool_choice": Field(rules.string_or_object),
    "parallel_tool_calls": Field(rules.boolean),
    "reasoning": Field(rules.small_object),
    "text": Field(rules.small_object),
    "background": Field(rules.false),
    "store": Field(chat_rules.unstored),
    "previous_response_id": Field(chat_rules.stored),
    "conversation": Field(chat_rules.stored),
    "client_metadata": Field(rules.small_object),  # Codex's
    "context_management": Field(rules.anything),
    "include": Field(rules.strings(rules.ENTRIES)),
    "max_tool_calls": Field(rules.integer(1)),
    "moderation": Field(rules.anything),
    "stream_options": Field(rules.small_object),
    "top_logprobs": Field(rules.integer(0, 20)),
    "truncation": Field(rules.string),
}
_MESSAGES: dict[str, Field] = {
    "model": Field(rules.nonempty_string),
    "messages": Field(chat_rules.messages),
    "max_tokens": Field(rules.integer(1)),
    "stream": Field(rules.boolean),
    "system": Field(chat_rules.blocks),
    "temperature": Field(rules.number(0, 2)),
    "top_p": Field(rules.number(0, 1)),
    "top_k": Field(rules.integer(-1)),
    "stop_sequences": Field(rules.strings(CODE_STOPS)),
    "tools": Field(chat_rules.some_tools),
    "tool_choice": Field(rules.json_object),
    "thinking": Field(rules.small_object),
    "thread": Field(chat_rules.thread),
    "output_format": Field(rules.small_object),
    "output_config": Field(rules.small_object),
    "betas": Field(rules.strings(rules.ENTRIES)),
    "cache_control": Field(rules.small_object),
    "context_management": Field(rules.anything),
    "inference_geo": Field(rules.string),
    "metadata": Field(rules.small_object),
    "service_tier": Field(rules.string),
    "speed": Field(rules.string),
    "user": Field(rules.string),
}
ENDPOINTS: dict[str, dict[str, Field]] = {
    CHAT.path: _CHAT,
    COMPLETIONS.path: _COMPLETIONS,
    EMBEDDINGS.path: _EMBEDDINGS,
    RERANK.path: _RERANK,
    RESPONSES.path: _RESPONSES,
    endpoints.MESSAGES.path: _MESSAGES,
}
REQUIRED: dict[str, tuple[str, ...]] = {
    CHAT.path: ("model", "messages"),
    COMPLETIONS.path: ("model", "prompt"),
    EMBEDDINGS.path: ("model", "input"),
    RERANK.path: ("model", "query", "documents"),
    RESPONSES.path: ("model", "input"),
    endpoints.MESSAGES.path: ("model", "messages"),
}
_NOT_FOR_ENGINES = {
    path: frozenset(name for name, field in fields.items() if not field.engine)
    for path, fields in ENDPOINTS.items()
}
_FOR_LITELLM = {
    path: frozenset(name for name, field in fields.items() if field.litellm)
    for path, fields in ENDPOINTS.items()
}
