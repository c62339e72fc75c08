"""Addresses of pages, and links from one to another."""

import posixpath
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from gateway.core.errors import AskdocsError

_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


def is_elsewhere(target: str) -> bool:
    """Does the link lead out of the wiki, or stay within its own page?"""
    return not target or target[0] in "#?" or bool(_ABSOLUTE.match(target))


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
