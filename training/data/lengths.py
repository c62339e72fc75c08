"""Draws histograms of lengths."""

from collections.abc import Sequence
from pathlib import Path

BARS = 40
COLOUR = "#4c72b0"
# The few longest would compress the scale: they share the last bar.
SHOWN = 0.99


def draw(file: Path, lengths: Sequence[tuple[str, Sequence[int]]]) -> None:
    """Write a PNG with one titled histogram per list of lengths, side by side."""
    # Here, because it takes a second to load.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8 * len(lengths), 3), layout="constrained")
    for number, (name, values) in enumerate(lengths):
        axes = figure.add_subplot(1, len(lengths), number + 1, title=name)
        axes.spines[["top", "right"]].set_visible(False)
        most = sorted(values)[int(SHOWN * (len(values) - 1))]
        _, edges, _ = axes.hist([min(value, most) for value in values], BARS, color=COLOUR)
        if max(values) > most:
            axes.set_xlabel(f"the last bar includes all from {edges[-2]:,.0f} on")
    figure.savefig(file, format="png")
