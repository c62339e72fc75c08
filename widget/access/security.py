"""Security headers, and the check of a POST request's origin."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REVIEW = "/review"


def policy(origins: Sequence[str], captcha: str, *, framed: bool = True) -> str:
    """The content security policy of every page: our own files only, framed by the wikis only.

    `captcha`: hosts of the captcha's service; empty where there is none.
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
            # Quoted sections show the pages' pictures; a wiki without TLS has them on http.
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
        # A click in a frame could be led there. To a plain http address browsers do not say that it
        # is for a frame, which `review.access` looks at.
        self.unframed = policy(origins, captcha, framed=False)
        self.headers = {
            # Not `no-referrer`: with it a browser sends `Origin: null` with our own forms.
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
    """Whether a POST comes from our own page, or from no browser at all.

    No token is needed: https://words.filippo.io/csrf/ (the check of Go's net/http). Browsers send
    Sec-Fetch-Site to trustworthy addresses only, so plain http needs the comparison of Origin.
    """
    site = request.headers.get("sec-fetch-site")
    if site:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    if origin is None:
        return True
    try:
        return origin != "null" and urlsplit(origin).netloc == request.headers.get("host", "")
    except ValueError:  # http://[ is no address
        return False
