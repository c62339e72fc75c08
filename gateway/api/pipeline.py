"""The request pipeline: parse, plan, reserve, ground, open, transform.

All requests pass the same stages in the same order. They differ in the transform, which turns the
model's answer into the client's; formats other than Chat also have a translation around it. The
caller (`gateway.runtime.app`) records the result.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Message

from gateway.access.keys import Key
from gateway.answering import form
from gateway.answering.forced import ForcedCall
from gateway.answering.form import Form
from gateway.answering.grounding.prompt import instructed
from gateway.api import chat_request, schemas, unwritten
from gateway.api.completion import Completion
from gateway.api.context import RequestContext
from gateway.api.endpoints import CHAT, COMPLETIONS, GROUNDING, MESSAGES, RESPONSES, Endpoint
from gateway.api.messages import Messages
from gateway.api.plain import Plain
from gateway.api.plan import Fallback, GroundingDecision, RequestPlan, RequestResult, Tokens
from gateway.api.responses import Responses
from gateway.api.transform import WHOLE, Transform
from gateway.api.translation import Translation
from gateway.core import threads
from gateway.core.http import (
    JSON,
    QUIET_SECONDS,
    ApiError,
    broken_off,
    event,
    send_json,
    unavailable,
)
from gateway.core.json_body import SMALL, parse_object
from gateway.routing import abilities, token_budget
from gateway.routing.aliases import Route
from gateway.routing.dispatch import Call, Opened, refuse_unreadable, unknown_model
from gateway.routing.registry import Served
from gateway.routing.resume import Opening
from gateway.routing.token_budget import TokenBudget
from gateway.runtime.container import Container
from gateway.runtime.protocol import WRITER
from gateway.telemetry.metrics import LEFT
from gateway.upstream import fim
from gateway.upstream.http_client import LaneError, LaneReply

log = logging.getLogger("askdocs.gateway")

STREAM_START = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
JSON_START = [(b"content-type", JSON.encode())]

TRANSLATIONS: dict[Endpoint, type[Translation]] = {RESPONSES: Responses, MESSAGES: Messages}


class Pipeline:
    """Answers requests to models, in one worker."""

    def __init__(self, container: Container) -> None:
        self._container = container

    async def answer(self, endpoint: Endpoint, context: RequestContext, body: bytes) -> None:
        """Answer one request. Raises ApiError."""
        request = schemas.accept(endpoint.path, await _parsed(body))
        translation = self._translation(endpoint, request, context.headers)
        if translation is None:
            await self._answer(endpoint, context, request, len(body), None)
            return
        try:
            await self._answer(CHAT, context, translation.chat(), len(body), translation)
        except ApiError as error:
            raise translation.placed(error) from None

    async def count(self, context: RequestContext, body: bytes) -> None:
        """Count the tokens of a request to `/v1/messages`. Raises ApiError."""
        translation = Messages(schemas.accept(MESSAGES.path, await _parsed(body)))
        try:
            request = translation.chat()
            plan = await self._plan(CHAT, context, request, len(body))
            await refuse_unreadable(plan.first, plan.request)
        except ApiError as error:
            raise translation.placed(error) from None
        await context.reserve(self._container.recorder.limiter)
        tokens = await token_budget.count_nearly(plan.request, plan.first.engine)
        await send_json(context.response, 200, {"input_tokens": tokens})

    def _translation(
        self, endpoint: Endpoint, request: dict[str, Any], headers: Headers
    ) -> Translation | None:
        """Returns the translation of a request in another format that is answered as a chat."""
        if endpoint in TRANSLATIONS:
            return TRANSLATIONS[endpoint](request)
        if endpoint is not COMPLETIONS or not self._container.has_wiki:
            return None
        route = self._container.aliases.table.route(request["model"])
        is_question = route.grounding and chat_request.wants_grounding(headers) is not False
        return Completion(request) if is_question else None

    async def _answer(
        self,
        endpoint: Endpoint,
        context: RequestContext,
        request: dict[str, Any],
        size: int,
        translation: Translation | None,
    ) -> None:
        container = self._container
        plan = context.plan = await self._plan(endpoint, context, request, size)
        with container.traffic.request():
            count = partial(token_budget.count_nearly, request, plan.first.engine)
            await context.reserve(container.recorder.limiter, plan.budget, count)
            keeps_text = container.recorder.wants_text
            transform: Transform
            call: Call | None = None
            if plan.grounding.is_on and plan.grounding.is_agents:
                plan, turn = await container.chat.accompany(plan, context.span, keeps_text)
                context.plan = plan
                transform = turn or Plain(plan, keeps_text)
            elif plan.grounding.is_on and container.chat.is_extractive(plan):
                transform = await container.chat.extract(plan, context.span, keeps_text)
            elif plan.grounding.is_on:
                counter = plan.first if plan.first.engine else container.fleet.base
                answer = await container.chat.ground(plan, counter, context.span, keeps_text)
                transform, call = answer, answer.call(context.span)
            else:
                transform = Plain(plan, keeps_text)
                if unwritten.is_asked(endpoint.path, plan):
                    transform = await unwritten.unwritten(plan, plan.first)
            if plan.budget.answer is not None:  # the model generates text
                header = plan.grounding.header(transform.reads)
                context.response.headers[GROUNDING] = header
            call = call or _call(plan, context)
            opening = Opening(container.dispatch, container.fleet.find, call, plan.route)
            fits = await self._form(plan)
            await _Answering(context, plan, transform, opening, translation, fits).run()

    async def _form(self, plan: RequestPlan) -> Form | ForcedCall | None:
        """Returns the validator of an answer that must be JSON or a tool call, or None if the
        engines of all candidates enforce it.

        Raises ApiError 400: the schema is invalid.
        """
        wanted, is_forced = form.asked(plan.request), abilities.is_forced(plan.request)
        if plan.endpoint != CHAT.path or not (wanted or is_forced):
            return None
        candidates = [self._container.fleet.get(name) for name in plan.route.candidates]
        engines = [candidate.engine for candidate in candidates if candidate is not None]
        if all([engine is not None and await engine.binds() for engine in engines]):
            return None
        if is_forced or wanted is None:
            return ForcedCall()
        return await threads.search(Form, *wanted)

    async def _plan(
        self,
        endpoint: Endpoint,
        context: RequestContext,
        request: dict[str, Any],
        size: int,
    ) -> RequestPlan:
        """Make every decision that does not need the model.

        Raises:
            ApiError: the key may not use the model, or no deployment serves it.
        """
        container, key, headers = self._container, context.key, context.headers
        name: str = request["model"]
        if not key.allows(name):
            raise not_allowed(key, name)
        route = container.aliases.table.route(name, _user(request, headers))
        if wanted := headers.get("x-askdocs-model"):
            # Answer as the alias would if it pointed to this model alone.
            if not key.allows(wanted):
                raise not_allowed(key, wanted)
            # The model in the body must exist, too: it appears in usage and metrics.
            models = [wanted] if name in container.aliases.table.aliases else [name, wanted]
            for model in models:
                if await container.fleet.find(model) is None:
                    raise await self.unknown(model, key)
            route = replace(route, candidates=(wanted,))
        first = await self._first(route, key)
        context.set_alias(name)
        grounding = self._grounding(endpoint, route, request, headers)
        if grounding.is_on and not grounding.is_agents:
            for place, kind in abilities.media(request):  # questions to the wiki are text
                raise abilities.no_media(name, place, kind)
            abilities.refuse_to_speak(name, request)
        budget = self._budget(endpoint, route, request, size, first, grounding)
        keeps = grounding.is_agents or not grounding.is_on
        if endpoint.is_chat and keeps:
            request["messages"] = instructed(request["messages"], route.instructions)
        return RequestPlan(
            endpoint=endpoint.path,
            reader=context.reader,
            scope=context.scope,
            headers=headers,
            request=request,
            route=route,
            first=first,
            stream=bool(request.get("stream")),
            budget=budget,
            grounding=grounding,
        )

    async def _first(self, route: Route, key: Key) -> Served:
        """Predicts the model that will answer."""
        fleet = self._container.fleet
        candidates = [await fleet.find(name) for name in route.candidates]
        served = [candidate for candidate in candidates if candidate is not None]
        if not served:
            raise await self.unknown(route.alias, key)
        return next((candidate for candidate in served if not candidate.breaker.is_open), served[0])

    def _grounding(
        self, endpoint: Endpoint, route: Route, request: dict[str, Any], headers: Headers
    ) -> GroundingDecision:
        """Is the answer to be grounded in pages? Raises ApiError 400: the header has an unknown
        value."""
        if not endpoint.is_chat:
            return GroundingDecision(False, "endpoint")
        wants = chat_request.wants_grounding(headers)
        decision = GroundingDecision(False, is_asked_for=wants is True)
        if wants is False:
            return decision._replace(why="requested")
        if not route.grounding:
            return decision._replace(why="alias")
        if not self._container.has_wiki:
            return decision._replace(why="no-wiki")
        return decision._replace(is_on=True, is_agents=chat_request.is_agents(request))

    def _budget(
        self,
        endpoint: Endpoint,
        route: Route,
        request: dict[str, Any],
        size: int,
        first: Served,
        grounding: GroundingDecision,
    ) -> TokenBudget:
        settings = self._container.settings
        is_answer = grounding.is_on and not grounding.is_agents
        default = settings.max_tokens if is_answer else settings.max_output
        instructions = len(route.instructions.encode()) if endpoint.is_chat else 0
        budget = token_budget.bound(endpoint.path, request, size + instructions, default)
        if not is_answer:
            budget = token_budget.within(budget, first.engine)
        return self._container.chat.bound(budget) if grounding.is_on else budget

    async def unknown(self, name: str, key: Key) -> ApiError:
        names = await self.names(key)
        if silent := self._container.fleet.unheard:
            text = f"the engine of {silent} is unavailable, and may serve {name[:200]!r}; try again"
            return unavailable(f"{text}. Others are {', '.join(names)}", 3)
        return unknown_model(name, names)

    async def names(self, key: Key) -> list[str]:
        """The models that the key may use: aliases first, as some clients use the first entry."""
        container = self._container
        names = [*container.aliases.table.aliases, *await container.fleet.names()]
        return [name for name in dict.fromkeys(names) if key.allows(name)]


class _Answering:
    """Opens, transforms and sends the answer to one request, and leaves the result behind."""

    def __init__(
        self,
        context: RequestContext,
        plan: RequestPlan,
        transform: Transform,
        opening: Opening,
        translation: Translation | None,
        fits: Form | ForcedCall | None,
    ) -> None:
        self._context = context
        self._form = fits
        self._plan = plan
        self._transform = transform
        self._opening = opening
        self._translation = translation
        self._model = ""
        self._lane = ""
        self._fallback: Fallback | None = None

    async def run(self) -> None:
        """Raises ApiError: there is no answer, and nothing has been sent."""
        status = 503  # cancelled: the gateway is shutting down
        try:
            status = await (self._stream() if self._plan.stream else self._whole())
        except ApiError as error:
            status = error.status
            raise
        except Exception:
            status = 500
            raise
        finally:
            transform = self._transform
            self._context.result = RequestResult(
                status=LEFT if self._context.response.client_left else status,
                model=self._model,
                lane=self._lane,
                fallback=self._fallback,
                tokens=transform.tokens if self._model else Tokens(),
                refused=transform.refused or bool(self._form and self._form.refused),
                cautious=transform.cautious,
                claims=transform.claims,
                pages=transform.pages,
                question=transform.question,
                answer=transform.answer,
            )

    async def _stream(self) -> int:
        """Returns the status that reflects how the stream ended."""
        transform = self._transform
        body = _EventStream(self._context.response, self._form, self._translation)
        if transform.keeps_alive or self._form:
            body.keep_alive()
        try:
            last = transform.start()
            if transform.is_over:
                # The last events go out with the response's end: clients disconnect once they have
                # read them.
                self._without_model()
                if self._model:
                    self._context.measured.chunk()
            else:
                if last:
                    await body.send(last)
                last = await self._pass_on(await self._opening.first(), body)
                if transform.settles:
                    if last:
                        await body.send(last)
                    last = await transform.settle()
            await body.end(last + transform.end())
        except ApiError as error:
            if not body.is_started:
                raise
            await body.end(event(error.body))
            return error.status
        finally:
            await body.close()
        return 200 if transform.is_over and not transform.failed else 502

    async def _pass_on(self, opened: Opened, body: "_EventStream") -> bytes:
        """Send the answer, whichever engines write it; returns the bytes still to be sent."""
        rest = WHOLE
        while True:
            try:
                self._begin(opened)
                self._transform.begin(opened, rest)
                if self._form is None:  # otherwise the answer may still become an error
                    await body.start()
                last = await self._pump(opened, body)
            finally:
                await opened.close()
            if self._transform.is_over:
                return last
            if last:
                await body.send(last)
            broken = opened.served
            more = await self._go_on(broken)
            if more is None:
                return b""
            opened = more
            rest = self._opening.rest

    async def _pump(self, opened: Opened, body: "_EventStream") -> bytes:
        """Send one engine's answer until it ends or breaks off; returns the last bytes, unsent."""
        transform, measured = self._transform, self._context.measured

        def feed(data: bytes) -> bytes:
            measured.chunk()
            return transform.feed(data)

        try:
            if transform.holds:
                async for chunk in opened.chunks():
                    out = feed(chunk) + await transform.release()
                    if out:
                        await body.send(out)
                    if transform.is_enough:
                        break
                return b""
            writer = self._context.scope.get("extensions", {}).get(WRITER)
            if (
                writer is not None
                and isinstance(opened.response, LaneReply)
                and not transform.keeps_alive
                and body.is_plain
            ):
                if out := feed(opened.first):
                    await body.send(out)
                last = await opened.response.pump(
                    lambda data: writer.write_body(feed(data)), writer.drain
                )
                return feed(last) if last else b""
            async for out in opened.through(feed):
                await body.send(out)
                if transform.is_enough:
                    break
        except LaneError:
            pass  # the answer is incomplete
        return b""

    async def _go_on(self, broken: Served) -> Opened | None:
        """Opens the rest of a broken-off answer. None: it was complete, or no model can resume
        it."""
        written = self._transform.partial()
        opened = None
        if written is not None and not self._transform.is_over:
            opened = await self._opening.again(broken, written)
        goes_on = opened is not None or self._transform.is_over
        self._context.measured.broke_off(broken.name, "continued" if goes_on else "ended")
        return opened

    async def _whole(self) -> int:
        transform = self._transform
        body = transform.start()
        if transform.is_over:
            self._without_model()
        else:
            body = await self._read(await self._opening.first())
        if self._form is not None:
            body = await threads.search(self._form.whole, body)
        if self._translation is not None:
            body = self._translation.whole(body)
        context = self._context
        writer = context.scope.get("extensions", {}).get(WRITER)
        await context.response.whole(JSON_START, body, writer)
        return 200

    async def _read(self, opened: Opened) -> bytes:
        """Read the whole answer. If it breaks off, request it again: nothing has been sent."""
        rest = WHOLE
        while True:
            try:
                self._begin(opened)
                self._transform.begin(opened, rest)
                return await self._transform.whole(await opened.body(self._plan.copies))
            except LaneError:
                error = broken_off()
            except ApiError as stated:
                error = stated
            except (ValueError, LookupError, TypeError, AttributeError):  # it is no answer
                log.exception("an answer of %s could not be read", opened.served.name)
                error = broken_off()
            finally:
                await opened.close()
            more = await self._go_on(opened.served)
            if more is None:
                raise error
            opened = more

    def _without_model(self) -> None:
        """The answer consists of passages only: count it for the model that the alias chose."""
        if not self._transform.refused:
            self._model, self._lane = self._plan.first_choice, "index"
            self._context.response.headers["x-askdocs-model"] = self._model
            self._context.measured.first_byte()

    def _begin(self, opened: Opened) -> None:
        """Record that a model starts answering."""
        context = self._context
        is_resumed = bool(self._model)
        if not (is_resumed and context.response.is_started):
            self._model = opened.served.name
            self._lane = opened.lane
            context.response.headers["x-askdocs-model"] = self._model
        if opened.left:
            self._fallback = Fallback(*opened.left)
            context.response.headers["x-askdocs-fallback"] = ": ".join(self._fallback)
            context.measured.fallback(*self._fallback[:1], opened.served.name, opened.left[1])
        context.measured.first_byte()
        if self._form:
            self._form.begin(opened.served)


class _EventStream:
    """A response of server-sent events. Always `close` it."""

    def __init__(
        self,
        send: Callable[[Message], Awaitable[None]],
        form: Form | ForcedCall | None = None,
        translation: Translation | None = None,
    ) -> None:
        """`form` and `translation` turn the chat's events into the client's."""
        self._send = send
        self._form = form
        self._translation = translation
        self._sent = 0.0
        self._sending: asyncio.Lock | None = None
        self._quiet: asyncio.Task[None] | None = None
        self.is_started = False

    def keep_alive(self) -> None:
        """Send a comment when the stream is idle, so that proxies do not close it."""
        self._sent = time.monotonic()
        self._sending = asyncio.Lock()
        self._quiet = asyncio.create_task(self._comment())

    async def start(self) -> None:
        if not self.is_started:
            self.is_started = True
            headers = list(STREAM_START)
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    @property
    def is_plain(self) -> bool:
        """Are the chat's events sent unchanged?"""
        return self._form is None and self._translation is None

    async def send(self, data: bytes) -> None:
        if self._form is not None:
            data = self._form.feed(data)
        if self._translation is not None:
            data = self._translation.feed(data)
        if data:
            await self._put(data)

    async def _put(self, data: bytes) -> None:
        part: Message = {"type": "http.response.body", "body": data, "more_body": True}
        if self._sending is None:
            if not self.is_started:
                await self.start()
            await self._send(part)
            return
        self._sent = time.monotonic()
        async with self._sending:
            await self.start()
            await self._send(part)

    async def end(self, data: bytes) -> None:
        if self._quiet is not None:
            await self.close()
        if self._form is not None:
            data = self._form.feed(data) + await threads.search(self._form.rest)
        if self._translation is not None:
            data = self._translation.feed(data)
        if not self.is_started:
            await self.start()
        await self._send({"type": "http.response.body", "body": data})

    async def close(self) -> None:
        quiet, self._quiet = self._quiet, None
        if quiet is not None:
            quiet.cancel()
            await asyncio.wait([quiet])

    async def _comment(self) -> None:
        while True:
            quiet = time.monotonic() - self._sent
            if quiet >= QUIET_SECONDS:
                await self._put(b": still working\n\n")
            else:
                await asyncio.sleep(QUIET_SECONDS - quiet)


async def _parsed(body: bytes) -> dict[str, Any]:
    """The body as an object, a long one parsed in a thread. Raises ApiError 400."""
    return await threads.search(parse_object, body) if len(body) > SMALL else parse_object(body)


def _call(plan: RequestPlan, context: RequestContext) -> Call:
    """Builds the request to the model; its body suits each candidate."""
    request, budget = plan.request, plan.budget

    async def render(served: Served) -> dict[str, Any]:
        body = dict(request)
        fitting = budget
        if served.engine:
            fitting = await token_budget.fit(budget, body, served.engine)
        if fitting.answer is not None:
            body.pop("max_completion_tokens", None)
            body["max_tokens"] = fitting.answer
        if body.get("stream"):
            options = body.get("stream_options")
            body["stream_options"] = {
                **(options if isinstance(options, dict) else {}),
                "include_usage": True,
            }
        if body.get("suffix") is not None:
            if served.fim is None:
                raise fim.not_supported(served.name)
            body["prompt"] = await served.fim.render(body["prompt"], body.pop("suffix"))
        if messages := body.get("messages"):
            body["messages"] = [_plain(message) for message in messages]
        return body

    return Call(plan.endpoint, plan.scope, plan.stream, render, context.span)


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """Rewrites a message in terms that every engine knows.

    `developer` is OpenAI's newer name for `system`. A refusal in the history becomes the
    assistant's content.
    """
    if message.get("role") == "developer":
        message = {**message, "role": "system"}
    content = message.get("content")
    if content is None and isinstance(message.get("refusal"), str):
        return {**message, "content": message["refusal"]}
    if isinstance(content, list) and any(part.get("type") == "refusal" for part in content):
        parts = [
            {"type": "text", "text": str(part.get("refusal") or "")}
            if part.get("type") == "refusal"
            else part
            for part in content
        ]
        return {**message, "content": parts}
    return message


def _user(request: Mapping[str, Any], headers: Headers) -> str | None:
    """The user that the client names: a canary is sticky per user."""
    for name in ("user", "safety_identifier"):
        if isinstance(request.get(name), str) and request[name]:
            return str(request[name])
    return headers.get("x-session-id")


def not_allowed(key: Key, name: str) -> ApiError:
    return ApiError(
        403,
        f"this key may not use {name[:200]!r}; it may use {', '.join(key.models)}",
        kind="permission_error",
        param="model",
        code="model_not_allowed",
    )
