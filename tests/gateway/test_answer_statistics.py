"""Answer statistics: counted in memory, added up in the database, and kept while it is away."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.types import Message

from core import database
from gateway.access.limits.limiter import connect
from gateway.api.context import RequestContext
from gateway.api.delivery import Delivery
from gateway.api.plan import Fallback, GroundingDecision, RequestPlan, RequestResult, Tokens
from gateway.api.transform import WithoutModel
from gateway.routing.aliases import Route
from gateway.routing.registry import Served
from gateway.routing.token_budget import TokenBudget
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.answer_statistics import WIDER, AnswerStatistics, bucket, middle, tally
from gateway.telemetry.metrics import LEFT, Metrics
from gateway.telemetry.recorder import Recorder
from gateway.telemetry.shown_pages import Shown
from gateway.telemetry.usage import Usage
from gateway.upstream.prefill.popularity import PagePopularity
from gateway.upstream.salt import Salts
from wiki.rights import PUBLIC


@given(st.floats(0.001, 10_000))
def test_a_bucket_is_right_to_four_and_a_half_percent(seconds: float) -> None:
    assert WIDER**-0.5 * 0.999 <= middle(bucket(seconds)) / seconds <= WIDER**0.5 * 1.001


async def test_what_several_workers_count_adds_up_by_model(stored: sa.Engine) -> None:
    for _ in range(2):
        worker = AnswerStatistics(stored)
        worker.count("docs", "docs@v7", "answers", "refused")
        worker.took("docs", "docs@v7", "duration", 1.0)
        worker.count("docs", "docs@v8", "answers", "up")
        await worker.flush()
        worker.count("docs", "docs@v8", "answers")
        worker.count("other", "docs@v8", "failed")
        await worker.flush()
    today = datetime.now(UTC).date()
    tallies = tally(stored, "docs", today - timedelta(days=1))
    assert tallies["docs@v7"].counts == {"answers": 2, "refused": 2}
    assert tallies["docs@v7"].times["duration"] == {bucket(1.0): 2}
    assert tallies["docs@v8"].counts == {"answers": 4, "up": 2}
    assert tally(stored, "docs", today + timedelta(days=1)) == {}


async def test_with_the_database_away_nothing_is_lost(stored: sa.Engine, tmp_path: Path) -> None:
    worker = AnswerStatistics(stored)
    worker.count("docs", "docs@v7", "answers")
    with stored.connect() as connection:
        connection.execute(sa.text("ALTER TABLE outcomes RENAME TO away"))
        connection.commit()
    await worker.flush()
    worker.count("docs", "docs@v7", "answers")
    with stored.connect() as connection:
        connection.execute(sa.text("ALTER TABLE away RENAME TO outcomes"))
        connection.commit()
    await worker.flush()
    today = datetime.now(UTC).date()
    assert tally(stored, "docs", today)["docs@v7"].counts == {"answers": 2}


Told = dict[str, dict[str, int]]


@pytest.mark.parametrize(
    ("known", "counts", "outcome"),
    [
        ({"model": "v8"}, {"v8": {"answers": 1}}, "answered"),
        ({"model": "v8", "refused": True}, {"v8": {"answers": 1, "refused": 1}}, "refused"),
        ({"model": "v8", "cautious": True}, {"v8": {"answers": 1, "cautious": 1}}, "cautious"),
        (
            {"model": "v8", "claims": ("supported", "supported", "contradicted")},
            {"v8": {"answers": 1, "supported": 2, "contradicted": 1}},
            "answered",
        ),
        ({"model": "v8", "status": 502}, {"v8": {"failed": 1}}, "failed"),
        (
            {"model": "base", "fallback": Fallback("v8", "503")},
            {"v8": {"failed": 1}, "base": {"answers": 1}},
            "answered",
        ),
        ({"status": 503}, {"v8": {"failed": 1}}, "failed"),
        # No page: no model was asked.
        ({"refused": True}, {"v8": {"answers": 1, "refused": 1}}, "refused"),
        ({"status": 400}, {}, ""),
        ({"model": "v8", "status": LEFT}, {}, ""),
    ],
    ids=str,
)
async def test_a_request_counts_for_the_model_that_answered_or_did_not(
    stored: sa.Engine, known: dict[str, object], counts: Told, outcome: str
) -> None:
    outcomes, metrics = AnswerStatistics(stored), Metrics()
    limiter = await connect(None, Usage(stored).month)
    recorder = Recorder(
        limiter,
        Usage(stored),
        metrics,
        AccessLog(None),
        PagePopularity(stored),
        outcomes,
        Shown(stored),
    )
    context = asked(metrics)
    context.result = RequestResult(**{"status": 200, **known})  # type: ignore[arg-type]
    recorder.record(context)
    await outcomes.flush()
    tallies = tally(stored, "docs", datetime.now(UTC).date())
    assert {model: dict(one.counts) for model, one in tallies.items()} == counts
    exposed = (await metrics.expose()).body.decode().splitlines()
    answering = known.get("model", "v8")
    labels = f'alias="docs",model="{answering}",outcome="{outcome}"'
    said = [line for line in exposed if line.startswith("askdocs_gateway_answers_total{")]
    counted = [line for line in said if not line.endswith(" 0.0")]
    assert counted == ([f"askdocs_gateway_answers_total{{{labels}}} 1.0"] if outcome else [])
    answered = [model for model, told in counts.items() if "answers" in told and "model" in known]
    assert [m for m, one in tallies.items() if one.times["duration"].total() == 1] == answered


class Refusing(WithoutModel):
    """All of the answer is there before a model is asked, as where no page is found."""

    keeps_alive = refused = True
    tokens, answer = Tokens(), ""

    def start(self) -> bytes:
        return b"data: [DONE]\n\n"


async def test_a_refusal_counts_although_its_reader_leaves_at_its_last_event() -> None:
    async def leave(message: Message) -> None:
        if b"[DONE]" in message.get("body", b"") and message.get("more_body"):
            context.response.client_left = True  # what comes now comes too late

    context = asked(Metrics(), leave)
    assert context.plan
    plan = replace(context.plan, stream=True)

    opening: Any = None  # no model is asked
    await Delivery(context, plan, Refusing(), opening, None).run()
    assert context.result
    assert (context.result.status, context.result.outcome) == (200, "refused")


class Quoting(Refusing):
    """Passages are the answer."""

    refused = False


async def test_a_stream_without_a_model_has_a_time_to_its_first_event() -> None:
    metrics = Metrics()
    context = asked(metrics)
    assert context.plan
    context.measured.alias = "docs"
    context.measured.admitted()

    opening: Any = None  # no model is asked
    plan = replace(context.plan, stream=True)
    await Delivery(context, plan, Quoting(), opening, None).run()
    assert context.result
    context.measured.end(context.result.status, context.result.model)
    exposed = (await metrics.expose()).body.decode()
    assert 'time_to_first_token_seconds_count{alias="docs",team=""} 1.0' in exposed


async def silent(message: Message) -> None: ...


def asked(metrics: Metrics, send: Callable[[Message], Awaitable[None]] = silent) -> RequestContext:
    """A request to `docs`, which leads to `v8`."""
    scope = {"method": "POST", "path": "/", "headers": []}
    endpoint = "/chat/completions"
    context = RequestContext(endpoint, "1", scope, Headers(), send, metrics.request(endpoint))
    context.set_alias("docs")
    context.plan = RequestPlan(
        endpoint=endpoint,
        reader=PUBLIC,
        scope=scope,
        headers=Headers(scope=scope),
        request={},
        route=Route("docs", ("v8",)),
        first=Served("v8"),
        stream=False,
        budget=TokenBudget(0, 1),
        grounding=GroundingDecision(False, "alias"),
        salts=Salts("", "", PUBLIC),
    )
    return context


async def test_a_vote_is_in_the_database_at_once_or_refused(
    stored: sa.Engine, tmp_path: Path
) -> None:
    await AnswerStatistics(stored).vote("docs", "docs@v8", "up")
    today = datetime.now(UTC).date()
    assert tally(stored, "docs", today)["docs@v8"].counts["up"] == 1
    away = database.open(f"sqlite:///{tmp_path / 'nowhere' / 'askdocs.db'}")
    with pytest.raises(database.Unreachable):
        await AnswerStatistics(away).vote("docs", "docs@v8", "up")
