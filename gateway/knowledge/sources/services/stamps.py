"""The stamp of a service's page: its version, and its readers at that time."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Self

from gateway.access.rights import Groups, dump

# Raised when pages are read differently: all are read again then.
_READER = 2


@dataclass(frozen=True)
class Stamp:
    """Written as JSON."""

    version: str
    """What changes with the page's text, title or address."""
    groups: str
    reader: int = _READER

    @classmethod
    def of(cls, version: str, groups: Groups | None) -> Self:
        """The stamp of a page that is now so."""
        return cls(_short(version), _short(str(dump(groups))))

    @classmethod
    def parse(cls, text: str) -> "Stamp | None":
        """None for a stamp of something else."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None

    @property
    def is_current(self) -> bool:
        """Was the page read as pages are read now?"""
        return self.reader == _READER

    def regrouped(self, groups: Groups | None) -> Self:
        """Of the same text, for others."""
        return replace(self, groups=_short(str(dump(groups))))

    def __str__(self) -> str:
        return json.dumps(asdict(self))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:24]
