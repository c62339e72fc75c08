"""The record of a visit to a page, used to detect changes at the next visit."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

# Increment it when pages are read differently, so that all are read again.
VERSION = 3
# A page may change again on the day that its sitemap states.
_SETTLED = timedelta(days=1)


@dataclass(frozen=True)
class Visit:
    """A page that was read: its stamp is this object as JSON."""

    text: str
    """The hash of the text read; on some sites the surrounding markup changes with every
    response."""
    etag: str = ""
    modified: str = ""
    listed: str = ""
    """The page's date in the sitemap."""
    read: str = ""
    """The time of the visit."""
    version: int = VERSION

    @classmethod
    def parse(cls, stamp: str) -> "Visit | None":
        """None for a stamp of another version or format."""
        try:
            visit = cls(**json.loads(stamp))
        except (ValueError, TypeError):
            return None
        return visit if visit.version == VERSION else None

    @property
    def unless(self) -> dict[str, str]:
        """The headers of a conditional request."""
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.modified}
        return {name: value for name, value in headers.items() if value}

    def is_listed_as(self, changed: str) -> bool:
        """Does the sitemap indicate that the page is unchanged?"""
        if not changed or changed != self.listed:
            return False
        try:
            day = datetime.fromisoformat(changed)
            read = datetime.fromisoformat(self.read)
        except ValueError:
            return False
        return read - (day if day.tzinfo else day.replace(tzinfo=UTC)) > _SETTLED

    @property
    def stamp(self) -> str:
        """The inverse of `parse`."""
        return json.dumps(asdict(self))
