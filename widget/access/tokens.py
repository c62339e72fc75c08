"""The frame's token: short-lived, signed, bound to the origin of the wiki.

It is no secret of the reader's: it says which wiki's page the box was opened in, so that what is
asked is counted there, which conversation it is in, and when a captcha was solved, if there is one.
So nobody joins another's conversation by its name. A token is taken for `LIFETIME`; the box fetches
a new one before it asks.
"""

import hashlib
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeTimedSerializer
from pydantic import BaseModel, ValidationError

LIFETIME = 900  # seconds
# Seconds in which an old one is worth a new one that says as much.
RENEWABLE = 12 * 3600


class Claims(BaseModel):
    """What a token says."""

    origin: str = ""
    """Of the page that the box is in; empty for a box on a page of its own."""
    conversation: str = ""
    """That the box is in; empty before its first question."""
    person: str = ""
    """Pseudonym of the verified person whose conversation it is; empty for strangers."""
    solved: int = 0
    """When a captcha was solved, in seconds since 1970; renewing does not prolong it."""
    solution: str = ""
    """Stands for that captcha: whoever uses it is counted as one visitor."""


class BadToken(Exception):
    """Not signed by us, too old, or of another origin."""


class Tokens:
    """Signs tokens with one secret, and reads what that or one before it has signed."""

    def __init__(self, secret: str, previous: str | None = None) -> None:
        # The last one signs: https://itsdangerous.palletsprojects.com/en/stable/concepts/
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
        """What the token says. Raises BadToken."""
        return self._read(token, page, LIFETIME)

    def renew(self, token: str, page: str) -> str:
        """A new one in place of `token`, which may be too old, or none at all."""
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
    """Scheme and host of an address; empty for none."""
    parts = urlsplit(page)
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.netloc else ""
