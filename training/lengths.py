"""Histograms of lengths as a picture."""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

BARS = 40
# Pixels.
WIDTH, HEIGHT, MARGIN = 480, 300, 50
# The longest few would press all others together: they share the last bar.
SHOWN = 0.99


def draw(file: Path, lengths: Sequence[tuple[str, Sequence[int]]]) -> None:
    """Write a PNG with a histogram of each list of lengths beside the other, under its name."""
    picture = Image.new("RGB", (WIDTH * len(lengths), HEIGHT), "white")
    for number, (name, values) in enumerate(lengths):
        _histogram(ImageDraw.Draw(picture), WIDTH * number, name, sorted(values))
    picture.save(file, "PNG")


def _histogram(drawing: ImageDraw.ImageDraw, left: int, name: str, values: list[int]) -> None:
    font = ImageFont.load_default(13)
    bar, counts = _bars(values)
    x0, y0 = left + MARGIN, HEIGHT - MARGIN
    across, up = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    drawing.text((left + WIDTH / 2, MARGIN / 2), name, "black", font, anchor="mm")
    for number, count in enumerate(counts):
        x = x0 + number * across / BARS
        box = (x, y0 - count / max(counts) * up, x + across / BARS - 2, y0)
        drawing.rectangle(box, fill="#4c72b0")
    drawing.line((x0, y0, x0 + across, y0), "black")
    for number in range(0, BARS + 1, BARS // 4):
        more = "+" if number == BARS and values[-1] > bar * BARS else ""
        drawing.text(
            (x0 + number * across / BARS, y0 + 12),
            f"{number * bar:,}{more}",
            "black",
            font,
            anchor="mm",
        )
    for part in (0.5, 1):
        drawing.text(
            (x0 - 6, y0 - part * up), f"{part * max(counts):,.0f}", "black", font, anchor="rm"
        )


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
