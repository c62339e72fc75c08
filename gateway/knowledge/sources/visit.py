"""The record of a visit to a page, used to detect changes at the next visit."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

# Raised when pages are read differently: all are read again then.
VERSION = 3
# A page may be changed twice on the day that its sitemap names.
_SETTLED = timedelta(days=1)


@dataclass(frozen=True)
class Visit:
    """A page that was read: its stamp is this as JSON."""

    text: str
    """Hash of what was read; the markup around it changes with every answer of some sites."""
    etag: str = ""
    modified: str = ""
    listed: str = ""
    """The sitemap's date of the page."""
    read: str = ""
    """When we read it."""
    version: int = VERSION

    @classmethod
    def parse(cls, stamp: str) -> "Visit | None":
        """None for the stamp of another version, or of something else."""
        try:
            visit = cls(**json.loads(stamp))
        except (ValueError, TypeError):
            return None
        return visit if visit.version == VERSION else None

    @property
    def unless(self) -> dict[str, str]:
        """The headers that ask only for what is new."""
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.modified}
        return {name: value for name, value in headers.items() if value}

    def is_listed_as(self, changed: str) -> bool:
        """Does the sitemap say that the page is as we read it?"""
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
