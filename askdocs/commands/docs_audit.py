"""`askdocs docs show --readers`: who may read a page, who could, and whose answers showed it."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from core.database import reading
from core.settings import load
from gateway.access import past_readers
from gateway.access.keys import ALL, Key, Keys
from gateway.settings import GatewaySettings
from gateway.telemetry import shown_pages
from widget.access.people import People
from widget.service.store import question_table
from widget.settings import WidgetSettings
from wiki.index.index import Index
from wiki.index.view import Rights
from wiki.pages.page import Page
from wiki.rights import Groups, Reader, readable, shown

PAGE, ALL_PAGES = "page", "all pages"


@dataclass(frozen=True)
class _Asked:
    person: str
    channel: str
    at: datetime


def audit(index: Index, engine: sa.Engine, url: str, page: Page | None) -> dict[str, Any]:
    """What is known, for JSON; `page` is None for one that is gone. Raises Unreachable."""
    keys = Keys(engine).list()
    names = {key.id: key.name for key in keys}
    return {
        "page": page.path if page else None,
        "url": url,
        "readers": _readers(index, keys, page) if page else None,
        "history": [
            {
                "one_group_of_each": shown(period.groups),
                "since": period.since.isoformat(timespec="seconds"),
                "until": period.until.isoformat(timespec="seconds") if period.until else None,
                "as": ALL_PAGES if period.every else PAGE,
            }
            for period in past_readers.of(engine, url)
        ],
        "shown": {
            "by_key": [
                {
                    "key": names.get(showing.key, showing.key),
                    "id": showing.key,
                    "day": str(showing.day),
                    "times": showing.times,
                    "as": ALL_PAGES if showing.every else PAGE,
                }
                for showing in shown_pages.of(engine, url)
            ],
            "to_people": [
                {"person": person.person, "channel": person.channel, "at": person.at.isoformat()}
                for person in _asked(engine, url)
            ],
        },
    }


def _readers(index: Index, keys: list[Key], page: Page) -> dict[str, Any]:
    groups = Rights(index, load(GatewaySettings).rules).readers(page)
    return {
        "everybody": groups == (),
        "nobody": frozenset() in groups,
        "one_group_of_each": shown(groups),
        "keys": [_key(key) for key in keys if key.revoked is None and _may(key, groups)],
        "people": _people(groups),
    }


def is_known(facts: dict[str, Any]) -> bool:
    """Is or was there such a page, as far as records are kept?"""
    was = [*facts["history"], *facts["shown"]["by_key"]]
    return bool(
        facts["page"]
        or facts["shown"]["to_people"]
        or any(showing["as"] == PAGE for showing in was)
    )


def show(facts: dict[str, Any]) -> None:
    """For people."""
    print(f"{facts['page'] or 'not in the index'}  {facts['url']}")
    if facts["readers"]:
        _show_readers(facts["readers"])
    for period in facts["history"]:
        groups = tuple(map(frozenset, period["one_group_of_each"]))
        until = f"until {period['until']}" if period["until"] else "until now"
        print(f"could be read by {readable(groups)} from {period['since']} {until}")
    was = facts["shown"]
    if not (was["by_key"] or was["to_people"]):
        print("was shown to nobody, as far as the records go back")
    for row in was["by_key"]:
        print(
            f"was shown to key {row['key']} on {row['day']}, {row['times']:,} times ({row['as']})"
        )
    for row in was["to_people"]:
        print(f"was shown to {row['person'] or 'a stranger'} by {row['channel']} at {row['at']}")


def _show_readers(readers: dict[str, Any]) -> None:
    if readers["everybody"]:
        print("may be read by everybody")
    elif readers["nobody"]:
        print("may be read by nobody")
    else:
        sets = (" or ".join(some) for some in readers["one_group_of_each"])
        print(f"may be read by people in {', and in '.join(sets)}")
        for person in readers["people"]:
            print(f"  person  {person}")
    for key in readers["keys"]:
        print(f"  key     {key['name']}{', for people' if key['for_people'] else ''}")


def _may(key: Key, groups: Groups) -> bool:
    own = None if ALL in key.groups else frozenset(key.groups)
    return Reader(own).may_read(groups)


def _key(key: Key) -> dict[str, Any]:
    return {"name": key.name, "id": key.id, "for_people": key.for_people}


def _people(groups: Groups) -> list[str]:
    """Of the file of the directory; whom a sign-in puts into groups only that knows."""
    file = load(WidgetSettings).groups_file
    if not groups or file is None:
        return []
    people = People(file)
    return [person for person in people.known() if Reader(people.groups(person)).may_read(groups)]


def _asked(engine: sa.Engine, url: str) -> list[_Asked]:
    """Whose stored questions were answered with the page, newest first."""
    q = question_table.c
    written = json.dumps(url)[1:-1]
    query = (
        sa.select(q.person, q.channel, q.at, q.outcome)
        .where(sa.cast(q.outcome, sa.Text).contains(written, autoescape=True))
        .order_by(q.at.desc())
    )
    with reading(engine) as connection:
        return [
            _Asked(person, channel, at)
            for person, channel, at, outcome in connection.execute(query)
            if any(
                page.get("url", "").partition("#")[0] == url
                for page in (*outcome.get("sources", ()), *outcome.get("pages", ()))
            )
        ]
