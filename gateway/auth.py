"""Who may ask: the API key, from any of the headers that clients send it in.

The same check serves the gateway's own layer and LiteLLM's `custom_auth`, so that LiteLLM's proxy
started alone with `gateway/litellm.yaml` is closed as well.
"""

import hmac
import os
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr
from starlette.datastructures import Headers

from gateway.http import ApiError

if TYPE_CHECKING:
    from fastapi import Request


def presented(headers: Headers) -> str | None:
    """The key in `Authorization: Bearer`, `x-api-key` or `api-key`."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key") or headers.get("api-key") or None


def check(key: SecretStr, headers: Headers) -> None:
    """Raises ApiError 401 unless the headers carry the key. Compares in constant time."""
    given = presented(headers)
    if given is None:
        raise _refused("no API key: send it as 'Authorization: Bearer KEY'")
    if not hmac.compare_digest(given.encode(), key.get_secret_value().encode()):
        raise _refused("this API key is not valid here")


def _refused(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})


async def litellm_auth(request: "Request", api_key: str) -> Any:
    """LiteLLM's hook, see https://docs.litellm.ai/docs/proxy/custom_auth."""
    from litellm.proxy._types import UserAPIKeyAuth

    key = os.environ.get("ASKDOCS_GATEWAY_KEY", "")
    if not key or not hmac.compare_digest(api_key.encode(), key.encode()):
        raise PermissionError("this API key is not valid here")
    return UserAPIKeyAuth(api_key="askdocs")
