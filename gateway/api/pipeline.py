"""The request pipeline: parse, plan, reserve, ground, open, transform.

All requests pass the same stages in the same order. They differ in the transform, which turns the
model's answer into the client's; formats other than Chat also have a translation around it. The
caller (`gateway.runtime.app`) records the result.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.datastructures import Headers

from core import threads
from gateway.access.keys import Key
from gateway.answering.grounding.client_jobs import is_client_job
from gateway.answering.grounding.prompt import instructed
from gateway.api import chat_request, schemas, unwritten
from gateway.api.completion import Completion
from gateway.api.context import RequestContext
from gateway.api.delivery import Delivery
from gateway.api.endpoints import CHAT, COMPLETIONS, GROUNDING, MESSAGES, RESPONSES, Endpoint
from gateway.api.messages import Messages
from gateway.api.plain import Plain
from gateway.api.plan import GroundingDecision, RequestPlan
from gateway.api.responses import Responses
from gateway.api.transform import Transform
from gateway.api.translation import Translation
from gateway.http.asgi import ApiError, send_json, unavailable
from gateway.http.json_body import SMALL, parse_object
from gateway.routing import abilities, token_budget
from gateway.routing.aliases import Route
from gateway.routing.dispatch import Call, refuse_unreadable, unknown_model
from gateway.routing.registry import Served
from gateway.routing.resume import Opening
from gateway.routing.token_budget import TokenBudget
from gateway.runtime.container import Container
from gateway.upstream import fim
from gateway.upstream.salt import Salts

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
            count = partial(container.chat.count, plan)
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
                if not answer.reads and _has_another_purpose(plan):
                    plan = context.plan = _without_pages(plan)
                    transform, call = Plain(plan, keeps_text), None
            else:
                transform = Plain(plan, keeps_text)
                if unwritten.is_asked(endpoint.path, plan):
                    transform = await unwritten.unwritten(plan, plan.first)
            if plan.budget.answer is not None:  # the model generates text
                header = plan.grounding.header(transform.reads)
                context.response.headers[GROUNDING] = header
            call = call or _call(plan, context)
            opening = Opening(container.dispatch, container.fleet.find, call, plan.route)
            await Delivery(context, plan, transform, opening, translation).run()

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
        budget = self._budget(endpoint, route, request, size, first, grounding, key)
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
            salts=Salts(container.secret, key.id, context.reader),
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
        if not wants and is_client_job(request["messages"]):
            return decision._replace(why="client-job")
        return decision._replace(is_on=True, is_agents=chat_request.is_agents(request))

    def _budget(
        self,
        endpoint: Endpoint,
        route: Route,
        request: dict[str, Any],
        size: int,
        first: Served,
        grounding: GroundingDecision,
        key: Key,
    ) -> TokenBudget:
        settings = self._container.settings
        is_answer = grounding.is_on and not grounding.is_agents
        default = settings.max_tokens if is_answer else settings.max_output
        instructions = len(route.instructions.encode()) if endpoint.is_chat else 0
        budget = token_budget.bound(endpoint.path, request, size + instructions, default)
        if not is_answer:
            budget = token_budget.within(budget, first.engine)
            has_length = token_budget.wanted(request, 0) > 0
            is_open = endpoint.is_chat and not (has_length or key.limits.has_tokens)
            budget = budget._replace(is_open=is_open)
        pages = self._container.chat.most_pages(grounding, request)
        return budget._replace(prompt=budget.prompt + pages)

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

    salt = plan.salts.own()
    return Call(plan.endpoint, plan.scope, plan.stream, render, context.span, salt=salt)


def _has_another_purpose(plan: RequestPlan) -> bool:
    """May the request be no question to the wiki, because its system prompt is the client's own?

    A client that asks for pages gets a refusal instead.
    """
    return chat_request.has_system(plan.request) and not plan.grounding.is_asked_for


def _without_pages(plan: RequestPlan) -> RequestPlan:
    messages = instructed(plan.request["messages"], plan.route.instructions)
    decision = plan.grounding._replace(is_on=False, why="no-page")
    return replace(plan, request={**plan.request, "messages": messages}, grounding=decision)


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
