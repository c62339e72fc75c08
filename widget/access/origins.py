"""The origins of the wikis that may embed the widget."""

from urllib.parse import urlsplit

WEB = ("http", "https")
LONGEST = 2000  # maximum characters of a URL


def web_address(url: str) -> str:
    """The URL if a browser may be sent there (http or https, with a host), else an empty string.

    Titles and URLs come from the gateway, from pages and from the query string; none is trusted.
    """
    url = url.strip()
    if len(url) > LONGEST or any(ord(character) <= 32 for character in url):
        return ""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # reading it is what finds an impossible port
    except ValueError:
        return ""
    return url if parts.scheme.lower() in WEB and parts.hostname else ""


def within(url: str, origins: tuple[str, ...]) -> bool:
    """Is the URL under one of the origins, by CSP's rules for host sources?"""
    if not web_address(url):
        return False
    own = urlsplit(url)
    return any(_same(own.scheme, own.hostname or "", own.port, origin) for origin in origins)


def _same(scheme: str, host: str, port: int | None, origin: str) -> bool:
    other = urlsplit(origin)
    wanted = other.hostname or ""
    same_host = host.endswith(wanted[1:]) if wanted.startswith("*.") else host == wanted
    default = {"http": 80, "https": 443}
    return (
        same_host
        and scheme == other.scheme
        and (port or default[scheme]) == (other.port or default[scheme])
    )
