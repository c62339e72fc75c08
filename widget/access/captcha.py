"""An optional captcha before a reader's first question, repeated hourly.

https://developers.cloudflare.com/turnstile/ and https://docs.hcaptcha.com/ work alike: a script
adds a field to the form, and the server verifies its value with the service.
"""

import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from pydantic import SecretStr

log = logging.getLogger(__name__)

TIMEOUT = 10.0
SOLVED = 3600  # seconds for which a solved captcha counts
# Seconds after which the services themselves expire a solution: Turnstile says five minutes.
SPENT = 600
FIRST = "Please confirm below the question that you are a person, and send it again."
AWAY = "The captcha is unavailable. Please try again in a moment."


class NotHuman(Exception):
    """The captcha is not solved; the message is for the reader."""


@dataclass(frozen=True)
class Service:
    """A captcha provider."""

    script: str
    hosts: str
    """For the content security policy."""
    mark: str
    """Class of the element that the script fills."""
    field: str
    verify: str


SERVICES: Mapping[str, Service] = {
    "turnstile": Service(
        "https://challenges.cloudflare.com/turnstile/v0/api.js",
        "https://challenges.cloudflare.com",
        "cf-turnstile",
        "cf-turnstile-response",
        "https://challenges.cloudflare.com/turnstile/v0/siteverify",
    ),
    "hcaptcha": Service(
        "https://js.hcaptcha.com/1/api.js",
        "https://hcaptcha.com https://*.hcaptcha.com",
        "h-captcha",
        "h-captcha-response",
        "https://api.hcaptcha.com/siteverify",
    ),
}


class Captcha:
    """Verifies solutions with the service."""

    def __init__(self, name: str, site_key: str, secret: SecretStr) -> None:
        self.service = SERVICES[name]
        self.site_key = site_key
        self._secret = secret
        self._spent: dict[str, float] = {}  # time of use by solution, oldest first

    async def check(self, form: Mapping[str, str], address: str) -> None:
        """Accept a solution once. Raises NotHuman: not solved, or the service does not answer."""
        answer = form.get(self.service.field, "")
        if not answer or not self._spend(answer):
            raise NotHuman(FIRST)
        fields = {
            "secret": self._secret.get_secret_value(),
            "response": answer,
            "remoteip": address,
        }
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT) as client:
                response = await client.post(self.service.verify, data=fields)
                verdict = response.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            log.warning("the captcha service cannot be reached: %r", error)
            raise NotHuman(AWAY) from None
        if not isinstance(verdict, dict) or verdict.get("success") is not True:
            log.info("a captcha was not solved: %.200r", verdict)
            raise NotHuman(FIRST)

    def _spend(self, answer: str) -> bool:
        """Is the solution unused? Each process checks; across processes, the service does."""
        now = time.monotonic()
        while self._spent and next(iter(self._spent.values())) < now - SPENT:
            del self._spent[next(iter(self._spent))]
        digest = hashlib.sha256(answer.encode()).hexdigest()
        if digest in self._spent:
            return False
        self._spent[digest] = now
        return True
