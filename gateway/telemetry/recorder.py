"""Records a finished request once: limits, usage, metrics, statistics, trace, access log."""

import logging
from dataclasses import dataclass

from gateway.access.limits.limiter import Limiter
from gateway.api.context import NOBODY, RequestContext
from gateway.api.endpoints import CHAT, GROUNDING
from gateway.api.plan import RequestPlan, RequestResult
from gateway.telemetry.access_log import AccessLog, AccessLogEntry
from gateway.telemetry.answer_statistics import AnswerStatistics
from gateway.telemetry.metrics import LEFT, Metrics
from gateway.telemetry.shown_pages import Shown
from gateway.telemetry.usage import Usage
from gateway.upstream.prefill.popularity import PagePopularity

log = logging.getLogger("askdocs.gateway")


@dataclass(frozen=True, slots=True)
class Recorder:
    """Records requests everywhere."""

    limiter: Limiter
    usage: Usage
    metrics: Metrics
    log: AccessLog
    popularity: PagePopularity
    statistics: AnswerStatistics
    shown: Shown

    @property
    def wants_text(self) -> bool:
        """Does the log keep questions and answers?"""
        return self.log.wants_prompts

    def record(self, context: RequestContext) -> None:
        """Record a request. Call it once, when its response has ended. Does not fail or wait."""
        try:
            self._record(context)
        except Exception:  # the response has been sent, and must not fail for this
            log.exception("request %s was not recorded completely", context.request_id)

    def _record(self, context: RequestContext) -> None:
        response = context.response
        result = context.result
        if result is None:
            result = RequestResult(LEFT if response.client_left else response.status)
        plan = context.plan
        used = result.tokens.prompt + result.tokens.completion
        if context.grant is not None:
            self.limiter.settle(context.grant, used)
        if plan is not None and plan.endpoint == CHAT.path:
            self._count_outcome(context, plan, result)
        if seen := (*result.pages, *result.shown):
            self.shown.shown(context.key.id, seen)
        if result.pages:
            self.popularity.stood_on(result.pages)
        if context.span.is_on:
            _trace(context, plan, result)
        if result.model:
            self.usage.count(
                context.key,
                context.alias,
                result.model,
                result.tokens.prompt,
                result.tokens.completion,
            )
        context.measured.end(result.status, result.model, *result.tokens)
        if self.log.is_on:
            self.log.write(_entry(context, plan, result))

    def _count_outcome(
        self, context: RequestContext, plan: RequestPlan, result: RequestResult
    ) -> None:
        """Count the outcome for the answering model, and for a first choice that did not answer."""
        if result.status == LEFT:
            return
        alias, first, model = plan.alias, plan.first_choice, result.model
        outcome = result.outcome
        if outcome:
            self.metrics.answered(alias, model or first, outcome)
        if result.fallback is not None or (not model and result.status >= 500):
            self.statistics.count(alias, first, "failed")
        if outcome == "refused" and not model:  # no page was found, so no model was called
            self.statistics.count(alias, first, "answers", "refused")
        if not model:
            return
        if result.status >= 400:
            self.statistics.count(alias, model, "failed")
            return
        self.statistics.count(alias, model, "answers")
        if outcome == "refused" or outcome == "cautious":
            self.statistics.count(alias, model, outcome)
        self.statistics.count(alias, model, *result.claims)
        self.metrics.checked(alias, model, result.claims)
        self.statistics.took(alias, model, "duration", context.measured.duration)
        if context.measured.ttft is not None:
            self.statistics.took(alias, model, "first_token", context.measured.ttft)


def _trace(context: RequestContext, plan: RequestPlan | None, result: RequestResult) -> None:
    context.span.set(
        http__request__method=context.scope["method"],
        http__response__status_code=result.status,
        gen_ai__request__model=context.alias or None,
        gen_ai__response__model=result.model or None,
        gen_ai__usage__input_tokens=result.tokens.prompt,
        gen_ai__usage__output_tokens=result.tokens.completion,
        askdocs__request_id=context.request_id,
        askdocs__team=context.key.team,
        askdocs__lane=result.lane or None,
        askdocs__fallback=result.fallback.reason if result.fallback else None,
        askdocs__grounding=context.response.headers.get(GROUNDING),
        askdocs__refused=result.refused,
        askdocs__cached_tokens=result.tokens.cached,
        askdocs__first_byte_seconds=context.measured.ttft,
    )
    context.span.end(str(result.status) if result.status >= 500 else "")


def _entry(
    context: RequestContext, plan: RequestPlan | None, result: RequestResult
) -> AccessLogEntry:
    client = context.scope.get("client")
    key = None if context.key is NOBODY else context.key
    return AccessLogEntry(
        request_id=context.request_id,
        method=context.scope["method"],
        path=context.scope["path"],
        status=result.status,
        duration=context.measured.duration,
        ttft=context.measured.ttft,
        key_id=key.id if key else None,
        key_name=key.name if key else None,
        team=key.team if key else None,
        alias=context.alias or None,
        model=result.model or None,
        lane=result.lane or None,
        stream=plan is not None and plan.stream,
        grounded=plan is not None and plan.grounding.is_on,
        refused=result.refused,
        prompt_tokens=result.tokens.prompt,
        completion_tokens=result.tokens.completion,
        fallback=result.fallback.reason if result.fallback else None,
        client=client[0] if client else None,
        prompt=result.question or None,
        answer=result.answer or None,
    )
