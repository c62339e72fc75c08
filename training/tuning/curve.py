"""Draws the losses of a run."""

import os
from collections.abc import Sequence
from pathlib import Path

TRAIN, VALIDATION = "#9db4d6", "#c44e52"

Points = Sequence[tuple[int, float]]
"""Loss by step, as sorted pairs."""


def draw(file: Path, train: Points, validation: Points) -> None:
    """Write a PNG atomically; without points it has only axes."""
    # Here, because it takes a second to load.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.add_subplot(title="Loss by step", xlabel="step")
    axes.spines[["top", "right"]].set_visible(False)
    axes.plot(*_columns(train), color=TRAIN, label="training")
    axes.plot(*_columns(validation), color=VALIDATION, label="validation", marker="o")
    axes.legend(frameon=False, loc="upper right")
    new = file.with_name(f"{file.name}.{os.getpid()}.new")
    figure.savefig(new, format="png")
    new.replace(file)


def _columns(points: Points) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [loss for _, loss in points]
