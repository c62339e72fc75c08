"""Axes of a small picture."""

from collections.abc import Sequence

from PIL import ImageDraw, ImageFont

# Pixels of a plot and of the room around it.
WIDTH, HEIGHT, MARGIN = 480, 300, 50

Tick = tuple[float, str]
"""Where on the axis, from 0 to 1, and what is written there."""


class Plot:
    """A place to draw in, whose corners are (0, 0) and (1, 1)."""

    def __init__(self, drawing: ImageDraw.ImageDraw, left: int, width: int = WIDTH) -> None:
        self.drawing = drawing
        self.font = ImageFont.load_default(13)
        self._left, self._width = left, width

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The pixel of a point."""
        across, up = self._width - 2 * MARGIN, HEIGHT - 2 * MARGIN
        return self._left + MARGIN + x * across, HEIGHT - MARGIN - y * up

    def axes(self, title: str, across: Sequence[Tick], up: Sequence[Tick]) -> None:
        """Draw the title, the lower axis, and what is written at both."""
        write, font = self.drawing.text, self.font
        write((self._left + self._width / 2, MARGIN / 2), title, "black", font, anchor="mm")
        self.drawing.line((*self.at(0, 0), *self.at(1, 0)), "black")
        for where, text in across:
            x, y = self.at(where, 0)
            write((x, y + 12), text, "black", font, anchor="mm")
        for where, text in up:
            x, y = self.at(0, where)
            write((x - 6, y), text, "black", font, anchor="rm")
