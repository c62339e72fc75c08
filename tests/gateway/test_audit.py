"""The audit log: a line for each act, in its transaction, without secrets."""

import getpass
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway import aliases, audit, database, keys, promotions
from gateway.config import Alias
from gateway.errors import AskdocsError
from gateway.keys import Keys
from widget.store import Asked, Store


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = database.open(f"sqlite:///{tmp_path}/askdocs.db")
    database.migrate(engine)
    yield engine
    engine.dispose()


def acts(engine: sa.Engine) -> list[tuple[str, str]]:
    return [(line.action, line.target) for line in audit.lines(engine)]


def test_every_act_has_its_line_and_none_holds_a_secret_or_who_asked(engine: sa.Engine) -> None:
    began = datetime.now(UTC)
    store = Keys(engine)
    _, first = store.create("ci", "red", ["docs"])
    _, second = store.rotate("ci", timedelta(hours=24))
    store.revoke("ci")
    told = Alias(targets={"base": 1}, instructions="Say nothing of the merger.")
    aliases.save(engine, "hr", told, "ann")
    aliases.remove(engine, "hr")
    aliases.remove(engine, "hr")  # nothing is there any more
    docs = aliases.DEFAULT["docs"]
    promotions.write(
        engine, "promote", "docs", None, docs, {"docs@v1": 1.0}, "ann", why="the gate is down"
    )
    asked = Store(engine)
    asked.asked(Asked("q1", "Am I to be fired?", "c1", person="bob@example.com"))
    asked.forget(person="bob@example.com", dry_run=True)
    asked.forget(person="bob@example.com")
    asked.forget(person="bob@example.com")  # nothing is there any more
    assert acts(engine) == [
        ("key.create", "ci"),
        ("key.rotate", "ci"),
        ("key.revoke", "ci"),
        ("alias.set", "hr"),
        ("alias.remove", "hr"),
        ("version.promote", "docs"),
        ("questions.forget", "1"),
    ]
    lines = audit.lines(engine)
    assert all(began <= line.at <= datetime.now(UTC) for line in lines)
    assert {line.who for line in lines} == {f"{getpass.getuser()}@{os.uname().nodename}"}
    assert lines[1].details["grace_seconds"] == 86_400
    assert lines[5].details["why"] == "the gate is down"
    text = json.dumps([line.details for line in lines])
    for word in (first, second, "merger", "fired", "bob"):
        part = keys.parse(word)
        assert (part.secret if part else word) not in text
    assert audit.lines(engine, datetime.now(UTC)) == []


def test_an_act_that_fails_leaves_no_line(engine: sa.Engine) -> None:
    store = Keys(engine)
    store.create("ci")
    for act in (lambda: store.create("ci"), lambda: store.revoke("nobody")):
        with pytest.raises(AskdocsError):
            act()

    def fail() -> None:
        with database.writing(engine) as connection:
            audit.record(connection, "key.create", "x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert acts(engine) == [("key.create", "ci")]


def test_who_acts_behind_sudo_or_without_a_name_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", "ann")
    monkeypatch.setenv("LOGNAME", "root")
    assert audit.user() == "ann/root"
    for name in ("SUDO_USER", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987_654_321)  # of nobody here
    assert audit.user() == "uid987654321"
    monkeypatch.setenv("USER", "bob")  # as docs/audit.md says it for containers
    assert audit.user() == "bob"
