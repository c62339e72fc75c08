"""Access tokens for services: read from the environment, each sent to one host only."""

import base64
from typing import NamedTuple

from core.errors import AskdocsError
from core.settings import SecretStr


class Token(NamedTuple):
    """A secret, and its user if the service requires one."""

    user: str
    secret: str

    @property
    def header(self) -> str:
        """The value of `Authorization`."""
        if not self.user:
            return f"Bearer {self.secret}"
        return "Basic " + base64.b64encode(f"{self.user}:{self.secret}".encode()).decode()

    def __repr__(self) -> str:
        return "Token(...)"


def token_for(lines: SecretStr | None, host: str) -> Token | None:
    """The token for one host, with its port if it has one.

    Raises AskdocsError, without the value: a line is neither `host token` nor `host user:token`.
    """
    for number, line in enumerate(lines.get_secret_value().splitlines() if lines else (), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not words[1].isascii() or not words[1].isprintable():
            raise AskdocsError(
                f"ASKDOCS_SITES_TOKENS, line {number}: write the host and its token:"
                " wiki.example.com TOKEN, or wiki.example.com USER:TOKEN"
            )
        if words[0].lower() == host.lower():
            user, mark, secret = words[1].rpartition(":")
            return Token(user, secret) if mark else Token("", words[1])
    return None
