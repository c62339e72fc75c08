"""Calibration of an embedding model: its similarity range, and the weight of words beside it.

The numbers of the search were measured with the bundled model. Another one puts texts that have
nothing to do with each other at a cosine of .75, say, and headings and their passages at .9: both
are moved to where the bundled model has them, so that all that was measured holds.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from gateway.knowledge.search.vectors import Floats

# Cosines of the bundled model, means of six wikis: of a heading and a passage below it, and of a
# heading and any other passage. They differ from wiki to wiki (.17 to .62, and .07 to .16).
NEAR, FAR = 0.44, 0.11


@dataclass(frozen=True)
class Fit:
    """Of one embedding model; the defaults are the bundled one's."""

    zero: float = 0.0
    """A cosine less this ..."""
    scale: float = 1.0
    """... times this is what the bundled model would say."""
    lexical: float = 0.75
    """What the share of the question's words that a page has counts beside its similarity."""
    of_passage: float = 0.25
    """The same of a passage; there it is the root of the share: the first words say most."""
    about: float | None = None
    """How probable it must be that a question is about the wiki; None: as everywhere."""
    caution: float | None = None
    """The confidence below which a quotation has a caution; None: as everywhere."""

    def meaning(self, cosines: Floats) -> Floats:
        moved: Floats = (cosines - self.zero) * self.scale
        return moved

    def dump(self) -> dict[str, Any]:
        return asdict(self)


def load(stored: Mapping[str, Any] | None) -> Fit:
    """What `dump` wrote; what an older askdocs wrote besides is dropped."""
    known = {field.name for field in fields(Fit)}
    return Fit(**{name: value for name, value in (stored or {}).items() if name in known})


def of_cosines(near: float, far: float, usual: tuple[float, float] = (NEAR, FAR)) -> Fit:
    """From the mean cosines of a model: of headings with their passages, and with others.

    `usual` are those of the bundled model.
    """
    scale = (usual[0] - usual[1]) / max(near - far, 0.01)
    return Fit(zero=far - usual[1] / scale, scale=scale)
