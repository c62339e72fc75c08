"""Identifies readers by the team's sign-in: a proxy header or a signed JWT."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from starlette.datastructures import Headers
from starlette.requests import Request

from core.errors import RareWarning
from widget.access.people import People
from widget.settings import WidgetSettings

LONGEST = 200  # maximum characters of a name
COOKIE = "askdocs_visitor"


class BadIdentity(Exception):
    """The sign-in is missing or invalid; the message is for the reader."""


EXPIRED = "Your sign-in has expired. Please load the page again."
INVALID = "Your sign-in was not accepted. Please load the page again, or sign in again."
MISSING = "Please sign in to the wiki first. Then load this page again."


@dataclass(frozen=True)
class Identity:
    """A person and their team, as far as known."""

    person: str = ""
    team: str = ""
    groups: frozenset[str] = frozenset()
    """Groups whose pages they may read, including the person's own group."""


class Identities:
    """Identifies the senders of requests."""

    def __init__(self, settings: WidgetSettings) -> None:
        self._settings = settings
        key = settings.identity_key
        self._key = key.get_secret_value().replace("\\n", "\n") if key else ""
        public = self._key.lstrip().startswith("-----BEGIN")
        # Never both kinds: a public key must not be accepted as an HMAC secret.
        self._people = People(settings.groups_file)
        self._algorithms = ["RS256", "ES256", "EdDSA"] if public else ["HS256"]
        names = (settings.person_header, settings.team_header, settings.groups_header)
        self._doubled = {name: RareWarning(__name__) for name in names}

    def of(self, request: Request, token: str = "") -> Identity:
        """The sender's identity; `token` is a JWT from a form. Raises BadIdentity."""
        settings, headers = self._settings, request.headers
        identity = Identity()
        if settings.person_header:
            person = self._of_proxy(headers, settings.person_header)[:LONGEST]
            team = self._of_proxy(headers, settings.team_header)
            listed = self._of_proxy(headers, settings.groups_header).split(",")
            groups = [name.strip(" \t") for name in listed]
            identity = self._identity(person, team, groups)
        if self._key and not identity.person:
            if settings.identity_header:
                token = headers.get(settings.identity_header, "") or token
            if token:
                identity = self._read(token.removeprefix("Bearer "))
        if settings.identity_required and not identity.person:
            raise BadIdentity(MISSING)
        return identity

    def _of_proxy(self, headers: Headers, name: str) -> str:
        """The value of a proxy's header; empty if the header is duplicated.

        A duplicate comes from a client, and the proxy should have removed it.
        """
        values = headers.getlist(name) if name else []
        if len(values) > 1:
            self._doubled[name].warn(
                "%s came more than once and is ignored: configure the proxy to remove the "
                "clients' own header",
                name,
            )
        return values[0].strip(" \t") if len(values) == 1 else ""

    def known(self, person: str, team: str) -> Identity:
        """The identity of a person who has signed in before, with the current groups from the
        file."""
        return self._identity(person, team, ())

    def _read(self, token: str) -> Identity:
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=self._algorithms,
                issuer=self._settings.identity_issuer,
                audience=self._settings.identity_audience,
                options={"require": ["exp", "iss", "aud"]},
                leeway=30,
            )
        except jwt.ExpiredSignatureError as error:
            raise BadIdentity(EXPIRED) from error
        except jwt.InvalidTokenError as error:
            raise BadIdentity(INVALID) from error
        groups = claims.get(self._settings.groups_claim) or []
        groups = groups if isinstance(groups, list) else [groups]
        return self._identity(_person(claims), str(claims.get("team") or ""), groups)

    def _identity(self, person: str, team: str, groups: Iterable[object]) -> Identity:
        """Groups require a person: a proxy that names nobody grants no access."""
        if not person:
            return Identity()
        return Identity(person, team[:LONGEST], self._people.groups(person, groups))


def _person(claims: Mapping[str, Any]) -> str:
    """The person of a token: the e-mail address unless unverified, else the subject.

    An unverified address proves nothing (OpenID Connect Core, 5.1), even as the subject. Amazon
    Cognito writes `"true"`.
    """
    email, subject = claims.get("email"), claims.get("sub") or ""
    verified = claims.get("email_verified", True)
    if verified is not True and verified != "true":
        email, subject = "", "" if "@" in str(subject) else subject
    return str(email if isinstance(email, str) and email else subject)[:LONGEST]


def new_cookie() -> str:
    """A new value for the visitor cookie."""
    return secrets.token_urlsafe(16)
