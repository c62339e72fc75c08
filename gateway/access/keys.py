"""API keys: their models and limits, and the store that keeps them.

A key's text is `ask-<id>-<secret>`. The ID finds the row; only a SHA-256 of the secret is stored. A
slow hash like bcrypt protects passwords, which can be guessed; 256 random bits cannot, however fast
the hash, and a fast hash costs each request a microsecond instead of a tenth of a second (NIST SP
800-63B, 5.1.2.2, requires a slow hash only below 112 bits).
"""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from core import audit
from core.database import Utc, metadata, reading, writing
from core.errors import AskdocsError
from gateway.access import revocations
from gateway.access.revocations import Closed
from wiki.rights import groups_of

INSTALLATION = "installation"
ALL = "*"
"""As one of a key's groups: all groups, so that the key may read all pages."""
LONGEST_NAME = 100
# More than any key needs, and within the integers of databases and JSON parsers.
LARGEST = 2**53 - 1

_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_TEXT = re.compile(r"ask-([a-z0-9]{10})-([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a key; None means no limit."""

    rpm: int | None = None
    """Requests in any 60 seconds."""
    tpm: int | None = None
    """Tokens, of prompt and answer together, in any 60 seconds."""
    max_parallel: int | None = None
    """Concurrent requests; a stream counts until its last byte."""
    monthly_tokens: int | None = None
    """Tokens in a calendar month, UTC."""

    @property
    def has_tokens(self) -> bool:
        """Are its tokens limited?"""
        return self.tpm is not None or self.monthly_tokens is not None


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as the gateway knows it; the secret itself is not part of it."""

    id: str
    name: str
    team: str
    created: datetime
    models: tuple[str, ...] = ()
    """Models and aliases that it may use; empty means all."""
    limits: Limits = field(default_factory=Limits)
    expires: datetime | None = None
    revoked: datetime | None = None
    groups: tuple[str, ...] = ()
    """The groups whose pages it may read; without groups, public pages only."""
    for_people: bool = False
    """May it name the person it asks for, within its groups? See `gateway.access.auth.reader`."""

    def allows(self, model: str) -> bool:
        return not self.models or model in self.models


class Secret(NamedTuple):
    digest: bytes
    valid_until: datetime | None
    """Set by a rotation, on the earlier secrets."""


class StoredKey(NamedTuple):
    key: Key
    secrets: list[Secret]


class KeyText(NamedTuple):
    """The parts of a key's text."""

    id: str
    secret: str


key_table = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(LONGEST_NAME), nullable=False),
    sa.Column("team", sa.String(LONGEST_NAME), nullable=False),
    sa.Column("models", sa.JSON, nullable=False),
    sa.Column("rpm", sa.BigInteger),
    sa.Column("tpm", sa.BigInteger),
    sa.Column("max_parallel", sa.BigInteger),
    sa.Column("monthly_tokens", sa.BigInteger),
    sa.Column("created", Utc, nullable=False),
    sa.Column("expires", Utc),
    sa.Column("revoked", Utc),
    sa.Column("groups", sa.JSON),
    sa.Column("for_people", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index(
        "keys_name_in_use",
        "name",
        unique=True,
        sqlite_where=sa.text("revoked IS NULL"),
        postgresql_where=sa.text("revoked IS NULL"),
    ),
)
secret_table = sa.Table(
    "key_secrets",
    metadata,
    sa.Column("digest", sa.LargeBinary(32), primary_key=True),
    sa.Column("key_id", sa.String(32), sa.ForeignKey("keys.id"), nullable=False, index=True),
    sa.Column("created", Utc, nullable=False),
    sa.Column("valid_until", Utc),
)


class Keys:
    """The keys in the database. Every method raises Unreachable if the database does not answer."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def create(
        self,
        name: str,
        team: str = "",
        models: Sequence[str] = (),
        limits: Limits | None = None,
        expires: datetime | None = None,
        groups: Sequence[str] = (),
        for_people: bool = False,
    ) -> tuple[Key, str]:
        """Creates a key; returns it and its text, which cannot be retrieved later.

        A name belongs to one key until that key is revoked.

        Raises AskdocsError: the name is in use, or a value is invalid.
        """
        limits = limits or Limits()
        groups = _groups(groups)
        _check(name, team, models, limits, expires)
        key = Key(
            id="".join(secrets.choice(_ID_LETTERS) for _ in range(10)),
            name=name,
            team=team,
            created=datetime.now(UTC),
            models=tuple(dict.fromkeys(models)),
            limits=limits,
            expires=expires,
            groups=groups,
            for_people=for_people,
        )
        row = {f: getattr(key, f) for f in ("id", "name", "team", "created", "expires")}
        try:
            with writing(self._engine) as connection:
                if connection.execute(sa.select(key_table.c.id).filter_by(id=name)).first():
                    raise AskdocsError(f"{name!r} is the id of a key: choose another name")
                values = {**row, **asdict(limits), "models": list(key.models)}
                values |= {"groups": list(groups), "for_people": for_people}
                connection.execute(sa.insert(key_table).values(values))
                text = _add_secret(connection, key)
                given = {**asdict(limits), "expires": expires and expires.isoformat()}
                given = {name: value for name, value in given.items() if value is not None}
                if groups or for_people:
                    given |= {"groups": list(groups), "for_people": for_people}
                _record(connection, "create", key, team=team, models=list(key.models), **given)
        except IntegrityError:
            raise AskdocsError(
                f"a key named {name!r} exists: choose another name, or revoke that key with"
                f" `askdocs keys revoke {name}`, or give it a new secret with `keys rotate`"
            ) from None
        return key, text

    def list(self) -> list[Key]:
        """All keys including revoked ones, oldest first."""
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(key_table).order_by("created", "id"))
            return [_key(row) for row in rows]

    def get(self, id_or_name: str) -> Key:
        """The key with this ID, or else the unrevoked key with this name.

        Raises AskdocsError: there is no such key.
        """
        with reading(self._engine) as connection:
            return _get(connection, id_or_name)

    def revoke(self, id_or_name: str) -> Key:
        """Revoke a key permanently. Raises AskdocsError: there is no such key, or it is revoked."""
        with writing(self._engine) as connection:
            key = _unrevoked(connection, id_or_name)
            now = datetime.now(UTC)
            this = key_table.c.id == key.id
            connection.execute(sa.update(key_table).where(this).values(revoked=now))
            _record(connection, "revoke", key)
            revoked = _get(connection, key.id)
        revocations.note(self._engine, [Closed(key.id, now)])
        return revoked

    def regroup(
        self, id_or_name: str, groups: Sequence[str] | None, for_people: bool | None
    ) -> Key:
        """Change what a key may read; None leaves a value unchanged. Running gateways follow within
        two seconds. Raises AskdocsError: there is no such key, or it is revoked."""
        with writing(self._engine) as connection:
            key = _unrevoked(connection, id_or_name)
            now = list(key.groups if groups is None else _groups(groups))
            people = key.for_people if for_people is None else for_people
            this = key_table.c.id == key.id
            values = {"groups": now, "for_people": people}
            connection.execute(sa.update(key_table).where(this).values(values))
            _record(connection, "regroup", key, **values)
            return _get(connection, key.id)

    def rotate(self, id_or_name: str, grace: timedelta) -> tuple[Key, str]:
        """Issue a new secret for a key; the old secrets remain valid for `grace`.

        Raises AskdocsError: there is no such key, or it is revoked or expired.
        """
        if grace < timedelta(0):
            raise AskdocsError(f"the grace time is {grace}, and must not be negative")
        with writing(self._engine) as connection:
            key = _unrevoked(connection, id_or_name)
            now = datetime.now(UTC)
            if key.expires is not None and key.expires <= now:
                raise AskdocsError(
                    f"the key {key.name!r} expired on {key.expires:%Y-%m-%d %H:%M} UTC, and a new"
                    f" secret would be too: `askdocs keys revoke {key.name}` and create a new key"
                )
            until = secret_table.c.valid_until
            here = secret_table.c.key_id == key.id
            connection.execute(sa.delete(secret_table).where(here, until < now))
            ending = (here, sa.or_(until.is_(None), until > now + grace))
            old = list(
                connection.execute(sa.select(secret_table.c.digest).where(*ending)).scalars()
            )
            connection.execute(
                sa.update(secret_table).where(*ending).values(valid_until=now + grace)
            )
            _record(connection, "rotate", key, grace_seconds=round(grace.total_seconds()))
            text = _add_secret(connection, key)
        revocations.note(
            self._engine, [Closed(key.id, now + grace, bytes(old_digest)) for old_digest in old]
        )
        return key, text

    def find(self, id: str) -> StoredKey | None:
        """The stored data for an ID; the caller must compare digests and dates."""
        with reading(self._engine) as connection:
            joined = sa.select(
                key_table, secret_table.c.digest, secret_table.c.valid_until
            ).join_from(key_table, secret_table)
            rows = connection.execute(joined.where(key_table.c.id == id)).all()
        if not rows:
            return None
        return StoredKey(
            _key(rows[0]), [Secret(bytes(row.digest), row.valid_until) for row in rows]
        )


def parse(text: str) -> KeyText | None:
    """The parts of a key's text, or None if it does not have the format."""
    match = _TEXT.fullmatch(text)
    return KeyText(match[1], match[2]) if match else None


def digest(secret: str) -> bytes:
    """The stored form of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def _add_secret(connection: sa.Connection, key: Key) -> str:
    secret = secrets.token_urlsafe(32)
    row = {"digest": digest(secret), "key_id": key.id, "created": datetime.now(UTC)}
    connection.execute(sa.insert(secret_table).values(row))
    return f"ask-{key.id}-{secret}"


def _record(connection: sa.Connection, verb: str, key: Key, **details: Any) -> None:
    audit.record(connection, f"key.{verb}", key.name, id=key.id, **details)


def _get(connection: sa.Connection, id_or_name: str) -> Key:
    named = (key_table.c.name == id_or_name) & key_table.c.revoked.is_(None)
    rows = connection.execute(
        sa.select(key_table).where(sa.or_(key_table.c.id == id_or_name, named))
    )
    if keys := [_key(row) for row in rows]:
        return keys[0]
    revoked = connection.execute(sa.select(key_table.c.id).filter_by(name=id_or_name)).scalars()
    if ids := ", ".join(revoked):
        raise AskdocsError(f"every key named {id_or_name!r} is revoked; by id they are {ids}")
    if id_or_name == INSTALLATION:
        raise AskdocsError(
            "the master key is not in the database: docs/how-to/keys.md describes how to replace it"
        )
    raise AskdocsError(f"no key has the name or id {id_or_name!r}: see `askdocs keys list`")


def _unrevoked(connection: sa.Connection, id_or_name: str) -> Key:
    key = _get(connection, id_or_name)
    if key.revoked is not None:
        raise AskdocsError(
            f"the key {key.id} ({key.name}) was revoked on {key.revoked:%Y-%m-%d %H:%M} UTC"
        )
    return key


def _key(row: sa.Row[tuple[object, ...]]) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        team=row.team,
        created=row.created,
        models=tuple(row.models),
        limits=Limits(row.rpm, row.tpm, row.max_parallel, row.monthly_tokens),
        expires=row.expires,
        revoked=row.revoked,
        groups=tuple(row.groups or ()),
        for_people=bool(row.for_people),
    )


def _groups(names: Sequence[str]) -> tuple[str, ...]:
    """Raises AskdocsError for an invalid group name."""
    try:
        return tuple(sorted(groups_of(list(names))))
    except ValueError as error:
        raise AskdocsError(f"--groups: {error}") from None


def _check(
    name: str, team: str, models: Sequence[str], limits: Limits, expires: datetime | None
) -> None:
    """Raises AskdocsError for an invalid value."""
    if not name:
        raise AskdocsError("the name of the key is empty: name the person or program that uses it")
    if name == INSTALLATION:
        raise AskdocsError(f"{name!r} is the master key's name: choose another name")
    for what, text in (("name", name), ("team", team), *(("model", model) for model in models)):
        if text != text.strip() or not text.isprintable():
            raise AskdocsError(f"the {what} {text!r} has spaces around it or invisible characters")
        if len(text) > LONGEST_NAME:
            raise AskdocsError(
                f"the {what} {text[:20] + '...'!r} has {len(text)} characters;"
                f" {LONGEST_NAME} are allowed"
            )
    if "" in models:
        raise AskdocsError("a model has no name: write --models a,b, or omit it for all")
    for what, limit in asdict(limits).items():
        if limit is not None and not 1 <= limit <= LARGEST:
            raise AskdocsError(
                f"{what} is {limit}, and must be from 1 to {LARGEST}; omit it for no limit"
            )
    if expires is not None and expires <= datetime.now(UTC):
        raise AskdocsError(f"the expiry {expires:%Y-%m-%d %H:%M} UTC is in the past")
