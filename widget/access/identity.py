"""The reader's identity from the team's sign-in: a proxy header or a signed JWT."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from starlette.datastructures import Headers
from starlette.requests import Request

from gateway.core.seldom import Seldom
from widget.access.people import People
from widget.settings import WidgetSettings

LONGEST = 200  # characters of a name
COOKIE = "askdocs_visitor"


class BadIdentity(Exception):
    """The sign-in is missing or not valid, with a sentence for the reader."""


EXPIRED = "Your sign-in has expired. Please load the page again."
INVALID = "Your sign-in was not accepted. Please load the page again, or sign in again."
MISSING = "Please sign in to the wiki first. Then load this page again."


@dataclass(frozen=True)
class Identity:
    """A person and their team, as far as they are known."""

    person: str = ""
    team: str = ""
    groups: frozenset[str] = frozenset()
    """Whose pages they may read; their own group is among them."""


class Identities:
    """Reads who asks from requests."""

    def __init__(self, settings: WidgetSettings) -> None:
        self._settings = settings
        key = settings.identity_key
        self._key = key.get_secret_value().replace("\\n", "\n") if key else ""
        public = self._key.lstrip().startswith("-----BEGIN")
        # Never both kinds: a public key must not be taken as the secret of an HMAC.
        self._people = People(settings.groups_file)
        self._algorithms = ["RS256", "ES256", "EdDSA"] if public else ["HS256"]
        names = (settings.person_header, settings.team_header, settings.groups_header)
        self._doubled = {name: Seldom(__name__) for name in names}

    def of(self, request: Request, token: str = "") -> Identity:
        """Who asks; `token` is a JWT that came with a form. Raises BadIdentity."""
        settings, headers = self._settings, request.headers
        identity = Identity()
        if settings.person_header:
            person = self._of_proxy(headers, settings.person_header)[:LONGEST]
            team = self._of_proxy(headers, settings.team_header)
            groups = self._of_proxy(headers, settings.groups_header).split(",")
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
        """The value of a proxy's header; empty where it came twice.

        Two are the proxy's own and that of a client, which the proxy should have removed.
        """
        values = headers.getlist(name) if name else []
        if len(values) > 1:
            self._doubled[name].warn(
                "%s came more than once and does not count: let the proxy remove what clients send",
                name,
            )
        return values[0] if len(values) == 1 else ""

    def known(self, person: str, team: str) -> Identity:
        """Somebody who has signed in before, with the groups that the file of them has now."""
        return self._identity(person, team, ())

    def _read(self, token: str) -> Identity:
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=self._algorithms,
                audience=self._settings.identity_audience or None,
                options={"require": ["exp"], "verify_aud": bool(self._settings.identity_audience)},
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
        """Groups count only beside a person: a proxy that names nobody lets nobody in."""
        if not person:
            return Identity()
        return Identity(person, team[:LONGEST], self._people.groups(person, groups))


def _person(claims: Mapping[str, Any]) -> str:
    """The person of a token: the address, unless it is not verified, or the subject.

    Of an address that is not verified nobody knows whose it is (OpenID Connect Core, 5.1), also
    where it is the subject. `"true"` is what Amazon Cognito writes.
    """
    email, subject = claims.get("email"), claims.get("sub") or ""
    verified = claims.get("email_verified", True)
    if verified is not True and verified != "true":
        email, subject = "", "" if "@" in str(subject) else subject
    return str(email if isinstance(email, str) and email else subject)[:LONGEST]


def new_cookie() -> str:
    """The value of a visitor's cookie."""
    return secrets.token_urlsafe(16)
