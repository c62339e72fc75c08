"""Responses and Messages: LiteLLM translates them to chat, which it asks of this gateway."""

import logging
from typing import Any

import orjson

from gateway import asked
from gateway.api.context import RequestContext
from gateway.api.plan import Plan, Tokens, tokens
from gateway.api.sse import EventReader
from gateway.api.transform import Rest, Said, Transform
from gateway.dispatch import Opened
from gateway.fleet import LOOPBACK, Served
from gateway.http import ApiError, broken_off, dump, unavailable
from gateway.stream import rename
from gateway.upstream import loopback
from gateway.upstream.litellm import LiteLLM
from gateway.upstream.loopback import Passes

log = logging.getLogger("askdocs.gateway")


async def open(litellm: LiteLLM, passes: Passes, plan: Plan, context: RequestContext) -> Opened:
    """The answer of LiteLLM's translation. Raises ApiError: what LiteLLM states."""
    await litellm.started()  # before the pass, which is short-lived
    trace = context.span.onward(plan.scope["headers"])
    model = f"{LOOPBACK}/{plan.alias}"
    with passes.inner() as number:
        inner = {
            "Connection": "close",  # LiteLLM's pool would hold a worker of this gateway
            loopback.HEADER: passes.issue(plan.key, plan.alias, plan.headers, number),
            "x-request-id": context.request_id,
            # They take the place of those that the model has: the inner request is of the same
            # trace.
            **{name.decode(): value.decode("latin-1") for name, value in trace},
        }
        reply = await litellm.open(plan.endpoint, plan.request, model, trace, extra_headers=inner)
        # LiteLLM passes headers on of some answers, and of others none.
        given = passes.headers_of(number)
    if told := given.get(asked.HEADER):
        context.response.headers[asked.HEADER] = told
    if reply.status >= 400:
        try:
            raise _refusal(reply.status, await reply.body())
        finally:
            await reply.close()
    model = given.get("x-askdocs-model", plan.alias)
    there = f"{LOOPBACK}/{plan.alias}".encode()
    return Opened(Served(model), "litellm", plan.stream, b"", reply.chunks(), reply, there)


def _refusal(status: int, body: bytes) -> ApiError:
    """The inner request's error, or one of the translation, which only the log explains."""
    if error := loopback.unseal(body):
        return error
    log.warning("LiteLLM translated nothing (%d): %s", status, body[:1000].decode(errors="replace"))
    if status >= 500:
        return unavailable("the translation to chat failed; ask again", 3)
    text = "this request cannot be translated to chat: use /v1/chat/completions"
    return ApiError(400, text, code="not_translatable")


class Translated(Transform):
    """The answer under the alias's name, with an error in the endpoint's own shape where it ends
    too early."""

    def __init__(self, plan: Plan, keeps_text: bool) -> None:
        self._plan = plan
        self._is_messages = plan.endpoint == "/messages"
        self._names = (f"{LOOPBACK}/{plan.alias}".encode(), plan.alias.encode())
        self._events = EventReader(LONGEST)
        self._tokens = Tokens()
        self._number = 0  # of the last event, as Responses counts them
        self._is_over = False
        self._log: list[bytes] | None = None
        if keeps_text:
            self._log = []
            self.question = dump(plan.request.get("messages", plan.request.get("input"))).decode()

    @property
    def tokens(self) -> Tokens:
        if self._tokens.prompt:
            return self._tokens
        return self._tokens._replace(prompt=self._plan.budget.prompt // 4)

    @property
    def answer(self) -> str:
        return b"".join(self._log or ()).decode("utf-8", "replace")

    @property
    def is_over(self) -> bool:
        return self._is_over

    def begin(self, opened: Opened, rest: Rest) -> None:
        pass

    def feed(self, data: bytes) -> bytes:
        if self.failed:
            return b""
        for found in self._events.feed(data):
            self._read(found)
        if self.failed:
            log.warning("a translation failed: %s", data[:1000].decode(errors="replace"))
            return self._error()
        return self._out(data)

    def said(self) -> Said | None:
        return None  # the inner request has gone on with it as far as anybody can

    def end(self) -> bytes:
        return b"" if self._is_over else self._error()

    def _error(self) -> bytes:
        error = broken_off().body["error"]
        if self._is_messages:
            shown: dict[str, Any] = {"type": "api_error", "message": error["message"]}
            said: dict[str, Any] = {"type": "error", "error": shown}
        else:
            said = {**error, "type": "error", "code": "server_error"}
            said["sequence_number"] = self._number + 1
        return b"event: error\ndata: %b\n\n" % orjson.dumps(said)

    async def whole(self, body: bytes) -> bytes:
        self._read(body)
        return self._out(body)

    def _out(self, data: bytes) -> bytes:
        data = rename(data, *self._names)
        if self._log is not None:
            self._log.append(data)
        return data

    def _read(self, data: bytes) -> None:
        """Take the usage, and the end, out of an event or a whole answer."""
        try:
            said = orjson.loads(data)
        except ValueError:
            return
        if not isinstance(said, dict):
            return
        self._is_over |= said.get("type") in _ENDS
        self.failed |= said.get("type") in _FAILURES
        if isinstance(number := said.get("sequence_number"), int):
            self._number = number
        for place in (said, said.get("response"), said.get("message")):
            if isinstance(place, dict) and (used := tokens(place.get("usage"))):
                # Messages states the prompt at the beginning, and the answer at the end.
                self._tokens = Tokens(
                    *(new or old for new, old in zip(used, self._tokens, strict=True))
                )


LONGEST = 2**25  # bytes of an event: the last one of Responses has all of request and answer
_FAILURES = ("response.failed", "error")
_ENDS = ("response.completed", "response.incomplete", "message_stop", *_FAILURES)
