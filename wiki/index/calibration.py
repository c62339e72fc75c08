"""Calibration of an embedding model: its similarity range.

The search's parameters were measured with the bundled model. Another model may put unrelated texts
at a cosine of .75, say, and headings and their passages at .9: both are mapped to the bundled
model's values, so that the measurements remain valid.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from wiki.index.vectors import Floats

# Cosines of the bundled model, means of six wikis: between a heading and a passage below it, and
# between a heading and any other passage. They vary by wiki (.17 to .62, and .07 to .16).
NEAR, FAR = 0.44, 0.11


@dataclass(frozen=True)
class Fit:
    """The calibration of one embedding model; the defaults are for the bundled model."""

    zero: float = 0.0
    """Subtracted from a cosine ..."""
    scale: float = 1.0
    """... which is then multiplied by this, to match the bundled model."""

    def meaning(self, cosines: Floats) -> Floats:
        moved: Floats = (cosines - self.zero) * self.scale
        return moved

    def dump(self) -> dict[str, Any]:
        return asdict(self)


def load(stored: Mapping[str, Any] | None) -> Fit:
    """Reads the output of `dump`; drops fields of older versions."""
    known = {field.name for field in fields(Fit)}
    return Fit(**{name: value for name, value in (stored or {}).items() if name in known})


def of_cosines(near: float, far: float, usual: tuple[float, float] = (NEAR, FAR)) -> Fit:
    """Fits a model by its mean cosines of headings with their passages, and with others.

    `usual` are those of the bundled model.
    """
    scale = (usual[0] - usual[1]) / max(near - far, 0.01)
    return Fit(zero=far - usual[1] / scale, scale=scale)
