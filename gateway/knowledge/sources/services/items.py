"""Builds the sync item of a service's page from its stamp and its text."""

from collections.abc import Callable, Mapping

from gateway.access.rights import Groups
from gateway.knowledge.sources import bounded
from gateway.knowledge.sources.documents.made import NoText
from gateway.knowledge.sources.services.stamps import Stamp
from gateway.knowledge.sources.source import (
    NO_TEXT,
    Broken,
    Changed,
    Item,
    LeftOut,
    Regrouped,
    Unchanged,
)
from gateway.knowledge.wiki.page import Page


def unread(path: str, groups: Groups | None, stamp: str, known: Mapping[str, str]) -> Item | None:
    """What is clear without the page's text; None: the page is to be read."""
    now, before = Stamp.parse(stamp), Stamp.parse(known.get(path, ""))
    if now == before:
        return Unchanged(path)
    if now and before and (now.version, now.reader) == (before.version, before.reader):
        return Regrouped(path, groups, stamp)
    return None


def read(path: str, groups: Groups | None, stamp: str, page: Callable[[], Page]) -> Item:
    """The page that `page` makes of the service's text, within the limits of one page."""
    try:
        with bounded.page(path):
            made = page()
    except NoText as error:
        return LeftOut(path, str(error))
    except ValueError as error:
        return Broken(path, str(error), groups)
    except Exception as error:  # a page may be what a parser of somebody else's fails on
        return Broken(path, f"{type(error).__name__}: {error}", groups)
    return Changed(made, stamp, groups) if made.has_text else LeftOut(path, NO_TEXT)
