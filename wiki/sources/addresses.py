"""Addresses of pages, and links from one to another."""

import posixpath
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from core.errors import AskdocsError

_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


def is_elsewhere(target: str) -> bool:
    """Does the link lead out of the wiki, or stay within its own page?"""
    return not target or target[0] in "#?" or bool(_ABSOLUTE.match(target))


_UNRESERVED = re.compile(
    "%(2[DEde]|3[0-9]|4[1-9A-Fa-f]|5[0-9AFaf]|6[1-9A-Fa-f]|7[0-9AEae])"  # RFC 3986, 2.3
)
_PORTS = {"http": ":80", "https": ":443"}
_AMBIGUOUS = re.compile(r"[;\\]|%(?:2F|3B|5C|00|25[0-9A-F]{2})|%(?![0-9A-F]{2})", re.IGNORECASE)
AMBIGUOUS = "its address has an encoded slash, a backslash, a semicolon or two layers of encoding"


def normal(url: str, query: bool = False) -> str:
    """The one spelling of an address (RFC 3986, 6.2.2): every rule on paths compares it.

    Without anchor, and without query unless `query` is set; empty for an invalid address. Decoding
    may uncover another code (`%%36%38`), and so goes twice; `is_ambiguous` refuses the rest.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    for _ in range(2):
        path = _UNRESERVED.sub(lambda code: chr(int(code[1], 16)), path)
    path = re.sub("%[0-9a-f]{2}", lambda code: code[0].upper(), path, flags=re.IGNORECASE)
    # Servers merge slashes, and resolve dot segments that end the path to a folder.
    if path.endswith(("/.", "/..")):
        path += "/"
    path = "/" + posixpath.normpath(path).lstrip("/") + ("/" if path.endswith("/") else "")
    path = re.sub("//+", "/", path)
    host = parts.netloc.lower().removesuffix(_PORTS.get(parts.scheme, "/"))
    return f"{parts.scheme}://{host}{path}" + (f"?{parts.query}" if query and parts.query else "")


def is_ambiguous(url: str) -> bool:
    """May a server take this normal address for that of another page, as `/x/..;/hr/`?"""
    return bool(_AMBIGUOUS.search(urlsplit(url).path))


def refuse_password(address: str) -> None:
    """Raises AskdocsError: the index would store the password, and answers would cite it."""
    parts = urlsplit(address.strip())
    if "@" in parts.netloc:
        raise AskdocsError(
            f"the address of {parts.hostname} has a user name or password, which would be stored: "
            "set ASKDOCS_SITES_TOKENS, or for a site ASKDOCS_SITES_HEADERS, instead"
        )


def split(target: str) -> tuple[str, str]:
    """Splits a link to a file into its decoded path and the rest: `?...` and `#...`."""
    path = re.split("[?#]", target, maxsplit=1)[0]
    return unquote(path), target[len(path) :]


def beside(path: str, target: str) -> str:
    """The file that a link in the file `path` refers to; it may lead out with `..`."""
    if target.startswith("/"):
        return posixpath.normpath(target.lstrip("/"))
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def below(path: str, root: Path) -> str:
    """The path within the folder `root` of a path within a repository that has this folder, as
    GitHub reads `/docs/guide.md`. Unchanged if it does not lead into the folder."""
    parts = path.split("/")
    for count in range(len(parts) - 1, 0, -1):
        if tuple(parts[:count]) == root.parts[-count:]:
            return "/".join(parts[count:])
    return path


def relative(start: str, url: str) -> str:
    """The shortest relative link from the page at `start` to `url`."""
    here, there = urlsplit(start), urlsplit(url)
    if (here.scheme, here.netloc) != (there.scheme, there.netloc):
        return url
    if here.path == there.path:
        return url[url.index("#") :] if there.fragment else (posixpath.basename(there.path) or "./")
    folder = posixpath.dirname(here.path) or "/"
    path = posixpath.relpath(there.path or "/", folder)
    if there.path.endswith("/"):
        path += "/"
    elif path.split("/")[-1] in (".", ".."):  # alone, these mean an address that ends with a slash
        path = posixpath.join(path, "..", posixpath.basename(there.path)).removeprefix("./")
    if ":" in path.split("/")[0]:
        path = "./" + path
    rest = f"?{there.query}" if there.query else ""
    return path + rest + (f"#{there.fragment}" if there.fragment else "")


def join(site_url: str, path: str) -> str:
    """The address of a decoded path on the site."""
    return site_url.rstrip("/") + "/" + quote(path.lstrip("/"))
