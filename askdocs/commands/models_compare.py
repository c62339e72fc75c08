"""`askdocs models compare`: compare the answer quality of two versions."""

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askdocs.commands.options import HomeOption, JsonOption
from askdocs.evaluation import canary
from askdocs.evaluation.canary import Canary
from askdocs.state.database import opened
from askdocs.terminal import table
from core.errors import AskdocsError
from core.settings import load
from eval.statistics import proportions
from eval.statistics.proportions import Line, Value
from gateway.routing import aliases, promotions
from gateway.routing.promotions import main_target
from gateway.settings import GatewaySettings
from gateway.telemetry.answer_statistics import AnswerTally, tally

if TYPE_CHECKING:
    import sqlalchemy as sa

    from gateway.settings import Alias


def compare(
    first: Annotated[
        str | None, typer.Argument(help="A version or model, such as docs@v7.")
    ] = None,
    second: Annotated[
        str | None, typer.Argument(help="The version or model to compare it with.")
    ] = None,
    alias: Annotated[str, typer.Option(help="Only requests to this alias.")] = "docs",
    days: Annotated[int, typer.Option(min=1, max=3650, help="Days back, including today.")] = 30,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two versions in use: refusals, cautions, failures, votes, latency.

    Without names: a canary and the model beside it, otherwise the current and the previous model.
    Of a canary it also tells whether its readers have shown yet that it is as good.
    """
    since = (datetime.now(UTC) - timedelta(days=days - 1)).date()
    with opened(home_dir) as database:
        if alias not in _aliases(database):
            raise AskdocsError(f"no alias {alias!r}: `askdocs aliases list` shows the aliases")
        names = (first, second) if first and second else _two(database, alias, first)
        tallies = tally(database, alias, since)
        on_trial = canary.running(database, alias, _aliases(database)[alias].targets)
        if on_trial and {on_trial.version, on_trial.other} != set(names):
            on_trial = None
    first_tally, second_tally = (tallies.get(name, AnswerTally()) for name in names)
    if not (first_tally.counts or second_tally.counts or on_trial):
        known = ", ".join(sorted(tallies)) or "none"
        raise AskdocsError(
            f"neither {names[0]} nor {names[1]} was asked as {alias} since {since}: name two of"
            f" {known}, or more --days"
        )
    lines = proportions.compare(first_tally, second_tally)
    if as_json:
        print(
            json.dumps(
                {
                    "alias": alias,
                    "since": str(since),
                    "models": names,
                    "answers": [first_tally.counts["answers"], second_tally.counts["answers"]],
                    "measures": [_facts(line) for line in lines],
                    "canary": _standing(on_trial) if on_trial else None,
                },
                indent=2,
            )
        )
        return

    print(f"asked as {alias} since {since}; intervals of 95 %")
    counts = [f"{tally.counts['answers']:,}" for tally in (first_tally, second_tally)]
    rows = [["answers", *counts, ""]]
    rows += [
        [line.measure, _shown(line, 0), _shown(line, 1), _difference(line, names)] for line in lines
    ]
    table.show(["", *names, ""], rows)
    if on_trial:
        print(f"\n{_in_words(on_trial)}")


def _aliases(database: "sa.Engine") -> "dict[str, Alias]":
    return {**aliases.DEFAULT, **load(GatewaySettings).aliases, **aliases.stored(database)}


def _standing(on_trial: Canary) -> dict[str, Any]:
    found = on_trial.standing
    return {
        "version": on_trial.version,
        "since": on_trial.since.isoformat(),
        "readers": found.readers,
        "answers": found.answers,
        "difference": found.difference,
        "low": found.low if math.isfinite(found.low) else None,
        "high": found.high if math.isfinite(found.high) else None,
        "margin": found.margin,
        "decision": found.decision,
    }


def _in_words(on_trial: Canary) -> str:
    """Where a canary stands, in a sentence or two."""
    found = on_trial.standing
    readers = f"{found.readers[0]:,} and {found.readers[1]:,} readers"
    measured = (
        "no answers of both yet"
        if found.difference is None
        else f"difference {found.difference:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
    )
    then = {
        "wait": f"not decided yet; promote above {-found.margin:+.2f}, stop below 0",
        "promote": f"as good: `askdocs models promote {on_trial.version}`",
        "stop": f"worse: `askdocs models promote {on_trial.version} --weight 0`",
    }[found.decision]
    return f"canary since {on_trial.since:%Y-%m-%d}, {readers}: {measured}: {then}"


def _two(database: "sa.Engine", alias: str, first: str | None) -> tuple[str, str]:
    """The default comparison."""
    now = _aliases(database)[alias].targets
    names: Sequence[str] = sorted(now, key=lambda name: -now[name])
    if len(names) == 1:
        changes = reversed(promotions.history(database, alias))
        others = (
            main_target(version_alias)
            for entry in changes
            for version_alias in (entry.before, entry.after)
        )
        names = [*names, *(name for name in others if name != names[0])]
    if first is not None:
        names = [first, *(name for name in names if name != first)]
    if len(names) < 2:
        raise AskdocsError(f"only {names[0]} has answered for {alias}: name two models to compare")
    return names[0], names[1]


def _facts(line: Line) -> dict[str, Any]:
    def facts(value: Value | None) -> dict[str, float | None] | None:
        # JSON knows no infinity.
        return value and {k: v if math.isfinite(v) else None for k, v in value._asdict().items()}

    return {**vars(line), "first": facts(line.first), "second": facts(line.second)}


def _shown(line: Line, which: int) -> str:
    value: Value | None = (line.first, line.second)[which]
    if value is None:
        return "-"
    if line.unit == "share":
        return f"{value.value:.1%} ({value.low:.1%} to {value.high:.1%})"
    high = f"{value.high:.2f}" if math.isfinite(value.high) else "?"
    return f"{value.value:.2f} s ({value.low:.2f} to {high})"


def _difference(line: Line, names: tuple[str, str]) -> str:
    if line.differs is None or line.first is None or line.second is None:
        return ""
    if not line.differs:
        return "no difference beyond chance"
    first_is_less = line.first.value < line.second.value
    return f"{names[0] if first_is_less == line.less_is_better else names[1]} is better"
