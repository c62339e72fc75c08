"""Charts as SVG, drawn on the server: no script, no style, numbers in a table beside them.

Colours are classes (`s1`, `s2`, ...) of review.css, so that they follow the reader's colour mode.
"""

from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT, FOOT = 720, 160, 18
Series = tuple[str, Sequence[float | None]]
"""Its name, and a value for each label."""


def bars(title: str, labels: Sequence[str], series: Sequence[Series]) -> Markup:
    """Stacked bars, one for each label."""
    totals = [sum(values[n] or 0 for _, values in series) for n in range(len(labels))]
    top = max([*totals, 1])
    step = WIDTH / max(1, len(labels))
    shapes = []
    for place, label in enumerate(labels):
        height = float(HEIGHT)
        for number, (name, values) in enumerate(series, 1):
            value = values[place] or 0
            part = value / top * HEIGHT
            height -= part
            if value:
                shapes.append(
                    Markup(
                        '<rect class="s{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
                        "<title>{}: {:,} {}</title></rect>"
                    ).format(
                        *(number, place * step + step * 0.1, height, step * 0.8, part),
                        *(label, value, name),
                    )
                )
    return _framed(title, labels, series, f"{top:,}", shapes)


def lines(title: str, labels: Sequence[str], series: Sequence[Series], unit: str) -> Markup:
    """A line for each series; a value of None is a hole in it."""
    known = [value for _, values in series for value in values if value is not None]
    top = max([*known, 0.1])
    step = WIDTH / max(1, len(labels))
    shapes = []
    for number, (name, values) in enumerate(series, 1):
        path, begun = "", False
        for place, value in enumerate(values):
            if value is None:
                begun = False
                continue
            x, y = place * step + step / 2, HEIGHT - value / top * HEIGHT
            path += f"{'L' if begun else 'M'}{x:.1f} {y:.1f}"
            begun = True
            shapes.append(
                Markup(
                    '<circle class="s{}" cx="{:.1f}" cy="{:.1f}" r="3">'
                    "<title>{}: {} {:.1f} {}</title></circle>"
                ).format(number, x, y, labels[place], name, value, unit)
            )
        shapes.append(Markup('<path class="l{}" d="{}"/>').format(number, path))
    return _framed(title, labels, series, f"{top:.1f} {unit}", shapes)


def spark(values: Sequence[int]) -> Markup:
    """Small bars without labels, for a cell of a table."""
    top = max([*values, 1])
    shapes = [
        Markup('<rect class="s1" x="{}" y="{:.1f}" width="7" height="{:.1f}"/>').format(
            place * 9, 24 - value / top * 24, value / top * 24
        )
        for place, value in enumerate(values)
    ]
    said = ", ".join(f"{value:,}" for value in values)
    return Markup(
        '<svg class="spark" viewBox="0 0 {} 24" role="img" aria-label="{}">{}</svg>'
    ).format(9 * len(values), f"By week: {said}", Markup().join(shapes))


def _framed(
    title: str, labels: Sequence[str], series: Sequence[Series], top: str, shapes: Sequence[Markup]
) -> Markup:
    legend = Markup(" ").join(
        Markup(
            '<span class="key"><svg viewBox="0 0 10 10" aria-hidden="true">'
            '<rect class="s{}" width="10" height="10"/></svg> {}</span>'
        ).format(number, name)
        for number, (name, _) in enumerate(series, 1)
    )
    ends = [labels[0], labels[-1]] if labels else ["", ""]
    return Markup(
        '<figure><figcaption>{title} <span class="keys">{legend}</span></figcaption>'
        '<svg class="chart" viewBox="0 0 {width} {full}" role="img" aria-label="{title}: '
        'the numbers are in the table below">'
        '<line x1="0" x2="{width}" y1="0.5" y2="0.5"/>'
        '<line x1="0" x2="{width}" y1="{height}" y2="{height}"/>{shapes}'
        '<text x="2" y="12">{top}</text><text x="0" y="{foot}">{first}</text>'
        '<text x="{width}" y="{foot}" text-anchor="end">{last}</text></svg></figure>'
    ).format(
        title=title,
        legend=legend,
        width=WIDTH,
        height=HEIGHT,
        full=HEIGHT + FOOT,
        foot=HEIGHT + FOOT - 4,
        shapes=Markup().join(shapes),
        top=top,
        first=ends[0],
        last=ends[1],
    )
