"""The stamp of a service's page: its version and its readers when it was read."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Self

from wiki.rights import Groups, dump

# Increment it when pages are read differently, so that all are read again.
_READER = 2


@dataclass(frozen=True)
class Stamp:
    """A stamp, written as JSON."""

    version: str
    """Changes with the page's text, title or address."""
    groups: str
    reader: int = _READER

    @classmethod
    def of(cls, version: str, groups: Groups | None) -> Self:
        """The stamp of a page in its current state."""
        return cls(_short(version), _short(str(dump(groups))))

    @classmethod
    def parse(cls, text: str) -> "Stamp | None":
        """None if the stamp has another format."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None

    @property
    def is_current(self) -> bool:
        """Was the page read completely by this version of the reader?"""
        return self.reader == _READER

    def is_version(self, other: "Stamp | None") -> bool:
        """Does `other` stand for the same version, whoever may read it?"""
        return other is not None and self.version == other.version and self.reader == other.reader

    def regrouped(self, groups: Groups | None) -> Self:
        """The stamp of the same text with other readers."""
        return replace(self, groups=_short(str(dump(groups))))

    def __str__(self) -> str:
        return json.dumps(asdict(self))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:24]
