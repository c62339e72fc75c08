"""Builds the wiki as a site with MkDocs Material, embeds the widget, and serves it.

`python -m askdocs.wikis.site --root DIR --port N` serves what `build` made; with `--docs DIR`,
`--site-url` and `--widget-url` it builds first, and again whenever the folder changes.
"""

import argparse
import asyncio
import contextlib
import hashlib
import html
import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Container, Iterator
from functools import lru_cache, partial
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any
from urllib.parse import quote

import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from askdocs.state.home import Home, read_json, write, write_json
from core.errors import AskdocsError
from core.settings import load
from core.tasks import Tasks
from gateway.http.hosts import AllowedHosts, host_of
from gateway.runtime.protocol import Edge
from gateway.settings import GatewaySettings
from wiki.rights import Groups, both
from wiki.rules import NO_RULES, Rules
from wiki.sources import folder, mkdocs_config, watch
from wiki.sources.apart import Apart
from wiki.sources.detect import detect
from wiki.sources.documents.reading import READERS, documents
from wiki.sources.markdown import parse
from wiki.sources.preview import shown
from wiki.sources.source import Broken, Changed
from wiki.sources.tree import HTML, Tree

HEALTH = "/.well-known/askdocs/health"
_HOOK = Path(__file__).with_name("mkdocs_hook.py")
# MkDocs' message about a page on which it, or an extension, fails, before it aborts the build.
_FAILED = re.compile(r"^ERROR +-  ?Error (?:reading|building) page '(.+?)': *(.*)$", re.M)
# Build timeout in seconds, plus one second per page: MkDocs renders dozens per second.
PATIENCE = 600
# Bytes of a page that are searched for groups.
_FRONT_MATTER = 2**16
# Allowed navigation entries besides two per page.
_SPARE = 1_000
# Maximum builds, each without one more failing page.
_ATTEMPTS = 10


def config(
    docs: Path,
    home: Home,
    site_url: str,
    widget_url: str,
    look: dict[str, Any],
    closed: Container[str] = (),
) -> dict[str, object]:
    """The MkDocs configuration: Material, the wiki's navigation, and one tag for the box."""
    settings: dict[str, object] = {
        "site_name": look.get("site_name") or _name(docs),
        "site_url": site_url,
        "docs_dir": str(_pages(home)),
        "site_dir": str(_beside(home)),
        "use_directory_urls": True,
        "theme": {
            "name": "material",
            "font": False,  # load nothing from other hosts
            "features": [
                *("navigation.indexes", "content.code.copy", "toc.follow"),
                *look.get("features", ()),
            ],
            "palette": [
                {
                    "media": "(prefers-color-scheme: light)",
                    "scheme": "default",
                    "toggle": {"icon": "material/weather-night", "name": "Dark mode"},
                },
                {
                    "media": "(prefers-color-scheme: dark)",
                    "scheme": "slate",
                    "toggle": {"icon": "material/weather-sunny", "name": "Light mode"},
                },
            ],
        },
        "markdown_extensions": mkdocs_config.extensions(_pages(home)),
        "plugins": ["search"],
        "hooks": [str(_HOOK)],
        # For the list on a generated front page; MkDocs only copies them.
        "extra": {
            "documents": [path for path in documents(Tree(docs)) if path not in closed],
            "docs": str(docs.absolute()),
        },
        "extra_javascript": [f"{widget_url}/embed.js"],
    }
    return settings | ({"nav": look["nav"]} if "nav" in look else {})


def _look(docs: Path) -> dict[str, Any]:
    """The name and navigation of the mkdocs.yml around the folder; empty without one."""
    detected = detect(docs.absolute())
    if detected.kind != "mkdocs" or not detected.settings or detected.content != docs.absolute():
        return {}
    with contextlib.suppress(OSError, ValueError):  # a sync reports the error
        return mkdocs_config.look(detected.settings, detected.bounds)
    return {}


def _tell(text: str) -> None:
    print(f"site: {text}", file=sys.stderr, flush=True)


async def build(
    docs: Path,
    home: Home,
    site_url: str,
    widget_url: str,
    say: Callable[[str], None] = _tell,
    rules: Rules = NO_RULES,
) -> bool:
    """Build the site unless it is up to date; returns whether it was built.

    It is built beside the served site, which it replaces once complete. `say` reports pages that
    MkDocs fails on, which are left out. So are pages that `rules`, or their own groups, do not open
    to everybody: the site has no sign-in.

    Raises:
        AskdocsError: MkDocs failed; its output is in logs/site-build.log.
    """
    look = _look(docs)
    if _count(look.get("nav")) > _SPARE + 2 * sum(map(len, folder.files(docs))):
        # Each page of the site contains the whole navigation.
        say("the wiki's own navigation is left out: it has far more entries than pages")
        del look["nav"]
    closed = await asyncio.to_thread(_closed, docs, site_url, rules)
    if closed and "nav" in look:
        look["nav"] = _open(look["nav"], closed)
    settings = config(docs, home, site_url, widget_url, look, closed)
    published = _published(docs, site_url)
    # A page that is not UTF-8 would stop MkDocs; answers leave it out as well.
    left_out = [*_unreadable(docs), *(p for p in Tree(docs).markdown if p not in published)]
    settings["exclude_docs"] = _patterns(left_out)
    digest = _digest(docs, yaml.safe_dump([settings, look, sorted(closed)], sort_keys=False))
    marker = home.root / "site.json"
    if home.site.is_dir() and (read_json(marker) or {}).get("digest") == digest:
        return False
    marker.unlink(missing_ok=True)
    log = home.logs / "site-build.log"
    _lay_out(docs, _pages(home), published, closed)
    if closed:
        say(f"{len(closed):,} files are not shown, because the site is open and they are not")
    patience = PATIENCE + sum(map(len, folder.files(docs)))
    for _ in range(_ATTEMPTS):
        settings["exclude_docs"] = _patterns(left_out)
        try:
            code = await asyncio.wait_for(_mkdocs(settings, home, log), patience)
        except TimeoutError:
            raise AskdocsError(
                f"MkDocs did not finish {docs} within {patience / 60:.0f} minutes: it may hang on "
                f"one of the pages (see {log})"
            ) from None
        output = log.read_text(errors="replace")
        failed = _FAILED.search(output) if code else None
        if code and failed is None and look:
            say("left out the wiki's own navigation: MkDocs fails with them")
            look, settings = {}, config(docs, home, site_url, widget_url, {}, closed)
            continue
        if failed is None or failed[1] in left_out:
            break
        left_out.append(failed[1])
        say(f"{failed[1]} is not shown: MkDocs fails on it: {failed[2]}".rstrip(": "))
    if code:
        lines = output.strip().splitlines() or ["it said nothing"]
        # MkDocs' own errors name the page; a traceback's last line gives the reason.
        errors = [line.split("-", 1)[-1].strip() for line in lines if line.startswith("ERROR ")]
        why = ": ".join(dict.fromkeys([*errors[:1], lines[-1]]))
        raise AskdocsError(f"MkDocs could not build {docs}: {why} (all of it in {log})")
    _replace(home)
    write_json(marker, {"digest": digest})
    return True


def _pages(home: Home) -> Path:
    return home.root / "site.pages"


def _count(nav: Any) -> int:
    """Number of navigation entries, including those of sections."""
    if isinstance(nav, dict):
        return sum(map(_count, nav.values()))
    return sum(1 + _count(entry) for entry in nav) if isinstance(nav, list) else 0


def has_rights(docs: Path, rules: Rules) -> bool:
    """May any page be closed? Does not read the pages."""
    tree = Tree(docs.absolute())
    heads = (tree.beginning(path, _FRONT_MATTER) for path in tree.markdown)
    return rules != NO_RULES or any(b"groups" in head.lower() for head in heads)


def _closed(docs: Path, site_url: str, rules: Rules) -> frozenset[str]:
    """The files of a folder that are not for everybody."""
    if not has_rights(docs, rules):
        return frozenset()
    tree = Tree(docs.absolute())
    pages: dict[str, Groups | None] = dict.fromkeys((*tree.markdown, *documents(tree)))
    for item in Apart(str(tree.root), "preview", site_url).read({}):
        if isinstance(item, Changed):
            pages[item.page.path] = item.groups
        elif isinstance(item, Broken) and item.path in pages:
            pages[item.path] = both(pages[item.path], item.groups)
    return rules.closed(str(tree.root), tree.files, pages)


def _open(nav: Any, closed: Container[str]) -> Any:
    """The navigation without closed pages, whose titles it may name; None for a closed page."""
    if isinstance(nav, dict):
        below = {title: _open(entry, closed) for title, entry in nav.items()}
        return {title: entry for title, entry in below.items() if entry} or None
    if isinstance(nav, list):
        return [entry for entry in (_open(entry, closed) for entry in nav) if entry]
    return None if isinstance(nav, str) and nav in closed else nav


def _lay_out(docs: Path, pages: Path, published: Container[str], closed: Container[str]) -> None:
    """Create a folder of links to the files that the site may show, for MkDocs to read.

    MkDocs follows every link in a folder and copies its target, even `all -> /`.
    """
    tree = Tree(docs)
    shutil.rmtree(pages, ignore_errors=True)
    pages.mkdir()
    for path in sorted(path for path in tree.files if path not in closed):
        link = pages / (shown(path) if path in published else path)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.realpath(docs / path))


def _patterns(paths: list[str]) -> str:
    return "\n".join(f"/{path}" for path in paths)


async def _mkdocs(settings: dict[str, object], home: Home, log: Path) -> int:
    """Run MkDocs; returns its exit code."""
    file = home.root / "mkdocs.yml"
    write(file, yaml.safe_dump(settings, sort_keys=False))
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "mkdocs", "build", "--quiet", "--config-file", str(file)),
            stdout=output,
            stderr=output,
            env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        )
        try:
            return await process.wait()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise


def _beside(home: Home) -> Path:
    return home.root / "site.new"


def _replace(home: Home) -> None:
    old = home.root / "site.old"
    try:
        shutil.rmtree(old, ignore_errors=True)
        if home.site.exists():
            home.site.rename(old)
        _beside(home).rename(home.site)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise AskdocsError(
            f"{home.site}: cannot be replaced ({error.strerror}): delete it, or free some space"
        ) from None


def _name(docs: Path) -> str:
    """The title of the wiki's front page, or else its folder's name."""
    for front in ("index.md", "README.md"):
        with contextlib.suppress(OSError, ValueError):
            return parse(front, Tree(docs).text(front), "").title
    place = docs.absolute()
    name = place.parent.name if place.name in ("docs", "doc", "wiki", "content") else place.name
    return name or "Wiki"


def _published(docs: Path, site_url: str) -> Container[str]:
    """The pages that the wiki's own generator publishes."""
    return folder.preview(docs.absolute(), site_url).urls


def _unreadable(docs: Path) -> Iterator[str]:
    tree = Tree(docs)
    for file in folder.files(docs)[0]:
        path = file.relative_to(docs).as_posix()
        try:
            tree.text(path)
        except (OSError, ValueError):
            yield path


def _digest(docs: Path, text: str) -> str:
    sha = hashlib.sha256(text.encode() + _HOOK.read_bytes())
    for name in sorted(Tree(docs).files):
        with contextlib.suppress(OSError):  # removed meanwhile
            seen = (docs / name).stat()
            sha.update(f"{docs / name} {seen.st_size} {seen.st_mtime_ns}\n".encode())
    return sha.hexdigest()


def _follow(docs: Path, home: Home, *how: Any) -> None:
    """Rebuild whenever the folder changes; if that fails, keep serving the old site."""
    for _ in watch.changes(docs, threading.Event()):
        try:
            asyncio.run(build(docs, home, *how))
        except AskdocsError as error:
            _tell(str(error))


# Insert the script here, or else at the end of the page.
_END = re.compile(rb"</body\s*>", re.IGNORECASE)
# Headers of the original response; an unchanged page is not sent again.
_KEPT = ("content-type", "etag", "last-modified", "x-content-type-options")
# Bytes: larger pages are sent unchanged.
_LARGEST_PAGE = 16 * 2**20
# Maximum pages in the list of a folder without a front page.
_LISTED = 5_000
_LIST = """<!doctype html>
<html><head><meta charset="utf-8"><title>{name}</title>
<meta name="viewport" content="width=device-width"></head>
<body><h1>{name}</h1><ul>
{pages}
</ul>{tag}</body></html>
"""
_TITLE = re.compile(r"<title[^<>]*>([^<]{1,500})</title", re.IGNORECASE)
# Bytes of a page to look for its title in.
_HEAD = 8192


class _Files(StaticFiles):
    """Serves the public files of a folder, and adds the box to pages.

    Starlette does not list folders, or follow links out of the folder.
    """

    def __init__(self, root: Path, tag: str, rules: Rules = NO_RULES) -> None:
        """
        Args:
            root: the folder.
            tag: added to every page that lacks it; it may be empty.
            rules: what they do not open to everybody is not served, nor what it includes.
        """
        super().__init__(directory=root, html=True)
        self._rules = rules
        self._root = root
        self._tag = tag.encode()

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        if any(part[:1] == "." and part not in (".", ".well-known") for part in path.split(os.sep)):
            return "", None  # `.git/config`, `.env`: an HTML folder may be a checkout
        file, status = super().lookup_path(path)
        if status is not None and not (S_ISREG(status.st_mode) or S_ISDIR(status.st_mode)):
            return "", None
        if S_ISREG(status.st_mode if status else 0) and _is_closed(self._root, file, self._rules):
            return "", None
        return file, status

    def file_response(self, *args: Any, **more: Any) -> Response:
        response = super().file_response(*args, **more)
        # Keep browsers from interpreting other files as pages.
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    async def get_response(self, path: str, scope: Scope) -> Response:
        is_front = path == "." and scope["method"] in ("GET", "HEAD")
        if is_front and (
            page := await run_in_threadpool(_front, self._root, self._tag.decode(), self._rules)
        ):
            return HTMLResponse(page)
        response = await super().get_response(path, scope)
        return self._with_box(response) if self._tag else response

    def _with_box(self, response: Response) -> Response:
        """The response, with the tag if it is a page without one."""
        if not isinstance(response, FileResponse) or response.media_type != "text/html":
            return response  # not modified, or not a page
        path = Path(response.path)
        if path.stat().st_size > _LARGEST_PAGE:
            return response
        page = path.read_bytes()
        if b"/embed.js" in page:
            return response
        ends = list(_END.finditer(page))
        at = ends[-1].start() if ends else len(page)
        headers = {name: response.headers[name] for name in _KEPT if name in response.headers}
        return Response(page[:at] + self._tag + page[at:], response.status_code, headers)


def _is_closed(root: Path, file: str, rules: Rules) -> bool:
    """Is a file of a folder of HTML not for everybody?"""
    if rules == NO_RULES:
        return False
    path = os.path.relpath(os.path.realpath(file), os.path.realpath(root))
    is_page = path.lower().endswith(HTML) or os.path.splitext(path)[1].lower() in READERS
    return bool(rules.closed(str(root.absolute()), [path], {path: None} if is_page else {}))


def _front(root: Path, tag: str, rules: Rules = NO_RULES) -> str:
    """A list of the pages, as the front page of a folder of HTML that has none; empty if it has
    one, or no page."""
    if (root / "index.html").exists():
        return ""
    tree = Tree(root)
    pages = sorted(path for path in tree.files if path.lower().endswith(HTML))[:_LISTED]
    lines = []
    for path in pages:
        if _is_closed(root, str(root / path), rules):
            continue
        with contextlib.suppress(OSError):  # removed meanwhile
            status = os.stat(tree.root / path)
            title = _title(tree.root, path, status.st_mtime_ns, status.st_size)
            lines.append(f'<li><a href="{quote(path)}">{html.escape(title)}</a></li>')
    name = html.escape(_name(root))
    return _LIST.format(name=name, pages="\n".join(lines), tag=tag) if lines else ""


@lru_cache(maxsize=_LISTED)
def _title(root: Path, path: str, _modified_ns: int, _size: int) -> str:
    """The title of an HTML page in UTF-8, or else its path; read again when the file changes."""
    found = _TITLE.search(Tree(root).beginning(path, _HEAD).decode(errors="replace"))
    title = " ".join(html.unescape(found[1]).split()) if found else ""
    return title if title and "\ufffd" not in title else path


def tag(widget_url: str) -> str:
    """The script tag that adds the box to a page."""
    return f'<script src="{widget_url}/embed.js" async></script>'


def app(
    root: Path, tag: str = "", tasks: Tasks | None = None, rules: Rules = NO_RULES
) -> Starlette:
    """An app that serves the folder, with `tag` in each page. HEALTH names failing `tasks`."""

    async def health(request: Request) -> Response:
        failing = tasks.failing if tasks else []
        return JSONResponse({"status": "ok", **({"degraded": failing} if failing else {})})

    return Starlette(routes=[Route(HEALTH, health), Mount("/", _Files(root, tag, rules))])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--name", action="append", default=[], help="a host name of the site; can be repeated"
    )
    parser.add_argument(
        "--html", action="store_true", help="the folder is the wiki: serve what is for everybody"
    )
    parser.add_argument("--docs", type=Path, help="build the site of this folder, and follow it")
    parser.add_argument("--site-url", default="http://127.0.0.1:8000/")
    parser.add_argument("--widget-url", default="http://127.0.0.1:8080")
    options = parser.parse_args()
    tasks = Tasks()
    rules = load(GatewaySettings).rules
    if options.docs:
        home = Home(options.root.absolute().parent)
        home.make()
        wanted = (options.docs, home, options.site_url, options.widget_url, _tell, rules)
        try:
            asyncio.run(build(*wanted))
        except AskdocsError as error:
            sys.exit(f"site: {error}")
        work = ("site", partial(_follow, *wanted), threading.Event())
        threading.Thread(target=tasks.go_on, args=work, daemon=True).start()
    hosts = (options.host, *host_of(options.site_url), *options.name)
    uvicorn.run(
        AllowedHosts(
            app(options.root, tag(options.widget_url), tasks, rules if options.html else NO_RULES),
            hosts,
            "site_hosts of [up], or --name",
        ),
        http=Edge,
        ws="none",
        host=options.host,
        port=options.port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
