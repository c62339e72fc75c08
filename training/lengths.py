"""Histograms of lengths as a picture."""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from training.picture import HEIGHT, WIDTH, Plot

BARS = 40
# The longest few would press all others together: they share the last bar.
SHOWN = 0.99


def draw(file: Path, lengths: Sequence[tuple[str, Sequence[int]]]) -> None:
    """Write a PNG with a histogram of each list of lengths beside the other, under its name."""
    picture = Image.new("RGB", (WIDTH * len(lengths), HEIGHT), "white")
    for number, (name, values) in enumerate(lengths):
        _histogram(Plot(ImageDraw.Draw(picture), WIDTH * number), name, sorted(values))
    picture.save(file, "PNG")


def _histogram(plot: Plot, name: str, values: list[int]) -> None:
    bar, counts = _bars(values)
    for number, count in enumerate(counts):
        left, top = plot.at(number / BARS, count / max(counts))
        right, bottom = plot.at((number + 1) / BARS, 0)
        plot.drawing.rectangle((left, top, right - 2, bottom), fill="#4c72b0")
    more = "+" if values[-1] > bar * BARS else ""
    ticks = range(0, BARS + 1, BARS // 4)
    across = [(n / BARS, f"{n * bar:,}{more if n == BARS else ''}") for n in ticks]
    plot.axes(name, across, [(part, f"{part * max(counts):,.0f}") for part in (0.5, 1)])


def _bars(values: list[int]) -> tuple[int, list[int]]:
    """Tokens of a bar, a number that reads well, and how many values fall into each of BARS."""
    most = values[int(SHOWN * (len(values) - 1))] + 1
    size = math.ceil(most / BARS)
    unit = 10 ** max(0, len(str(size)) - 2)
    bar = math.ceil(size / unit) * unit
    counts = [0] * BARS
    for value in values:
        counts[min(BARS - 1, value // bar)] += 1
    return bar, counts
