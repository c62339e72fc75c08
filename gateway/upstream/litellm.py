"""Runs LiteLLM's proxy in this process to reach providers' models, translated to chat.

LiteLLM's request is built here: the fields of the body that `gateway.api.schemas` allows, an empty
query, and the gateway's own headers. LiteLLM is imported and started when it is first needed, which
takes about ten seconds and 150 MB.
"""

import asyncio
import hmac
import logging
import os
import re
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import httpx
import orjson
import yaml

from gateway.api import schemas
from gateway.api.endpoints import CHAT, COMPLETIONS, EMBEDDINGS, RERANK
from gateway.core.http import ApiError, Reply, dump
from gateway.core.lazy import Lazy
from gateway.upstream.bounds import limit_answers

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

log = logging.getLogger("askdocs.gateway")

CONFIG: dict[str, Any] = {
    "general_settings": {"custom_auth": "gateway.upstream.litellm.authorize"},
    "litellm_settings": {
        "num_retries": 0,  # 2 delayed errors by 4.9 s; clients retry themselves
        "request_timeout": 600,
        "telemetry": False,
        "drop_params": False,
    },
    "router_settings": {
        "num_retries": 0,
        # The gateway has its own breaker; a cooldown would only extend the outage.
        "disable_cooldowns": True,
    },
}
# Providers whose streams have no finish reason as LiteLLM reads them.
_WITHOUT_REASON = ("bytez", "triton")
FETCHES_NOTHING = "addresses are not fetched here: send the file itself, as a data: URL"
_key = secrets.token_hex(32)  # shared by `LiteLLM` and `authorize`; not valid elsewhere


class Unwritable(Exception):
    """The provider's answer cannot be written as JSON."""


class LiteLLM:
    """LiteLLM's proxy. Configured by environment variables, so there is one per process."""

    def __init__(self, models: list[dict[str, Any]]) -> None:
        """`models` is its `model_list`."""
        self._app = Lazy(partial(_running, models))

    async def started(self) -> "FastAPI":
        """The app, started by the first call. Raises ApiError 503 if that fails."""
        try:
            return await self._app.get()
        except Exception:
            text = "LiteLLM, which this request needs, did not start; see the gateway's log"
            raise ApiError(503, text, kind="server_error", code="litellm_unavailable") from None

    async def open(
        self,
        endpoint: str,
        body: Mapping[str, Any],
        model: str,
        headers: Iterable[tuple[bytes, bytes]] = (),
        **own: Any,
    ) -> Reply:
        """Requests an answer to the allowed fields of `body` from a model in LiteLLM's list.

        Args:
            headers: the trace context.
            own: fields for LiteLLM itself.

        Raises:
            ApiError: as `started`.
            Unwritable: LiteLLM can read the provider's answer but not write it as JSON.
        """
        app = await self.started()
        path = f"/v1{endpoint}"
        payload = {**schemas.for_litellm(endpoint, body), "model": model, **own}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [
                (b"host", b"litellm"),
                (b"content-type", b"application/json"),
                (b"authorization", f"Bearer {_key}".encode()),
                *headers,
            ],
            "client": ("127.0.0.1", 0),
            "server": ("127.0.0.1", 0),
        }
        try:
            return await Reply.open(app, scope, dump(payload))
        except Exception as error:
            # LiteLLM turns every failure of its own code into a response, except while it writes
            # the provider's answer: an unpaired surrogate is no UTF-8.
            raise Unwritable(type(error).__name__) from error

    async def close(self) -> None:
        await self._app.close()


@asynccontextmanager
async def _running(models: list[dict[str, Any]]) -> AsyncIterator["FastAPI"]:
    try:
        # The file holds providers' keys, and is read once, while LiteLLM starts.
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump({**CONFIG, "model_list": models}, file)
            file.flush()
            app = await asyncio.to_thread(_load, file.name)
            lifespan = app.router.lifespan_context(app)
            await lifespan.__aenter__()
    except Exception:
        log.exception("LiteLLM did not start")
        raise
    try:
        yield app
    finally:
        await lifespan.__aexit__(None, None, None)


def plain(body: bytes) -> bytes:
    """A provider's error without LiteLLM's additions."""
    try:
        text = str(orjson.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        text = body.decode("utf-8", "replace")
    is_too_long = "ContextWindowExceededError" in text
    text = text.partition(_TRACEBACK)[0]
    text = _OWN_WORDS.sub("", text)
    inside = text[text.find("{") : text.rfind("}") + 1]
    with suppress(ValueError, AttributeError):
        content = orjson.loads(inside)
        content = content.get("error", content)
        text = str(content.get("message", text)) if isinstance(content, dict) else text
    if (at := text.lower().find("litellm")) >= 0:  # its advice: remove the sentence and the rest
        text = text[: max(text.rfind(end, 0, at) + 1 for end in (".", "\n"))].strip()
    text = text or "the provider refused this request"
    error = {"message": text, "type": "invalid_request_error"}
    if is_too_long:
        error |= {"param": "messages", "code": "context_length_exceeded"}
    return orjson.dumps({"error": error})


def is_its_own(body: bytes) -> bool:
    """Is it an error in LiteLLM's own code, due to an unexpected value in the request?

    LiteLLM then answers 500 with its traceback, as if the provider had failed. It reports failed
    connections as such, or the traceback ends with an error of its HTTP client. If the traceback
    passes through LiteLLM's parsing of a response, the provider's answer was invalid.
    """
    text = _message(body)
    if not text.startswith("litellm.APIConnectionError") or _TRACEBACK not in text:
        return False
    if _READS_RESPONSE.search(text):
        return False
    return any(error in _OF_CODE for error in _RAISED.findall(text)[-1:])


def is_unreadable(body: bytes) -> bool:
    """Is it LiteLLM's error about an answer that it could not read?

    For some wrong shapes it answers 400 or 422, as if the client had made a mistake.
    """
    text = _message(body)
    if _NO_RESPONSE.match(text):
        return True
    is_own = text.startswith("litellm.APIConnectionError") and _TRACEBACK in text
    return is_own and _READS_RESPONSE.search(text) is not None


def is_answer(endpoint: str, body: bytes) -> bool:
    """Has the answer what every answer of the endpoint has? LiteLLM passes on empty ones."""
    if endpoint not in (CHAT.path, COMPLETIONS.path):
        # Not parsed: 2,048 vectors take 80 ms.
        parts = _HAS.get(endpoint, ())
        return not parts or any(part in body for part in parts)
    try:
        choices = orjson.loads(body)["choices"]
    except (ValueError, LookupError, TypeError):
        return False
    return bool(choices) and all(isinstance(choice, dict) for choice in choices)


def _message(body: bytes) -> str:
    try:
        text = str(orjson.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""
    return text.removeprefix("Invalid request format: ")  # it says so of every AttributeError


# Of LiteLLM's own JSON, so without spaces.
_HAS = {EMBEDDINGS.path: (b'"embedding":[', b'"embedding":"'), RERANK.path: (b'"results":[',)}
_TRACEBACK = "Traceback (most recent call last)"
_RAISED = re.compile(r"^([A-Za-z_.]{0,100}(?:Error|Exception|Timeout))(?::|$)", re.MULTILINE)
_READS_RESPONSE = re.compile(
    r", in (?:_?transform_(?:parsed_)?response|convert_to_model_response_object"
    r"|\w{0,40}chunk_parser|_parse_sse_data)$",
    re.MULTILINE,
)
_NO_RESPONSE = re.compile(
    r"litellm\.[A-Za-z]{1,60}Error: (?:[A-Za-z]{1,60}Error: )?[A-Za-z]{1,60}Exception - "
    r"(?:Invalid response object|Error in response object|'\w{1,60}' object has no attribute"
    r" 'model_dump'|b''\s)"  # it could not read the body of an error
)
_OF_CODE = {
    *("KeyError", "TypeError", "ValueError", "AttributeError", "IndexError", "RecursionError"),
    *("AssertionError", "UnicodeEncodeError", "UnicodeDecodeError", "Exception"),
}


# "litellm.BadRequestError: AnthropicException - ...", and the lines about its routing at the end.
_OWN_WORDS = re.compile(
    r"^(?:(?:litellm\.)?[A-Za-z_]{1,60}(?:Error|Exception)(?::| -) ?){1,5}"
    r"|(?<!\s)\s*+(?:LiteLLM: model group|\. ?Received Model Group="
    r"|model=\S{1,200} context_window_fallbacks=)[^\0]*"
)


class _OfErrors:
    """Applies a pattern to both ends of a text, and drops the middle."""

    LONGEST = 1000  # characters of each end

    def __init__(self, pattern: "re.Pattern[str]") -> None:
        self._pattern = pattern

    def sub(self, by: str, text: str) -> str:
        most = self.LONGEST
        return self._pattern.sub(by, text if len(text) <= 2 * most else text[:most] + text[-most:])


def _load(config: str) -> "FastAPI":
    os.environ.update(
        {
            # Guards LiteLLM's admin routes, which this gateway does not expose; never shown.
            "LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(32)}",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no download at start
            "LITELLM_TELEMETRY": "False",
            # Longer texts are estimated from samples: a tokenizer takes a second for 4 MB.
            "TOKEN_COUNTER_MAX_EXACT_CHARS": "40000",
            "CONFIG_FILE_PATH": config,
            "DISABLE_ADMIN_UI": "True",
        }
    )
    limit_answers()  # first: clients name the packings that they read when they are created
    # In images that disable Python's bytecode cache (PYTHONDONTWRITEBYTECODE), every start would
    # compile LiteLLM again: 12 s of a core instead of 6.
    sys.dont_write_bytecode = False
    import litellm
    from litellm.litellm_core_utils import secret_redaction, url_utils
    from litellm.litellm_core_utils.llm_response_utils import convert_dict_to_response
    from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
    from litellm.proxy import utils
    from litellm.proxy.proxy_server import app

    # For some providers LiteLLM fetches images and files by the addresses in a request, so any
    # client could make this machine call any host. All these fetches call this function first.
    def fetch_nothing(url: str) -> tuple[str, str]:
        raise litellm.ImageFetchError(FETCHES_NOTHING)

    url_utils.validate_url = fetch_nothing

    # It searches each error's text for secrets ten times: 4 s for a MiB, and quadratic for some
    # texts; some errors include a client's whole image.
    for name in ("_SECRET_RE", "_INTERNAL_DETAIL_RE"):
        setattr(secret_redaction, name, _OfErrors(getattr(secret_redaction, name)))
    secret_redaction._TRACEBACK_MARKER = "\0"  # `is_its_own` reads the part that it would cut off

    # It takes an error of status 200 without a code for the client's mistake, with the status 422.
    name = "convert_to_model_response_object"
    convert = getattr(convert_dict_to_response, name)

    def convert_with_code(response_object: Any = None, *args: Any, **more: Any) -> Any:
        error = response_object.get("error") if isinstance(response_object, dict) else None
        if isinstance(error, dict) and error.get("message") and error.get("code") is None:
            response_object = response_object | {"error": error | {"code": 502}}
        return convert(response_object, *args, **more)

    for path, module in list(sys.modules.items()):  # those that have imported it by its name
        if path.startswith("litellm.") and vars(module).get(name) is convert:
            setattr(module, name, convert_with_code)

    # It ends a stream that gave no reason for its end with "stop": one that broke off, or is no
    # stream at all, would pass as a complete answer.
    finish = CustomStreamWrapper.finish_reason_handler

    def finish_if_complete(stream: CustomStreamWrapper) -> Any:
        reason = stream.received_finish_reason or stream.intermittent_finish_reason
        if reason or stream.custom_llm_provider in _WITHOUT_REASON:
            return finish(stream)
        text = "the stream ended without a finish reason"
        raise litellm.APIConnectionError(text, stream.custom_llm_provider or "", stream.model or "")

    CustomStreamWrapper.finish_reason_handler = finish_if_complete

    # For its spend log, which is off, it counts the tokens of a failed request on the event loop:
    # 1.5 s for a thousand messages of 4 kB.
    utils._estimate_dispatched_failure_usage = lambda *_, **__: None
    CustomStreamWrapper._record_partial_usage_for_failure = lambda _: None

    # LiteLLM's and OpenAI's clients follow redirects to any host, with the question, and with keys
    # in headers that httpx does not remove then, such as Anthropic's `x-api-key`. There is no
    # setting for it; nothing else in this process follows redirects.
    httpx.AsyncClient.follow_redirects = property(  # type: ignore[assignment]
        lambda _: False, lambda _, wanted: None
    )

    # It logs a traceback for every client error and every refusal of a model, some 50 ms each; this
    # gateway reports both.
    for name in ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return cast("FastAPI", app)


async def authorize(request: "Request", api_key: str | None) -> Any:
    """LiteLLM's hook, see https://docs.litellm.ai/docs/proxy/custom_auth: admits only this
    gateway."""
    from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

    if not hmac.compare_digest((api_key or "").encode(), _key.encode()):
        raise ProxyException(message="not open", type="auth_error", param=None, code=401)
    return UserAPIKeyAuth(api_key="gateway", user_role=LitellmUserRoles.INTERNAL_USER)
