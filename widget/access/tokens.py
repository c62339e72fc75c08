"""The frame's token: short-lived, signed, bound to the origin of the wiki.

It does not authenticate the reader. It records the wiki page in which the box was opened, so that
questions are attributed to it; the conversation, so that nobody can join another's by its id; and
when a captcha was solved, if required. A token is valid for `LIFETIME`; the box fetches a new one
before it asks.
"""

import hashlib
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeTimedSerializer
from pydantic import BaseModel, ValidationError

LIFETIME = 900  # seconds
# Seconds during which an expired token can be exchanged for a new one with the same claims.
RENEWABLE = 12 * 3600


class Claims(BaseModel):
    """The content of a token."""

    origin: str = ""
    """Origin of the page that contains the box; empty for a box on its own page."""
    conversation: str = ""
    """The box's conversation; empty before its first question."""
    person: str = ""
    """Pseudonym of the conversation's verified person; empty for strangers."""
    solved: int = 0
    """When a captcha was solved, in seconds since 1970; renewing does not extend it."""
    solution: str = ""
    """Identifies the solved captcha: all who use it are counted as one visitor."""


class BadToken(Exception):
    """The token is not signed by us, too old, or for another origin."""


class Tokens:
    """Signs tokens with a secret; also accepts those signed with the previous secret."""

    def __init__(self, secret: str, previous: str | None = None) -> None:
        # The last key signs: https://itsdangerous.palletsprojects.com/en/stable/concepts/
        secrets = [previous, secret] if previous else [secret]
        keys = [
            hashlib.sha256(f"askdocs box {signing_secret}".encode()).hexdigest()
            for signing_secret in secrets
        ]
        self._signer = URLSafeTimedSerializer(keys, salt="box")

    def make(self, page: str, claims: Claims | None = None) -> str:
        """A token for the box in this page."""
        stated = (claims or Claims()).model_dump(exclude_defaults=True)
        return self._signer.dumps({**stated, "origin": origin(page)})

    def read(self, token: str, page: str) -> Claims:
        """The claims of a token. Raises BadToken."""
        return self._read(token, page, LIFETIME)

    def renew(self, token: str, page: str) -> str:
        """A new token to replace `token`, which may be expired or missing."""
        try:
            return self.make(page, self._read(token, page, RENEWABLE))
        except BadToken:
            return self.make(page)

    def _read(self, token: str, page: str, lifetime: int) -> Claims:
        try:
            claims = Claims.model_validate(self._signer.loads(token, max_age=lifetime))
        except (BadData, ValidationError) as error:
            raise BadToken from error
        if claims.origin != origin(page):
            raise BadToken
        return claims


def origin(page: str) -> str:
    """Scheme and host of a URL; empty if it has no host."""
    parts = urlsplit(page)
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.netloc else ""
