"""The audit log: a line for each act, in its transaction, without secrets."""

import getpass
import json
import os
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from core import audit, database
from core.errors import AskdocsError
from gateway.access import keys
from gateway.access.keys import Keys, Limits
from gateway.routing import aliases, promotions
from gateway.settings import Alias
from widget.service.store import NewQuestion, Store


def acts(stored: sa.Engine) -> list[tuple[str, str]]:
    return [(line.action, line.target) for line in audit.lines(stored)]


def test_every_act_has_its_line_and_none_holds_a_secret_or_who_asked(stored: sa.Engine) -> None:
    began = datetime.now(UTC)
    store = Keys(stored)
    _, first = store.create("ci", "red", ["docs"])
    _, second = store.rotate("ci", timedelta(hours=24))
    store.revoke("ci")
    told = Alias(targets={"base": 1}, instructions="Say nothing of the merger.")
    aliases.save(stored, "hr", told, "ann")
    aliases.remove(stored, "hr", seen=told)
    aliases.remove(stored, "hr", seen=None)  # nothing is there any more
    docs = aliases.DEFAULT["docs"]
    promotions.write(
        stored, "promote", "docs", None, docs, {"docs@v1": 1.0}, "ann", why="the gate is down"
    )
    asked = Store(stored)
    asked.asked(NewQuestion("q1", "Am I to be fired?", "c1", person="bob@example.com"))
    asked.forget(person="bob@example.com", dry_run=True)
    asked.forget(person="bob@example.com")
    asked.forget(person="bob@example.com")  # nothing is there any more
    assert acts(stored) == [
        ("key.create", "ci"),
        ("key.rotate", "ci"),
        ("key.revoke", "ci"),
        ("alias.set", "hr"),
        ("alias.remove", "hr"),
        ("version.promote", "docs"),
        ("questions.forget", "1"),
    ]
    lines = audit.lines(stored)
    assert all(began <= line.at <= datetime.now(UTC) for line in lines)
    assert {line.who for line in lines} == {f"{getpass.getuser()}@{os.uname().nodename}"}
    assert lines[1].details["grace_seconds"] == 86_400
    assert lines[5].details["why"] == "the gate is down"
    text = json.dumps([line.details for line in lines])
    for word in (first, second, "merger", "fired", "bob"):
        part = keys.parse(word)
        assert (part.secret if part else word) not in text
    assert audit.lines(stored, datetime.now(UTC)) == []


def test_an_act_that_fails_leaves_no_line(stored: sa.Engine) -> None:
    store = Keys(stored)
    store.create("ci")
    for act in (lambda: store.create("ci"), lambda: store.revoke("nobody")):
        with pytest.raises(AskdocsError):
            act()

    def fail() -> None:
        with database.writing(stored) as connection:
            audit.record(connection, "key.create", "x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert acts(stored) == [("key.create", "ci")]


def test_who_acts_behind_sudo_or_without_a_name_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", "ann")
    monkeypatch.setenv("LOGNAME", "root")
    assert audit.user() == "ann/root"
    for name in ("SUDO_USER", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987_654_321)  # of nobody here
    assert audit.user() == "uid987654321"
    monkeypatch.setenv("USER", "bob")  # as docs/how-to/production.md says it for containers
    assert audit.user() == "bob"


def test_the_line_of_a_key_says_what_it_may_use(stored: sa.Engine) -> None:
    until = datetime(2030, 1, 1, tzinfo=UTC)
    key, _ = Keys(stored).create("ci", "red", ["docs"], Limits(rpm=60), until)
    (line,) = audit.lines(stored)
    assert line.details == {
        "id": key.id,
        "team": "red",
        "models": ["docs"],
        "rpm": 60,
        "expires": "2030-01-01T00:00:00+00:00",
    }
