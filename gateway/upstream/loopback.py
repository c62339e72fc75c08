"""The pass with which LiteLLM asks this gateway for the chat behind /responses and /messages.

LiteLLM translates both to chat completions, and asks this gateway for them over loopback, at a port
of this worker process alone. Such a request carries a pass instead of an API key: the rights of the
outer request, signed with the gateway's key, for one alias and for a minute. So LiteLLM holds no
credential of the gateway, and nothing that it could be made to ask opens more than the client's
own key does.
"""

import base64
import hmac
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import orjson
from pydantic import SecretStr, TypeAdapter
from starlette.types import Scope

from gateway.http import ApiError
from gateway.keys import Key

HEADER = "x-askdocs-pass"
ENDPOINT = "/chat/completions"
SECONDS = 60  # from issuing the pass until the inner request begins
# Of the client's headers these decide how the inner request is answered.
CARRIED = ("x-askdocs-grounding", "x-askdocs-model", "x-session-id", "x-askdocs-groups")
_TRACE = (b"traceparent", b"tracestate")

_port: int | None = None  # of this process


def listen() -> socket.socket:
    """Where this process takes its own requests: a port of its own, on loopback."""
    global _port
    listener = socket.create_server(("127.0.0.1", 0))
    _port = listener.getsockname()[1]
    return listener


def url() -> str | None:
    """The base URL of this process; None: it does not listen, and is asked as by everybody."""
    return f"http://127.0.0.1:{_port}/v1" if _port else None


@dataclass(frozen=True, slots=True)
class Pass:
    """The rights of a translated request, for its inner request."""

    key: Key
    alias: str
    headers: dict[str, str]
    """Those of CARRIED that the client has sent."""
    expires: float
    number: int = 0
    """By which the outer request knows the inner one."""

    def scope(self, scope: Scope) -> Scope:
        """The inner request with the outer one's headers, and none that LiteLLM made up."""
        kept = [(name, value) for name, value in scope["headers"] if name in _TRACE]
        given = [(k.encode(), v.encode("latin-1", "replace")) for k, v in self.headers.items()]
        return {**scope, "headers": [*kept, *given]}


_PASS = TypeAdapter(Pass)


class Passes:
    """Issues passes and checks them."""

    def __init__(self, keys: Sequence[SecretStr | None]) -> None:
        """`keys` are the gateway's: the first one signs, all of them are accepted."""
        secrets = [key.get_secret_value().encode() for key in keys if key is not None]
        self._secrets = [hmac.digest(key, b"askdocs loopback pass", "sha256") for key in secrets]
        self._numbers = count(1)
        self._answers: dict[int, Mapping[str, str]] = {}

    @contextmanager
    def inner(self) -> Iterator[int]:
        """A number for an inner request, whose headers are kept meanwhile."""
        number = next(self._numbers)
        self._answers[number] = {}
        try:
            yield number
        finally:
            del self._answers[number]

    def headers_of(self, number: int) -> Mapping[str, str]:
        """The gateway's headers of the inner request's response."""
        return self._answers[number]

    def answers(self, given: Pass, headers: Mapping[str, str]) -> None:
        """The inner request with this pass is answered with these headers."""
        if given.number in self._answers:
            self._answers[given.number] = headers

    def issue(self, key: Key, alias: str, headers: Mapping[str, str], number: int = 0) -> str:
        carried = {name: headers[name] for name in CARRIED if name in headers}
        body = _PASS.dump_json(Pass(key, alias, carried, time.time() + SECONDS, number))
        return f"{_sign(self._secrets[0], body)}.{base64.urlsafe_b64encode(body).decode()}"

    def check(self, text: str, endpoint: str) -> Pass:
        """Raises ApiError 401 for a pass that is forged, too old or of another endpoint."""
        signature, _, encoded = text.partition(".")
        try:
            body = base64.urlsafe_b64decode(encoded)
        except ValueError:
            raise _refused() from None
        signatures = [_sign(secret, body) for secret in self._secrets]
        given = signature.encode("utf-8", "replace")
        if not any(hmac.compare_digest(given, one.encode()) for one in signatures):
            raise _refused()
        found = _PASS.validate_json(body)
        if found.expires < time.time() or endpoint != ENDPOINT:
            raise _refused()
        return found


def seal(error: ApiError) -> ApiError:
    """The inner request's error in a form that LiteLLM can wrap in its own words."""
    facts = [error.status, error.body["error"], error.headers]
    sealed = base64.urlsafe_b64encode(orjson.dumps(facts)).decode()
    return ApiError(error.status, f"askdocs-error-{sealed}", headers=error.headers)


def unseal(text: bytes) -> ApiError | None:
    """The inner request's error, as far as LiteLLM states it."""
    if not (found := _SEALED.search(text)):
        return None
    status, said, headers = orjson.loads(base64.urlsafe_b64decode(found[1]))
    return ApiError(
        status,
        said["message"],
        kind=said["type"],
        param=said["param"],
        code=said["code"],
        headers=headers,
    )


_SEALED = re.compile(rb"askdocs-error-([A-Za-z0-9_-]+=*)")


def _sign(secret: bytes, body: bytes) -> str:
    return hmac.new(secret, body, "sha256").hexdigest()


def _refused() -> ApiError:
    return ApiError(401, f"this {HEADER} is not valid", code="invalid_api_key")
