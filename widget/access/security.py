"""Security headers, and the origin check of POST requests."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REVIEW = "/review"


def policy(origins: Sequence[str], captcha: str, *, framed: bool = True) -> str:
    """The content security policy of every page: only our own files, framed only by the wikis.

    `captcha`: hosts of the captcha's service, if any.
    """
    wikis = "".join(f" {origin}" for origin in origins)
    captcha = captcha and f" {captcha}"
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self'{captcha}",
            f"style-src 'self'{captcha}",
            f"connect-src 'self'{captcha}",
            f"frame-src 'self'{captcha}",
            # Quoted sections show the pages' images; a wiki without TLS serves them over http.
            f"img-src 'self' https: data:{wikis}",
            f"frame-ancestors 'self'{wikis}" if framed else "frame-ancestors 'none'",
            "form-action 'self'",
            "base-uri 'none'",
        )
    )


class SecurityHeaders:
    """Sets the same headers on every response."""

    def __init__(self, app: ASGIApp, origins: Sequence[str], captcha: str) -> None:
        self.app = app
        self.policy = policy(origins, captcha)
        # Framing would allow clickjacking. Over plain http, browsers do not report that a request
        # is for a frame, which `review.access` checks.
        self.unframed = policy(origins, captcha, framed=False)
        self.headers = {
            # Not `no-referrer`, with which browsers send `Origin: null` with our own forms.
            "referrer-policy": "same-origin",
            "x-content-type-options": "nosniff",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        is_review = f"{scope['path']}/".startswith(f"{REVIEW}/")
        own_policy = {"content-security-policy": self.unframed if is_review else self.policy}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers | own_policy)
            await send(message)

        await self.app(scope, receive, send_with_headers)


def is_own_post(request: Request) -> bool:
    """Does a POST come from our own page, or from a client other than a browser?

    No token is needed: https://words.filippo.io/csrf/ (the check in Go's net/http). Browsers send
    Sec-Fetch-Site only to trustworthy origins, so plain http needs the comparison of Origin.
    """
    site = request.headers.get("sec-fetch-site")
    if site:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    if origin is None:
        return True
    try:
        return origin != "null" and urlsplit(origin).netloc == request.headers.get("host", "")
    except ValueError:  # invalid URLs such as http://[
        return False
