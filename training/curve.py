"""The losses of a run as a picture."""

import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from training.picture import HEIGHT, Plot

WIDTH = 800
TRAIN, VALIDATION = "#9db4d6", "#c44e52"
TICKS = 4

Points = Sequence[tuple[int, float]]
"""Step and loss, by step."""


def draw(file: Path, train: Points, validation: Points) -> None:
    """Write a PNG, whole or not at all; without points it has axes alone."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    plot = Plot(ImageDraw.Draw(picture), 0, WIDTH)
    losses = [loss for _, loss in (*train, *validation)]
    low, high = min(losses, default=0.0), max(losses, default=1.0)
    last = max([step for step, _ in (*train, *validation)], default=1)
    span = max(high - low, 1e-6)

    def at(step: int, loss: float) -> tuple[float, float]:
        return plot.at(step / max(1, last), (loss - low) / span)

    if len(train) > 1:
        plot.drawing.line([at(*point) for point in train], TRAIN, 2)
    if len(validation) > 1:
        plot.drawing.line([at(*point) for point in validation], VALIDATION, 2)
    for point in validation:
        x, y = at(*point)
        plot.drawing.ellipse((x - 4, y - 4, x + 4, y + 4), VALIDATION)
    parts = [number / TICKS for number in range(TICKS + 1)]
    plot.axes(
        "Loss by step",
        [(part, f"{part * last:,.0f}") for part in parts],
        [(part, f"{low + part * span:.2f}") for part in parts],
    )
    for row, (name, colour) in enumerate((("training", TRAIN), ("validation", VALIDATION))):
        plot.drawing.text((WIDTH - 140, 30 + 18 * row), name, colour, plot.font)
    new = file.with_name(f"{file.name}.{os.getpid()}.new")
    picture.save(new, "PNG")
    new.replace(file)
