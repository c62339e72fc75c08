"""Draws a report's plots as SVG that takes its colours from the page."""

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from eval.report import cost
from eval.report.claim import RAG
from eval.report.cost import Cost, Prices
from eval.report.front import outcomes, too_long
from eval.report.report import Number, Report, System
from eval.systems.systems import parse

# Colours in the SVG are replaced by the page's variables, which have light and dark values.
_INK, _LINE, _BASE, _TUNED, _NONE = "#010101", "#020202", "#030303", "#040404", "#050505"
_GOOD, _BAD = "#060606", "#070707"
_VARIABLES = {_INK: "ink", _LINE: "line", _BASE: "base", _TUNED: "tuned", _NONE: "quiet"}
_VARIABLES |= {_GOOD: "good", _BAD: "bad"}
_MARKERS = {"closed": "o", "pages": "s", "rag": "^", "oracle": "D"}
# Width and height of a label, as shares of the axes.
_LABEL = 0.26, 0.06
QUESTIONS_A_DAY = (10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)


class Plot(NamedTuple):
    """A figure."""

    name: str
    """Its title has the id NAME-title in the page."""
    title: str
    says: str
    """A text description, also for blind readers."""
    svg: str


def plots(report: Report) -> list[Plot]:
    """The plots that have data."""
    return [plot for draw in (_accuracy, _refusals, _calibration, _cost) for plot in draw(report)]


def front(report: Report) -> list[Plot]:
    """The plots of the first page."""
    return [plot for draw in (_contrasts, _outcomes) for plot in draw(report)]


def _contrasts(report: Report) -> Iterator[Plot]:
    if report.contrasts:

        def draw(axes: Any) -> None:
            axes.axvline(0, color=_LINE, linestyle="--", linewidth=1)
            for place, contrast in enumerate(reversed(report.contrasts)):
                colour = _NONE if contrast.says == "within noise" else _TUNED
                value, low, high = (
                    100 * each for each in (contrast.value, contrast.low, contrast.high)
                )
                axes.plot([low, high], [place, place], color=colour, linewidth=1.5)
                axes.plot(value, place, marker="o", color=colour)
                label = f"{contrast.first} − {contrast.second}"
                axes.annotate(label, (value, place), xytext=(0, 7), ha="center",
                              textcoords="offset points")  # fmt: skip
            axes.set(ylim=(-0.6, len(report.contrasts) - 0.3), yticks=[])
            axes.set(xlabel="difference in accuracy, points")

        yield Plot(
            "differences",
            "Declared contrasts",
            "Each line is a contrast's own 95 % confidence interval. Right of the dashed line the"
            " first system is more accurate. Grey: within noise, after Holm's correction for all"
            " contrasts, even where the interval leaves out 0.",
            _svg("differences", draw),
        )


def _outcomes(report: Report) -> Iterator[Plot]:
    bars, is_told = outcomes(report), not too_long(report)
    wrong_is, colour_of_wrong = ("wrong", _BAD) if is_told else ("not confirmed", _NONE)
    if bars:

        def draw(axes: Any) -> None:
            for place, (name, right, wrong, refused) in enumerate(reversed(bars)):
                left = 0.0
                for share, colour in ((right, _GOOD), (refused, _LINE), (wrong, colour_of_wrong)):
                    axes.barh(place, share, left=left, color=colour, height=0.45)
                    left += share
                label = f"{name}: {right:.0%} right, {refused:.0%} refused, {wrong:.0%} {wrong_is}"
                axes.annotate(label, (0, place + 0.25), va="bottom", fontsize=8)
            axes.set(xlim=(0, 1), ylim=(-0.5, len(bars) - 0.1), yticks=[])
            axes.set(xlabel="share of answerable questions")

        yield Plot(
            "outcomes",
            f"Right, refused, {wrong_is}",
            "Of the questions that a page answers. Errors count as wrong."
            if is_told
            else "Of the questions that a page answers. Word comparison cannot confirm answers as"
            " long as these: an answer that is not confirmed may be right.",
            _svg("outcomes", draw),
        )


def roc(points: Sequence[tuple[float, float]], used: tuple[float, float]) -> Plot:
    """ROC curve of a check over all thresholds; `used` is the point of the current threshold."""

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=_LINE, linestyle="--", linewidth=1)
        axes.plot(*zip(*points, strict=True), color=_TUNED)
        axes.plot(*used, color=_TUNED, marker="o")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set(xlabel="supported sentences marked", ylabel="other sentences marked")

    return Plot(
        "roc",
        "Marked at each threshold (ROC)",
        "Up is better, left is better. The dot is the threshold in use, the dashed line is chance.",
        _svg("roc", draw),
    )


def _accuracy(report: Report) -> Iterator[Plot]:
    points = [
        (system, system.measures["total_p50"], system.measures[report.accuracy])
        for system in report.systems
        if {"total_p50", report.accuracy} <= system.measures.keys() and _method(system) in _MARKERS
    ]
    if points:
        ends = (end for _, x, _ in points for end in (x.value, x.high) if math.isfinite(end))
        edge = 1.05 * max(ends) or 1.0

        def draw(axes: Any) -> None:
            for system, x, y in points:
                _point(axes, system, _within(x, edge), y)
            axes.set(xlabel="seconds for an answer, p50", ylabel="accuracy")
            axes.set(xlim=(0, edge), ylim=(0, 1))
            _label(axes, [(system.name, x.value, y.value) for system, x, y in points])

        yield Plot(
            "accuracy",
            "Accuracy against latency",
            "Left is faster, up is better. Bars are 95 % confidence intervals; a bar without an "
            "end reaches the edge.",
            _svg("accuracy", draw),
        )


def _refusals(report: Report) -> Iterator[Plot]:
    points = [
        (system, system.measures["false_refusals"], system.measures["true_refusals"])
        for system in report.systems
        if {"false_refusals", "true_refusals"} <= system.measures.keys()
    ]
    if points:

        def draw(axes: Any) -> None:
            axes.plot([0, 1], [0, 1], color=_LINE, linestyle="--", linewidth=1)
            for system, x, y in points:
                _point(axes, system, x, y)
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
            axes.set(xlabel="false refusals", ylabel="true refusals")
            _label(axes, [(system.name, x.value, y.value) for system, x, y in points])

        yield Plot(
            "refusals",
            "Refusals",
            "Up and left is better. On the dashed line, refusals are random.",
            _svg("refusals", draw),
        )


def _calibration(report: Report) -> Iterator[Plot]:
    subject = report.system(report.subject)
    if subject and subject.calibration:

        def draw(axes: Any) -> None:
            axes.plot([0, 1], [0, 1], color=_LINE, linestyle="--", linewidth=1)
            for bin_ in subject.calibration:
                right = bin_.right
                axes.errorbar(
                    bin_.confidence,
                    right.value,
                    yerr=_bars(right),
                    color=_TUNED,
                    marker="o",
                    linewidth=1,
                )
                axes.annotate(
                    f"{right.n}",
                    (bin_.confidence, right.value),
                    xytext=(6, -3),
                    textcoords="offset points",
                )
            axes.set(xlim=(0, 1), ylim=(-0.03, 1.03))
            axes.set(xlabel="stated confidence", ylabel="share of right answers")

        says = "On the dashed line, confidence equals accuracy. Beside each point the number of"
        says += " answers."
        if _method(subject) == "pages":
            says += (
                " The confidence is the probability that the first source is the right page. An "
                "answer from the right page can be wrong, so the curve lies below the line."
            )
        yield Plot(
            "calibration",
            f"Calibration of {report.subject}",
            says,
            _svg("calibration", draw),
        )


def _cost(report: Report) -> Iterator[Plot]:
    lines: list[tuple[str, str, str, list[list[float]]]] = []
    for name in dict.fromkeys([RAG, report.subject]):
        system = report.system(name)
        if system is None or system.gpu_seconds is None:
            continue
        months = _months(cost.own, system.gpu_seconds, report.prices)
        lines.append((f"{name}, own GPU", _colour(system), "-", months))
        if system.token_dollars:
            rag = report.provenance.rag if _method(system) == "rag" else None
            months = _months(partial(cost.hosted, rag=rag), system.token_dollars, report.prices)
            lines.append((f"{name}, hosted", _colour(system), ":", months))
    if lines:

        def draw(axes: Any) -> None:
            for label, colour, style, (months, *ends) in lines:
                axes.plot(QUESTIONS_A_DAY, months, style, color=colour, label=label)
                if ends:
                    axes.fill_between(QUESTIONS_A_DAY, *ends, color=colour, alpha=0.2, linewidth=0)
            axes.set(xscale="log", yscale="log", xlabel="questions a day", ylabel="dollars a month")
            axes.legend(frameon=False, labelcolor=_INK)

        yield Plot(
            "cost",
            "Cost against questions a day",
            "Your own GPU costs the same until it is fully used; services bill by the token. "
            "Bands, often no wider than the lines, are 95 % confidence intervals.",
            _svg("cost", draw),
        )


def _months(
    price: Callable[[float, Prices], Cost], takes: Number, prices: Prices
) -> list[list[float]]:
    """Monthly cost by questions per day, with the ends of its interval, if any."""
    many = [cost.at(prices, questions) for questions in QUESTIONS_A_DAY]
    return [
        [price(quantity, prices).month for prices in many]
        for quantity in (takes.value, takes.low, takes.high)
        if math.isfinite(quantity)
    ]


def _point(axes: Any, system: System, x: Number, y: Number) -> None:
    axes.errorbar(
        x.value,
        y.value,
        xerr=_bars(x),
        yerr=_bars(y),
        color=_colour(system),
        marker=_MARKERS.get(_method(system), "x"),
        elinewidth=0.7,
    )


def _within(number: Number, edge: float) -> Number:
    """Clip to 0 and the plot's edge if the interval is open-ended."""
    return number.model_copy(update={"low": max(number.low, 0.0), "high": min(number.high, edge)})


def _bars(number: Number) -> list[list[float]]:
    """Error bar lengths down and up. The interval of a skewed sample may exclude its value."""
    return [[max(0.0, number.value - number.low)], [max(0.0, number.high - number.value)]]


def _label(axes: Any, points: Sequence[tuple[str, float, float]]) -> None:
    """Labels beside points, moved up where they would overlap."""
    to_axes = axes.transData + axes.transAxes.inverted()
    placed: list[tuple[float, float]] = []
    for name, x, y in sorted(points, key=lambda point: point[2]):
        right, up = to_axes.transform((x, y))
        right = min(right + 0.015, 1 - _LABEL[0])
        while any(abs(right - a) < _LABEL[0] and abs(up - b) < _LABEL[1] for a, b in placed):
            up += 0.01
        placed.append((right, up))
        axes.annotate(
            name,
            (x, y),
            xytext=(right, up),
            textcoords="axes fraction",
            arrowprops={"arrowstyle": "-", "color": _LINE, "linewidth": 0.5},
        )


def _method(system: System) -> str:
    return parse([system.name])[0].method


def _colour(system: System) -> str:
    return {"base": _BASE, "tuned": _TUNED}.get(parse([system.name])[0].role or "", _NONE)


def _svg(name: str, draw: Callable[[Any], None]) -> str:
    """A figure as an SVG element with unique ids and the page's colours."""
    # Here, because it takes seconds to load.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # Keep text as text, in the page's own font.
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": name, "axes.edgecolor": _LINE}
    settings |= dict.fromkeys(["text.color", "axes.labelcolor", "xtick.color", "ytick.color"], _INK)
    with rc_context(settings):
        figure = Figure(figsize=(5.4, 3.8))
        axes = figure.add_axes((0.12, 0.14, 0.86, 0.83))
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        file = io.StringIO()
        nothing = dict.fromkeys(["Date", "Creator", "Format", "Type"])
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>(?:(?!<metadata>).)*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    opening, _, rest = svg.partition(">")
    box = opening.partition(' viewBox="')[2].partition('"')[0]
    # matplotlib's markers use `xlink`, which needs no declaration in HTML.
    svg = f'<svg viewBox="{box}" role="img" aria-labelledby="{name}-title">{rest}'
    svg = re.sub(r" font-family: (?:(?! font-family: )[^;\"])*+;", "", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg
