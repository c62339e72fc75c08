"""The changed pages of a MediaWiki since a sync, from its recent changes and its log.

https://www.mediawiki.org/wiki/API:RecentChanges and https://www.mediawiki.org/wiki/API:Logevents

The feed does not name everything, so that all pages are listed instead

- where it does not reach back to the last sync ($wgRCMaxAge), and once a day: pages may change
  without it, by an import or by a page that a query on them shows;
- where the wiki has more or fewer pages than the log explains: a deletion may be suppressed, and
  its entry is for few people then; an import and a new file add pages that it does not count;
- where an entry of the log hides its page.

Entries of the last hour are read at each sync: an edit counts from its begin, not from when it can
be seen, and pages that include a changed template change when the wiki's job queue has come to
them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.core.errors import AskdocsError
from gateway.knowledge.sources.services.api import listed, mapping
from gateway.knowledge.sources.services.items import SyncState
from gateway.knowledge.sources.services.mediawiki_api import MediaWikiApi, Row
from gateway.knowledge.sources.services.stamps import Stamp

LISTED_EVERY = timedelta(days=1)
_OVERLAP = timedelta(hours=1)
# With more entries than this, listing all pages is faster.
_LEAST = 2_000
# Log types about people rather than pages.
_OTHERS = ("block", "newusers", "patrol", "rights")
# The change in the number of pages by a log entry.
_ADDS = {("create", "create"): 1, ("delete", "restore"): 1}
_DELETES = ("delete", "delete_redir", "delete_redir2")
_UNCOUNTED = ("import", "upload")

Changes = tuple[dict[str, Row], set[str]]
"""Rows of the pages that may have changed, and the numbers of deleted pages."""


class Feed:
    """The wiki's current state, and its changes since a sync."""

    def __init__(self, wiki: MediaWikiApi) -> None:
        self._wiki = wiki
        answer = wiki.query(
            meta="siteinfo", siprop="general|namespaces|usergroups|statistics", curtimestamp=1,
            list="logevents", lelimit=1, leprop="ids",
        )  # fmt: skip
        self.about = mapping(answer.get("query"))
        self.namespaces = content_namespaces(self.about)
        self._now = str(answer.get("curtimestamp") or "")
        self._pages = mapping(self.about.get("statistics")).get("pages")
        [entry] = listed(self.about.get("logevents"))[:1] or [{}]
        self._entry = mapping(entry).get("logid", 0)

    def state(self, memory: SyncState | None) -> Mapping[str, Any]:
        """The state for the next sync; with `memory` if the pages were not listed."""
        listed_at = memory.feed["listed"] if memory and memory.feed else self._now
        return {
            "at": self._now,
            "listed": listed_at,
            "namespaces": self.namespaces,
            "pages": self._pages,
            "entry": self._entry,
        }

    def since(self, memory: SyncState) -> Changes | None:
        """The changes since the last sync; None: list all pages."""
        before = memory.feed
        if not before or before["namespaces"] != self.namespaces:
            return None
        try:
            now, at = _time(self._now), _time(before["at"])
            if not timedelta(0) <= now - _time(before["listed"]) < LISTED_EVERY:
                return None
        except ValueError:  # the wiki does not report its time
            return None
        oldest = self._wiki.query(
            list="recentchanges", rcdir="newer", rclimit=1, rcprop="timestamp"
        )
        [first] = listed(mapping(oldest.get("query")).get("recentchanges"))[:1] or [{}]
        if str(mapping(first).get("timestamp") or "9") > before["at"]:
            return None
        stamps = ((path, Stamp.parse(stamp)) for path, stamp in memory.known.items())
        numbers = {path for path, stamp in stamps if not (stamp and stamp.is_current)}
        numbers = set(filter(str.isdecimal, numbers))  # files are listed
        if len(numbers) > _LEAST:
            return None
        named = self._named(at - _OVERLAP, before, max(len(memory.known), _LEAST), numbers)
        return self._changes(numbers, *named) if named else None

    def _named(
        self, since: datetime, before: Mapping[str, Any], most: int, numbers: set[str]
    ) -> tuple[set[str], set[str]] | None:
        """Adds the pages of the feed to `numbers`. Returns titles of pages that changed, and of
        those that may be other pages now; None: the feed does not say enough."""
        start = since.strftime("%Y-%m-%dT%H:%M:%SZ")
        parts = self._wiki.parts(
            list="recentchanges|logevents",
            rcdir="newer", rcstart=start, rctype="edit|new", rcprop="ids|title", rclimit="max",
            ledir="newer", lestart=start, leprop="ids|title|type|details", lelimit="max",
        )  # fmt: skip
        titles: set[str] = set()
        logged: set[str] = set()
        explained = entries = 0
        for part in parts:
            changes = [mapping(change) for change in listed(part.get("recentchanges"))]
            log = [mapping(entry) for entry in listed(part.get("logevents"))]
            entries += len(changes) + len(log)
            if entries > most:
                return None
            for change in changes:
                titles.add(str(change.get("title")))
                numbers.add(str(change.get("pageid")))
            for entry in log:
                kind, action = str(entry.get("type")), str(entry.get("action"))
                if kind in _OTHERS:
                    continue
                title, number = entry.get("title"), entry.get("logpage")
                is_deletion = kind == "delete" and action in _DELETES
                is_new = before["entry"] < entry.get("logid", 0) <= self._entry
                if not title or (is_deletion and not number) or (is_new and kind in _UNCOUNTED):
                    return None
                about = mapping(entry.get("params"))
                logged.add(str(title))
                if target := about.get("target_title"):
                    logged.add(str(target))
                numbers |= {str(number), str(entry.get("pageid"))}
                if is_new:
                    is_copy = kind == "move" and about.get("suppressredirect") is not True
                    explained += _ADDS.get((kind, action), 0) - is_deletion + is_copy
        numbers -= {"0", "None"}
        if before["pages"] is None or self._pages != before["pages"] + explained:
            return None
        return titles | logged, logged

    def _changes(self, numbers: set[str], titles: set[str], logged: set[str]) -> Changes:
        rows: dict[str, Row] = {}
        gone: set[str] = set()
        answered: set[str] = set()
        for key, values in ("pageids", numbers), ("titles", logged):
            for row in self._wiki.info(key, sorted(values)):
                number = str(row.get("pageid") or "")
                answered.add(number)
                is_page = not row.get("missing") and not row.get("redirect")
                if is_page and str(row.get("ns")) in self.namespaces and row.get("canonicalurl"):
                    rows[number] = row
                else:
                    gone.add(number)
        if not numbers <= answered:
            raise AskdocsError("the wiki's answer about changed pages breaks off: try later")
        rows.update(self._wiki.users_of(sorted(titles), self.namespaces))
        return rows, gone


def content_namespaces(about: Mapping[str, Any]) -> list[str]:
    """The numbers of the namespaces with the wiki's content, from its `siteinfo`."""
    spaces = map(mapping, mapping(about.get("namespaces")).values())
    return [str(space.get("id")) for space in spaces if space.get("content") is True] or ["0"]


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
