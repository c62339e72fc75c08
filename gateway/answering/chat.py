"""`/v1/chat/completions` of a grounded alias: answers based on wiki pages."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, ParamSpec, TypeVar

import httpx

from core import threads
from core.errors import AskdocsError
from gateway.answering.answer import FRAME, GroundedAnswer
from gateway.answering.answer import say as say
from gateway.answering.check import Scorer
from gateway.answering.extract import Extract
from gateway.answering.grounding.confidence import Signals
from gateway.answering.grounding.ground import FOR_AGENTS, Count, Grounding, Grounds, Library
from gateway.answering.grounding.prompt import (
    NUMBER,
    Conversation,
    Message,
    accompanied,
    conversation,
)
from gateway.answering.grounding.question import MOST
from gateway.answering.turn import Turn
from gateway.api.chat_request import DocsRequest, is_structured, take_apart, take_turn
from gateway.api.plan import GroundingDecision, RequestPlan, Why
from gateway.http.json_body import SMALL
from gateway.http.overflow import too_long
from gateway.routing.aliases import BASE
from gateway.routing.registry import Served
from gateway.routing.token_budget import count_nearly, wanted
from gateway.settings import GatewaySettings
from gateway.telemetry.tracing import OFF, Span
from gateway.upstream.engine import Engine, estimates

P = ParamSpec("P")
T = TypeVar("T")
LEAST = 100  # minimum tokens for pages
# The last 9 to 16 questions of an agent's conversation have pages.
EIGHT = 8
# Characters of the longest token: common tokenizers have one of 128 blanks.
LONGEST_TOKEN = 128
NO_GROUNDS = Grounds((), (), Signals(0, 0.0, 0.0, 0.0), "")


class Shares(NamedTuple):
    """Token budgets within a model's context: for pages, for a prefilled page, and for the
    answer."""

    pages: int
    warm_page: int
    answer: int


class Fitted(NamedTuple):
    """A prompt that fits into the model's context."""

    grounds: Grounds
    conversation: Conversation
    answer: int
    """Tokens left for the answer."""


class Chat:
    """Answers questions from pages of the wiki."""

    def __init__(
        self,
        settings: GatewaySettings,
        library: Library,
        count: Count,
        scorer: Scorer | None = None,
    ) -> None:
        """`count` is the engine's tokenizer; `scorer` checks answers in addition to the rules."""
        self._settings = settings
        self._scorer = scorer
        self._library = library
        self._count = count

    def most_pages(self, grounding: GroundingDecision, request: Mapping[str, Any]) -> int:
        """The tokens that pages can add to a request: an upper bound."""
        settings = self._settings
        if not grounding.is_on:
            return 0
        if not grounding.is_agents:
            return max(settings.page_budget, settings.prefill_page) + FRAME
        questions = sum(1 for message in request["messages"] if message.get("role") == "user")
        return min(questions, 2 * EIGHT) * (min(FOR_AGENTS, settings.page_budget) + FRAME)

    async def count(self, plan: RequestPlan) -> int:
        """The tokens of the prompt with its pages, rather too many than too few."""
        if plan.grounding.is_on and plan.grounding.is_agents:
            plan, _ = await self.accompany(plan, OFF, keeps_text=False)
            return await count_nearly(plan.request, plan.first.engine)
        counted = await count_nearly(plan.request, plan.first.engine)
        if plan.grounding.is_on and self.is_extractive(plan):  # no model reads the pages
            return counted
        return counted + self.most_pages(plan.grounding, plan.request)

    def is_extractive(self, plan: RequestPlan) -> bool:
        """Is the answer only passages? Not if it must be JSON, or comes from a model version that
        was trained to answer."""
        return (
            self._settings.answers == "quote"
            and plan.first_choice == BASE
            and not plan.request.get("logprobs")
            and not is_structured(plan.request)
        )

    async def extract(self, plan: RequestPlan, span: Span, keeps_text: bool) -> Extract:
        """Finds the passages that form the answer. Raises ApiError."""
        asked = await _aside(plan, take_apart, plan.request, plan.headers)
        began = time.monotonic()
        with span.step("find pages") as step:
            grounding = await self._library.open_to(plan.reader)
            looked = await grounding.look_up(
                asked.sought, asked.page_url, asked.before, plan.route.sources
            )
            step.set(askdocs__pages=len(looked.hits))
        extract = Extract(asked, looked, plan, keeps_text, self._settings.model_name)
        what = "refused" if extract.refused else f"quoted “{extract.quoted[0].title}”"
        say(f"{what} after {time.monotonic() - began:.2f} s")
        return extract

    async def ground(
        self, plan: RequestPlan, counter: Served, span: Span, keeps_text: bool
    ) -> GroundedAnswer:
        """Finds the pages that the answer may use. Raises ApiError.

        The engine of `counter` determines how much fits.
        """
        engine = counter.engine
        assert engine is not None
        asked = await _aside(plan, take_apart, plan.request, plan.headers)
        grounding = await self._library.open_to(plan.reader)
        try:
            context = (await engine.model()).context
            with span.step("find pages") as step:
                fitted = await self._ground(grounding, asked, plan, context)
                step.set(askdocs__pages=len(fitted.grounds.excerpts))
        except (httpx.HTTPError, AskdocsError):
            # The counting engine is unavailable or busy: estimate the tokens instead.
            if len(plan.route.candidates) > 1:  # another candidate may answer
                counter.breaker.failed(timed_out=True)
            context = engine.known.context if engine.known else None
            fitted = await self._ground(grounding, asked, plan, context, estimates)
        return GroundedAnswer(
            *(self._settings, grounding, asked, fitted.conversation, fitted.grounds, plan),
            *(fitted.answer, keeps_text),
            scorer=self._scorer,
        )

    async def accompany(
        self, plan: RequestPlan, span: Span, keeps_text: bool
    ) -> tuple[RequestPlan, Turn | None]:
        """Adds pages for the person's questions to an agent's turn.

        Each question keeps its pages, however far the agent has progressed: they depend only on the
        questions up to it. Returns the plan with the pages in its messages, or with the reason why
        there are none; then it returns a turn only if the client asked for pages, so that the
        answer can state the reason.
        """
        request, settings, engine = dict(plan.request), self._settings, plan.first.engine
        asked, every = await _aside(plan, take_turn, request, plan.headers)
        grounding = await self._library.open_to(plan.reader)

        def turn(plan: RequestPlan, grounds: Grounds) -> Turn:
            parts = self._settings, grounding, asked, grounds, plan, keeps_text
            return Turn(*parts, scorer=self._scorer)

        def alone(why: Why, grounds: Grounds = NO_GROUNDS) -> tuple[RequestPlan, Turn | None]:
            decision = plan.grounding._replace(is_on=False, why=why)
            without = replace(plan, grounding=decision)
            return without, turn(without, grounds) if decision.is_asked_for else None

        if not every:
            return alone("no-question")
        # The first questions lose their pages by eights, not with each new question: whatever
        # changes at the beginning is read again to the end.
        first = max(0, (len(every) - 1) // EIGHT - 1) * EIGHT
        found: list[tuple[int, Grounds]] = []
        with span.step("find pages") as step:
            for number in range(first, len(every)):
                before = [question.text for question in every[max(0, number - MOST + 1) : number]]
                grounds = await self._beside(grounding, every[number].text, before, asked, plan)
                found.append((every[number].place, grounds))
            step.set(askdocs__pages=sum(len(grounds.excerpts) for _, grounds in found))
        last = found[-1][1]
        found = [(place, grounds) for place, grounds in found if grounds.excerpts]
        if not found:
            return alone("no-page", last)
        context = await _context(engine) if engine else math.inf
        length = wanted(request, settings.max_tokens)
        left = context - min(length, settings.max_tokens, context / 4)
        # A token has at least one byte, so the pages usually fit, whatever the engine would count.
        is_close = plan.budget.prompt + sum(grounds.tokens for _, grounds in found) > left
        for some in (found, found[-1:] if last.excerpts else []):
            pages = [(place, grounds.excerpts) for place, grounds in some]
            with_pages = {**request, "messages": accompanied(request["messages"], pages)}
            if some and not (is_close and await count_nearly(with_pages, engine) > left):
                excerpts = tuple(part for _, grounds in some for part in grounds.excerpts)
                readers = tuple(dict.fromkeys(r for _, grounds in some for r in grounds.readers))
                together = replace(last, excerpts=excerpts, readers=readers)
                ready = replace(plan, request=with_pages)
                return ready, turn(ready, together)
        return alone("no-room")

    async def _beside(
        self,
        grounding: Grounding,
        question: str,
        before: list[str],
        asked: DocsRequest,
        plan: RequestPlan,
    ) -> Grounds:
        """The pages for a question, with estimated token counts if the engine is unavailable."""
        budget = min(FOR_AGENTS, self._settings.page_budget)
        page_url, sources = asked.page_url, plan.route.sources

        async def ground(count: Count | None) -> Grounds:
            return await grounding.ground_agent(question, budget, page_url, count, before, sources)

        try:
            return await ground(None)
        except (httpx.HTTPError, AskdocsError):
            return await ground(estimates)

    async def _ground(
        self,
        grounding: Grounding,
        asked: DocsRequest,
        plan: RequestPlan,
        context: int | None,
        count: Count | None = None,
    ) -> Fitted:
        """Fits the pages into the context.

        Raises:
            ApiError: 400, no page fits.
            httpx.HTTPError, AskdocsError: the engine that counts is unavailable.
        """
        spoken = asked.question, asked.history, asked.client_system, plan.route.instructions
        length = wanted(dict(plan.request), self._settings.max_tokens)

        def has_room(tokens: int) -> bool:
            return context is None or self._shares(context, tokens, length).pages >= LEAST

        letters = sum(len(turn["content"]) for turn in asked.history) + len(asked.question)
        fixed = FRAME + (letters + len(asked.client_system)) // LONGEST_TOKEN
        if has_room(fixed):
            ready, size = await _aside(plan, _sized, *spoken)
            # A text never has more tokens than bytes. If that many fit, the exact count does not
            # matter, and the engine need not be asked.
            fixed = FRAME + size
            shares = self._shares(context, fixed, length)
            if shares != self._shares(context, FRAME, length):
                fixed = FRAME + sum(await (count or self._count)(ready.texts))
                shares = self._shares(context, fixed, length)
        if not has_room(fixed):
            assert context is not None
            least = fixed + LEAST + min(length, self._settings.max_tokens, context // 4)
            raise too_long(least, context, what="messages, a page and the answer")
        grounds = await grounding.ground(
            asked.sought,
            shares.pages,
            asked.page_url,
            count,
            asked.before,
            shares.warm_page,
            plan.route.sources,
        )
        answer = shares.answer
        if context is not None:
            numbers = NUMBER * sum(len(part.sections) for part in grounds.excerpts)
            answer = min(answer, max(16, context - fixed - grounds.tokens - numbers))
        return Fitted(grounds, ready, answer)

    def _shares(self, context: int | None, fixed: int, length: int) -> Shares:
        """Divides a context that holds `fixed` tokens already; the answer requests `length`
        tokens."""
        budget, warm_page = self._settings.page_budget, self._settings.prefill_page
        if context is None:
            return Shares(budget, warm_page, length)
        # Clamp a client's excessive max_tokens: agents routinely send 32,000, and pages take
        # precedence. In a small context the pages get most of the tokens.
        own = min(self._settings.max_tokens, context // 4)
        answer = min(length, max(own, context - fixed - budget))
        left = context - fixed - answer
        return Shares(min(budget, left), min(warm_page, left), answer)


async def _aside(plan: RequestPlan, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`work` on the texts of a request: of a long one in a thread, so that others are answered
    meanwhile."""
    if plan.budget.prompt <= SMALL:
        return work(*args, **kwargs)
    return await threads.search(work, *args, **kwargs)


def _sized(
    question: str, history: Sequence[Message], client_system: str, instructions: str
) -> tuple[Conversation, int]:
    """The texts for the prompt, and an upper bound of their tokens."""
    spoken = conversation(question, history, client_system, instructions)
    return spoken, sum(len(text.encode("utf-8", "replace")) + 1 for text in spoken.texts)


async def _context(engine: Engine) -> float:
    """The context length of the engine's model; infinite if unknown."""
    try:
        context = (await engine.model()).context
    except (httpx.HTTPError, AskdocsError):
        context = engine.known.context if engine.known else None
    return math.inf if context is None else context
