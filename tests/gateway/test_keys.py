"""The store of keys, on SQLite and on PostgreSQL."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from core import database
from core.errors import AskdocsError
from gateway.access import keys
from gateway.access.keys import Keys, Limits
from tests.gateway.postgres import url

__all__ = ["url"]

ROOT = Path(__file__).parents[2]
HOUR = timedelta(hours=1)


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = database.open(url)
    database.migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: sa.Engine) -> Keys:
    return Keys(engine)


def test_a_key_comes_back_as_it_was_made(store: Keys) -> None:
    limits = Limits(rpm=60, tpm=10_000, max_parallel=4, monthly_tokens=10**12)
    expires = datetime.now(UTC) + HOUR
    key, _ = store.create("ci", "platform", ["docs", "base", "docs"], limits, expires)
    assert (key.name, key.team, key.models) == ("ci", "platform", ("docs", "base"))
    assert (key.limits, key.expires, key.revoked) == (limits, expires, None)
    assert store.list() == [key]
    assert store.get("ci") == store.get(key.id) == key
    found = store.find(key.id)
    assert found is not None
    assert found.key == key


def test_a_key_without_wishes_may_everything_for_ever(store: Keys) -> None:
    key, _ = store.create("ann")
    assert (key.team, key.models, key.limits, key.expires) == ("", (), Limits(), None)
    assert store.get("ann") == key


def test_the_text_is_ask_id_secret_and_no_two_are_alike(store: Keys) -> None:
    texts = [store.create(f"key-{n}")[1] for n in range(50)]
    parts = [keys.parse(text) for text in texts]
    assert all(part and len(part.secret) == 43 for part in parts)
    assert len({part.id for part in parts if part}) == len(texts)
    assert len({part.secret for part in parts if part}) == len(texts)


def test_only_a_sha256_of_the_secret_is_stored(store: Keys, engine: sa.Engine) -> None:
    key, text = store.create("ann")
    secret = text.removeprefix(f"ask-{key.id}-")
    with database.reading(engine) as connection:
        tables = {
            name: [tuple(row) for row in connection.execute(sa.text(f"SELECT * FROM {name}"))]
            for name in ("keys", "key_secrets")
        }
    assert secret not in repr(tables)
    found = store.find(key.id)
    assert found is not None
    assert found.secrets == [(hashlib.sha256(secret.encode()).digest(), None)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ask-",
        "ask-right",
        "ask-abcdefghij-short",
        f"ask-ABCDEFGHIJ-{'x' * 43}",
        f"ask-abcdefghij-{'x' * 44}",
        f" ask-abcdefghij-{'x' * 43}",
        f"ask-abcdefghij-{'é' * 43}",
        f"ask-abcdefghij-{'x' * 43}\n",
    ],
)
def test_what_has_not_the_form_of_a_key_is_none(text: str) -> None:
    assert keys.parse(text) is None


def test_a_name_is_one_keys_until_it_is_revoked(store: Keys) -> None:
    first, _ = store.create("ci")
    with pytest.raises(AskdocsError, match=r"'ci' exists.*keys revoke ci"):
        store.create("ci")
    store.revoke("ci")
    second, _ = store.create("ci")
    assert store.get("ci") == second
    assert store.get(first.id).revoked is not None
    assert [key.id for key in store.list()] == [first.id, second.id]


def test_names_of_two_cases_are_two_names(store: Keys) -> None:
    assert store.create("ci")[0] != store.create("CI")[0]


def test_of_several_that_create_one_name_at_once_one_wins(store: Keys) -> None:
    outcomes: list[object] = []

    def create() -> None:
        try:
            outcomes.append(store.create("ci")[0].id)
        except AskdocsError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [key.id for key in store.list()] == [o for o in outcomes if isinstance(o, str)]
    assert all("'ci' exists" in str(o) for o in outcomes if not isinstance(o, str))


def test_revoking_says_when_and_cannot_be_done_twice(store: Keys) -> None:
    key, _ = store.create("ci")
    gone = store.revoke(key.id)
    assert gone.revoked is not None
    assert timedelta(0) <= datetime.now(UTC) - gone.revoked < timedelta(minutes=1)
    with pytest.raises(AskdocsError, match=f"the key {key.id}.*was revoked on"):
        store.revoke(key.id)
    with pytest.raises(AskdocsError, match=f"every key named 'ci' is revoked.*{key.id}"):
        store.revoke("ci")
    with pytest.raises(AskdocsError, match="was revoked on"):
        store.rotate(key.id, HOUR)


def test_an_unknown_name_is_an_error_that_says_where_the_names_are(store: Keys) -> None:
    for act in (store.get, store.revoke, lambda name: store.rotate(name, HOUR)):
        with pytest.raises(AskdocsError, match=r"'nobody': see `askdocs keys list`"):
            act("nobody")


def test_a_name_that_is_the_id_of_another_is_refused(store: Keys) -> None:
    key, _ = store.create("ci")
    with pytest.raises(AskdocsError, match="is the id of a key"):
        store.create(key.id)


def test_a_rotation_adds_a_secret_and_ends_the_old_one_after_the_grace(store: Keys) -> None:
    key, old = store.create("ci")
    same, new = store.rotate("ci", HOUR)
    assert same == key
    assert new != old
    assert new.startswith(f"ask-{key.id}-")
    found = store.find(key.id)
    assert found is not None
    until = dict(found.secrets)
    assert until[digest(new)] is None
    left = until[digest(old)]
    assert left is not None
    assert timedelta(minutes=59) < left - datetime.now(UTC) <= HOUR


def test_a_second_rotation_does_not_lengthen_the_first_ones_grace(store: Keys) -> None:
    key, first = store.create("ci")
    _, second = store.rotate("ci", HOUR)
    _, third = store.rotate("ci", 24 * HOUR)
    found = store.find(key.id)
    assert found is not None
    until = dict(found.secrets)
    now = datetime.now(UTC)
    assert until[digest(third)] is None
    assert (until[digest(second)] or now) - now > 23 * HOUR
    assert (until[digest(first)] or now) - now <= HOUR
    store.rotate("ci", timedelta(0))
    found = store.find(key.id)
    assert found is not None
    assert sum(secret.valid_until is None for secret in found.secrets) == 1
    assert all((s.valid_until or now) <= datetime.now(UTC) for s in found.secrets)


def test_secrets_that_ended_are_swept_by_the_next_rotation(store: Keys) -> None:
    key, _ = store.create("ci")
    for _ in range(5):
        store.rotate("ci", timedelta(0))
    found = store.find(key.id)
    assert found is not None
    assert len(found.secrets) == 2


def test_rotating_an_expired_key_is_refused(store: Keys, engine: sa.Engine) -> None:
    key, _ = store.create("ci", expires=datetime.now(UTC) + HOUR)
    with database.writing(engine) as connection:
        past = sa.update(keys.key_table).values(expires=datetime.now(UTC) - HOUR)
        connection.execute(past.where(keys.key_table.c.id == key.id))
    with pytest.raises(AskdocsError, match=r"expired on .* UTC.*create a new key"):
        store.rotate("ci", HOUR)


def test_an_unknown_id_is_none(store: Keys) -> None:
    assert store.find("nobody") is None


@pytest.mark.parametrize("limit", ["rpm", "tpm", "max_parallel", "monthly_tokens"])
@pytest.mark.parametrize("value", [0, -1, 2**63])
def test_a_limit_that_makes_no_sense_is_refused(limit: str, value: int) -> None:
    with pytest.raises(AskdocsError, match=rf"{limit} is {value}, and must be from 1"):
        nowhere().create("ci", limits=Limits(**{limit: value}))


@pytest.mark.parametrize(
    ("name", "team", "models", "why"),
    [
        ("", "", (), "is empty"),
        ("   ", "", (), "the name '   ' has spaces around"),
        (" ci", "", (), "spaces around"),
        ("a\nb", "", (), "invisible"),
        ("a\x00b", "", (), "invisible"),
        ("\x1b[31mred", "", (), "invisible"),
        ("a\u202eb", "", (), "invisible"),
        ("x" * 101, "", (), "has 101 characters"),
        ("installation", "", (), "the master key's name"),
        ("ci", "a\tb", (), "the team 'a\\\\tb'"),
        ("ci", "", ("docs", ""), "a model has no name"),
        ("ci", "", ("docs\r\n",), "the model"),
    ],
)
def test_a_text_that_makes_no_sense_is_refused(
    name: str, team: str, models: tuple[str, ...], why: str
) -> None:
    with pytest.raises(AskdocsError, match=why):
        nowhere().create(name, team, models)


def test_an_expiry_in_the_past_is_refused() -> None:
    with pytest.raises(AskdocsError, match="is in the past"):
        nowhere().create("ci", expires=datetime.now(UTC) - HOUR)


def test_names_may_have_any_letters(store: Keys) -> None:
    key, _ = store.create("Zoë's Übung 北京 🔑", "Équipe")
    assert store.get("Zoë's Übung 北京 🔑") == key


@pytest.mark.slow
def test_a_kill_while_keys_are_created_leaves_all_that_were_shown_and_no_half_one(
    url: str, engine: sa.Engine
) -> None:
    program = """
import sys
from core import database
from gateway.access import keys
store = keys.Keys(database.open(sys.argv[1]))
for number in range(100_000):
    print(store.create(f"key-{number}")[1], flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, url], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    shown = [process.stdout.readline().strip() for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    rest, _ = process.communicate(timeout=60)
    shown += [line for line in rest.split("\n")[:-1] if line]
    store = Keys(engine)
    for text in shown:
        part = keys.parse(text)
        assert part is not None
        found = store.find(part.id)
        assert found is not None
        assert [secret.digest for secret in found.secrets] == [keys.digest(part.secret)]
    stored = store.list()
    # The last one may have been written and not shown.
    assert len(shown) <= len(stored) <= len(shown) + 1
    assert all(store.find(key.id) for key in stored)
    if engine.dialect.name == "sqlite":
        with database.reading(engine) as connection:
            assert connection.execute(sa.text("PRAGMA integrity_check")).scalar() == "ok"
            assert connection.execute(sa.text("PRAGMA foreign_key_check")).all() == []
    store.create("after")


def digest(text: str) -> bytes:
    part = keys.parse(text)
    assert part is not None
    return keys.digest(part.secret)


def nowhere() -> Keys:
    """A store without a database: what is refused is refused before it is asked."""
    return Keys(database.open("sqlite:////nowhere/askdocs.db"))
