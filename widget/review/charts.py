"""Draws SVG charts on the server, without scripts and styles; a table beside them has the numbers.

Colours are classes (`s1`, `s2`, ...) in review.css, so that they follow the reader's colour mode.
"""

from collections.abc import Sequence
from math import ceil, floor, log10

from markupsafe import Markup

WIDTH, HEIGHT = 720, 160
LEFT, TOP, FOOT = 44, 8, 24  # space for the axes' labels
TICKS = 4  # maximum steps on the value axis
DAYS = 6  # approximate maximum of labels below
Series = tuple[str, Sequence[float | None]]
"""The name of a series, and a value for each label."""


def bars(title: str, labels: Sequence[str], series: Sequence[Series]) -> Markup:
    """Stacked bars, one for each label."""
    totals = [sum(values[n] or 0 for _, values in series) for n in range(len(labels))]
    step, top = scale(max([*totals, 1]), whole=True)
    width = (WIDTH - LEFT) / max(1, len(labels))
    shapes = []
    for place, label in enumerate(labels):
        bottom = float(TOP + HEIGHT)
        for number, (name, values) in enumerate(series, 1):
            value = values[place] or 0
            part = value / top * HEIGHT
            bottom -= part
            if value:
                shapes.append(
                    Markup(
                        '<rect class="s{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
                        "<title>{}: {:,} {}</title></rect>"
                    ).format(
                        *(number, LEFT + place * width + width * 0.1, bottom, width * 0.8, part),
                        *(label, value, name),
                    )
                )
    return _framed(title, labels, series, (step, top, ""), shapes)


def lines(title: str, labels: Sequence[str], series: Sequence[Series], unit: str) -> Markup:
    """A line for each series; None leaves a gap."""
    known = [value for _, values in series for value in values if value is not None]
    step, top = scale(max([*known, 0.1]))
    width = (WIDTH - LEFT) / max(1, len(labels))
    shapes = []
    for number, (name, values) in enumerate(series, 1):
        path, begun = "", False
        for place, value in enumerate(values):
            if value is None:
                begun = False
                continue
            x, y = LEFT + place * width + width / 2, TOP + HEIGHT - value / top * HEIGHT
            path += f"{'L' if begun else 'M'}{x:.1f} {y:.1f}"
            begun = True
            shapes.append(
                Markup(
                    '<circle class="s{}" cx="{:.1f}" cy="{:.1f}" r="3">'
                    "<title>{}: {} {:.1f} {}</title></circle>"
                ).format(number, x, y, labels[place], name, value, unit)
            )
        shapes.append(Markup('<path class="l{}" d="{}"/>').format(number, path))
    return _framed(title, labels, series, (step, top, f" {unit}"), shapes)


def scale(most: float, *, whole: bool = False) -> tuple[float, float]:
    """The step of an axis, 1, 2 or 5 times a power of ten, and its end, which is at least
    `most`."""
    rough = most / TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough * 0.999)
    step = max(1.0, step) if whole else step
    return step, step * ceil(most / step - 0.001)


def spark(values: Sequence[int]) -> Markup:
    """A sparkline of small bars for a table cell."""
    top = max([*values, 1])
    shapes = [
        Markup('<rect class="s1" x="{}" y="{:.1f}" width="7" height="{:.1f}"/>').format(
            place * 9, 24 - value / top * 24, value / top * 24
        )
        for place, value in enumerate(values)
    ]
    spoken = ", ".join(f"{value:,}" for value in values)
    return Markup(
        '<svg class="spark" viewBox="0 0 {} 24" role="img" aria-label="{}">{}</svg>'
    ).format(9 * len(values), f"By week: {spoken}", Markup().join(shapes))


def _framed(
    title: str,
    labels: Sequence[str],
    series: Sequence[Series],
    axis: tuple[float, float, str],
    shapes: Sequence[Markup],
) -> Markup:
    legend = Markup(" ").join(
        Markup(
            '<span class="key"><svg viewBox="0 0 10 10" aria-hidden="true">'
            '<rect class="s{}" width="10" height="10"/></svg> {}</span>'
        ).format(number, name)
        for number, (name, _) in enumerate(series, 1)
    )
    return Markup(
        '<figure><figcaption>{title} <span class="keys">{legend}</span></figcaption>'
        '<svg class="chart" viewBox="0 0 {width} {full}" role="img" aria-label="{title}: '
        'the numbers are in the table below">{numbers}{days}{shapes}</svg></figure>'
    ).format(
        title=title,
        legend=legend,
        width=WIDTH,
        full=TOP + HEIGHT + FOOT,
        numbers=_numbers(*axis),
        days=_days(labels),
        shapes=Markup().join(shapes),
    )


def _numbers(step: float, top: float, unit: str) -> Markup:
    """The value axis, with a line at each number."""
    marks = [number * step for number in range(round(top / step) + 1)]
    return Markup().join(
        Markup(
            '<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            '<text x="{at}" y="{base:.1f}" text-anchor="end">{label}{unit}</text>'
        ).format(
            left=LEFT,
            right=WIDTH,
            y=TOP + HEIGHT - value / top * HEIGHT,
            at=LEFT - 6,
            base=TOP + HEIGHT - value / top * HEIGHT + 4,
            label=f"{value:,.0f}" if step >= 1 else f"{value:.2g}",
            unit=unit,
        )
        for value in marks
    )


def _days(labels: Sequence[str]) -> Markup:
    """The day axis: the first and every n-th day, as month and day."""
    width = (WIDTH - LEFT) / max(1, len(labels))
    every = max(1, ceil(len(labels) / DAYS))
    return Markup().join(
        Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            LEFT + place * width + width / 2, TOP + HEIGHT + FOOT - 6, labels[place][-5:]
        )
        # The last label would extend beyond the picture.
        for place in range(0, len(labels), every)
        if place * width + width / 2 + 18 <= WIDTH - LEFT or len(labels) == 1
    )
