"""A live site as a source: what it is asked for, how politely, and what its answers mean."""

import gzip
import itertools
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AskdocsError
from core.settings import SecretStr
from tests.sources.conftest import places
from tests.sources.live_site import LiveSite, Reply, live_site, sitemap_xml
from wiki.pages.page import Page
from wiki.sources import fetch, reading, sitemap
from wiki.sources.open import open_source
from wiki.sources.site import Site, SitesSettings
from wiki.sources.source import Broken, Changed, LeftOut, Unchanged


@pytest.fixture
def wiki() -> Iterator[LiveSite]:
    """A wiki below `/docs/` of three pages, one of which only the crawl finds."""
    with live_site() as live:
        live.page("/docs/", "Home", '<a href="a">A</a> <a href="/docs/b?from=home#more">B</a>')
        live.page("/docs/a", "A", '<a href="c.html#x">C</a> <a href="/blog/">blog</a>')
        live.page("/docs/b", "B")
        live.page("/docs/c.html", "C")
        live.page("/blog/", "Blog")
        yield live


def reader(live: LiveSite, path: str = "/docs/", **settings: object) -> Site:
    values = {"rate": 100.0, **settings}
    return Site(live.url + path, SitesSettings.model_validate(values))


Found = list[Unchanged | Changed | Broken | LeftOut]


def read(source: Site, known: Mapping[str, str] | None = None) -> Found:
    return list(source.read(known or {}))


def pages(found: Found) -> dict[str, Page]:
    assert not [one for one in found if isinstance(one, Broken)]
    return {one.page.path: one.page for one in found if isinstance(one, Changed)}


def stamps(found: Found) -> dict[str, str]:
    return {one.page.path: one.stamp for one in found if isinstance(one, Changed)}


def test_a_site_without_a_sitemap_is_crawled_below_its_address(wiki: LiveSite) -> None:
    found = pages(read(reader(wiki)))
    assert {path: (page.title, page.url) for path, page in found.items()} == {
        "./": ("Home", wiki.url + "/docs/"),
        "a": ("A", wiki.url + "/docs/a"),
        "b": ("B", wiki.url + "/docs/b"),
        "c.html": ("C", wiki.url + "/docs/c.html"),
    }
    assert places(found["a"]) == [("top", "A"), ("more", "More")]
    assert found["a"].sections[1].body == "[C](c.html#x) [blog](../blog/)"
    assert wiki.paths() == [
        "/robots.txt", "/docs/", "/sitemap.xml", "/docs/sitemap.xml",
        "/docs/a", "/docs/b", "/docs/c.html",
    ]  # fmt: skip


def test_the_site_is_reported_who_asks(wiki: LiveSite) -> None:
    read(reader(wiki))
    agents = {one.headers["User-Agent"] for one in wiki.asked}
    assert agents == {fetch.USER_AGENT}
    assert fetch.USER_AGENT.startswith("askdocs/")


def test_a_sitemap_says_which_pages_there_are(wiki: LiveSite) -> None:
    wiki.sitemap("/docs/", "/docs/b", "/docs/c.html", "/blog/", "/docs/paper.pdf")
    found = pages(read(reader(wiki)))
    assert list(found) == ["./", "b", "c.html"]
    assert wiki.paths().count("/docs/") == 1


def test_robots_txt_names_packed_sitemaps_and_lists_of_them(wiki: LiveSite) -> None:
    wiki.put("/robots.txt", "Sitemap: SITE/maps.xml\n", type="text/plain")
    one = f"<sitemap><loc>{wiki.url}/one.xml.gz</loc></sitemap>"
    wiki.put("/maps.xml", sitemap_xml(one, "sitemapindex"))
    packed = gzip.compress(sitemap_xml(f"<url><loc>{wiki.url}/docs/b?v=2</loc></url>").encode())
    wiki.put("/one.xml.gz", packed, type="application/gzip")
    wiki.page("/docs/b?v=2", "B2")
    found = pages(read(reader(wiki)))
    assert {path: page.title for path, page in found.items()} == {"./": "Home", "b?v=2": "B2"}
    assert "/sitemap.xml" not in wiki.paths()


def test_what_robots_txt_disallows_is_never_asked_for(wiki: LiveSite) -> None:
    rules = "User-agent: *\nDisallow: /\n\nUser-agent: AskDocs\nDisallow: /docs/a\nAllow: /docs/\n"
    wiki.put("/robots.txt", rules, type="text/plain")
    wiki.page("/docs/d", "D")
    wiki.put("/docs/b", status=302, headers={"Location": "/docs/a"})
    wiki.sitemap("/docs/a", "/docs/b", "/docs/d")
    assert list(pages(read(reader(wiki)))) == ["./", "d"]
    assert "/docs/a" not in wiki.paths()
    wiki.put("/robots.txt", "User-agent: *\nDisallow: /docs/\n")
    with pytest.raises(AskdocsError, match=r"/docs/ may not be read: .*robots\.txt disallows it"):
        read(reader(wiki))


def test_where_robots_txt_cannot_be_read_nothing_is_asked_for(wiki: LiveSite) -> None:
    wiki.put("/robots.txt", status=500)
    with pytest.raises(AskdocsError, match=r"/robots\.txt answers 500.*try later"):
        read(reader(wiki))
    assert set(wiki.paths()) == {"/robots.txt"}


@pytest.mark.parametrize("rule", ["Crawl-delay: 1e300", "Request-rate: 1/1h"])
def test_a_site_cannot_have_a_sync_wait_for_ever(wiki: LiveSite, rule: str) -> None:
    wiki.put("/robots.txt", f"User-agent: *\n{rule}\n", type="text/plain")
    with pytest.raises(AskdocsError, match="s between two requests"):
        read(reader(wiki))
    assert set(wiki.paths()) == {"/robots.txt"}


@pytest.mark.parametrize(
    ("rules", "rate", "least"),
    [
        ("", 10.0, 0.1),
        ("User-agent: *\nCrawl-delay: 0.2\n", 100.0, 0.2),
        ("User-agent: askdocs\nRequest-rate: 4/1s\nCrawl-delay: 0.1\n", 100.0, 0.25),
    ],
)
def test_requests_are_as_far_apart_as_the_site_and_the_setting_say(
    wiki: LiveSite, rules: str, rate: float, least: float
) -> None:
    wiki.put("/robots.txt", rules, type="text/plain")
    wiki.sitemap("/docs/b")
    started = time.monotonic()
    read(reader(wiki, rate=rate))
    times = [one.when for one in wiki.asked][1:]  # the rules are known from then on
    assert len(times) >= 3
    # A busy machine hears of requests late, never early: the pauses add up from the start.
    for number, when in enumerate(times):
        assert when - started >= least * number * 0.99


def test_a_page_that_is_as_it_was_is_not_sent_again(wiki: LiveSite) -> None:
    wiki.put(
        "/docs/c.html", "<main>dated</main>", etag=False,
        headers={"Last-Modified": "Tue, 03 Feb 2026 10:00:00 GMT"},
    )  # fmt: skip
    known = stamps(read(reader(wiki)))
    wiki.asked.clear()
    wiki.page("/docs/b", "B", "new words")
    found = read(reader(wiki), known)
    assert [type(one) for one in found].count(Unchanged) == 3
    assert list(pages(found)) == ["b"]
    asked = {one.path: one.status for one in wiki.asked}
    assert (asked["/docs/a"], asked["/docs/b"], asked["/docs/c.html"]) == (304, 200, 304)


def test_markup_that_changes_around_the_same_text_is_no_change(wiki: LiveSite) -> None:
    wiki.put("/docs/b", "<p>token 1</p><main>B</main>", etag=False)
    known = stamps(read(reader(wiki)))
    wiki.put("/docs/b", "<p>token 2</p><main class=x>B</main>", etag=False)
    assert Unchanged("b") in read(reader(wiki), known)


def test_a_page_with_the_sitemaps_date_of_last_time_is_not_asked_for(wiki: LiveSite) -> None:
    wiki.sitemap("/docs/b", "/docs/c.html", dates={"/docs/b": "2026-01-02", "/docs/c.html": "now"})
    known = stamps(read(reader(wiki)))
    wiki.asked.clear()
    assert Unchanged("b") in read(reader(wiki), known)
    assert "/docs/b" not in wiki.paths()
    wiki.sitemap("/docs/b", dates={"/docs/b": "2026-01-03"})
    read(reader(wiki), known)
    assert "/docs/b" in wiki.paths()


@pytest.mark.parametrize("status", [404, 410])
def test_a_page_that_is_gone_is_gone(wiki: LiveSite, status: int) -> None:
    known = stamps(read(reader(wiki)))
    wiki.put("/docs/b", status=status)
    found = read(reader(wiki), known)
    assert {one.path for one in found if isinstance(one, Unchanged)} == {"./", "a", "c.html"}
    assert len(found) == 3


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(status=500), "answers 500"),
        (Reply(status=403), "answers 403"),
        (Reply(status=503, headers={"Retry-After": "100000"}), "answers 503"),
        (Reply(drop=True), "disconnected"),
        pytest.param(Reply(wait=6.0), "no answer in time", marks=pytest.mark.slow),
        (Reply(status=302, headers={"Location": "/docs/b"}), "redirects more than 5 times"),
        (Reply(status=302, headers={"Location": "http://["}), "which is not an address"),
        (Reply(b"<frameset>"), "no body"),
        (Reply(b"x" * 2**20), "larger than 0 MiB"),
        (Reply(status=302, headers={"Location": "/login?next=b"}), "requires a login"),
    ],
)  # fmt: skip
def test_a_page_that_cannot_be_read_is_reported_and_stays(
    wiki: LiveSite, monkeypatch: pytest.MonkeyPatch, reply: Reply, why: str
) -> None:
    monkeypatch.setattr(fetch, "LARGEST", 2**19)
    if reply.wait:
        monkeypatch.setattr(fetch, "TIMEOUT", 3.0)
    known = stamps(read(reader(wiki)))
    wiki.put("/login?next=b", '<form><input type="password"></form>')
    wiki.replies["/docs/b"] = reply
    found = read(reader(wiki), known)
    (broken,) = [one for one in found if isinstance(one, Broken)]
    assert broken.path == "b"
    assert why in broken.why
    assert {one.path for one in found if isinstance(one, Unchanged)} == {"./", "a", "c.html"}


@pytest.mark.parametrize(
    "value", ["²", "-1", "soon", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"]
)
def test_a_retry_after_that_says_no_time_is_five_seconds(value: str) -> None:
    assert fetch.SiteResponse(429, "", {"retry-after": value}, b"", "").wait(0) == 5.0


def test_a_busy_site_that_says_no_time_is_asked_more_and_more_seldom() -> None:
    busy = fetch.SiteResponse(429, "", {}, b"", "")
    assert [busy.wait(tried) for tried in (0, 1, 2, 3, 4, 900)] == [5, 10, 20, 40, 60, 60]


def test_a_used_up_rate_limit_is_waited_for() -> None:
    """As GitHub's: a 403 that names the end of the hour."""
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 90)}
    used_up = fetch.SiteResponse(403, "", headers, b"", "")
    assert used_up.is_busy
    assert 80 < used_up.wait(0) < 91
    assert not fetch.SiteResponse(
        403, "", {**headers, "x-ratelimit-remaining": "9"}, b"", ""
    ).is_busy


@pytest.mark.slow  # Retry-After counts whole seconds
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_site_is_given_the_time_that_it_asks_for(wiki: LiveSite, status: int) -> None:
    good = wiki.replies["/docs/b"]
    assert isinstance(good, Reply)
    busy = Reply(status=status, headers={"Retry-After": "1"})
    wiki.replies["/docs/b"] = [busy, good]
    assert "b" in pages(read(reader(wiki)))
    first, second = (one.when for one in wiki.asked if one.path == "/docs/b")
    assert second - first >= 0.95


def test_headers_that_trickle_do_not_hold_a_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PATIENCE", 0.3)
    over = threading.Event()

    def trickle(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
        with suppress(OSError):
            while not over.wait(0.02):
                connection.sendall(b"a")
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=trickle, args=(listener,), daemon=True)
        server.start()
        ending = threading.Timer(20, over.set)  # else the test would never end
        ending.start()
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(fetch.FetchFailed, match="took longer than 0 s"):
            fetch.Fetcher(origin, 100, {}).get(f"{origin}/a")
        ending.cancel()
        over.set()
        server.join()


def test_a_connection_that_was_lost_is_made_again(wiki: LiveSite) -> None:
    good = wiki.replies["/docs/b"]
    assert isinstance(good, Reply)
    wiki.replies["/docs/b"] = [Reply(drop=True), good]
    assert "b" in pages(read(reader(wiki)))


def test_a_site_that_goes_down_ends_the_sync(wiki: LiveSite) -> None:
    paths = [f"/docs/{n}" for n in range(20)]
    wiki.sitemap(*paths)
    for path in paths:
        wiki.put(path, drop=True)
    with pytest.raises(AskdocsError, match=r"stopped answering after 1 pages.*nothing was"):
        read(reader(wiki))
    assert len({path for path in wiki.paths() if path in paths}) == reading.DOWN


def test_a_site_that_is_not_there_is_an_error() -> None:
    with live_site() as live:
        url = live.url
    with pytest.raises(AskdocsError, match=r"cannot be read: nothing answers at its port: check"):
        read(Site(url, SitesSettings(rate=100)))
    with pytest.raises(
        AskdocsError, match=r"cannot be read: its host name cannot be resolved: check"
    ):
        read(Site("http://nowhere.invalid/", SitesSettings(rate=100)))


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(status=401), r"requires authentication \(status 401\): set ASKDOCS_SITES_HEADERS"),
        (Reply(status=403), r"requires authentication \(status 403\): set ASKDOCS_SITES_HEADERS"),
        (Reply(status=302, headers={"Location": "/login"}), "set ASKDOCS_SITES_HEADERS"),
        (
            Reply(status=302, headers={"Location": "https://sso.example.com/saml2/x"}),
            "set ASKDOCS_SITES_HEADERS",
        ),
        (
            Reply(status=301, headers={"Location": "https://new.example.com/docs/"}),
            "redirects to https://new.example.com/docs/: name that address",
        ),
        (Reply(status=404), "answers 404: is the address right"),
        (Reply(status=500), "answers 500"),
        (
            Reply(b"{}", type="application/json"),
            "is application/json, and no page: name the wiki's start page",
        ),
        (Reply(b"<main></main>"), "has no page with text"),
    ],
)
def test_a_start_page_that_cannot_be_read_is_an_error_with_the_fix(
    wiki: LiveSite, reply: Reply, message: str
) -> None:
    wiki.put("/login", '<form><input type="password"></form>')
    wiki.replies["/docs/"] = reply
    with pytest.raises(AskdocsError, match=message):
        read(reader(wiki))


@pytest.mark.parametrize("status", [500, 503])
def test_a_sitemap_that_cannot_be_read_is_an_error(wiki: LiveSite, status: int) -> None:
    wiki.put("/sitemap.xml", status=status, headers={"Retry-After": "9999"})
    with pytest.raises(AskdocsError, match=rf"/sitemap\.xml answers {status}: try later"):
        read(reader(wiki))


def test_a_part_of_a_list_of_sitemaps_that_is_missing_is_an_error(wiki: LiveSite) -> None:
    part = f"<sitemap><loc>{wiki.url}/gone.xml</loc></sitemap>"
    wiki.put("/sitemap.xml", sitemap_xml(part, "sitemapindex"))
    with pytest.raises(AskdocsError, match=r"/gone\.xml answers 404"):
        read(reader(wiki))


def test_a_page_of_html_in_place_of_a_sitemap_is_none(wiki: LiveSite) -> None:
    wiki.put("/sitemap.xml", "<!DOCTYPE html><html><body>Not found</body></html>")
    assert len(pages(read(reader(wiki)))) == 4


def test_redirects_inside_the_site_are_followed_and_others_are_not(wiki: LiveSite) -> None:
    wiki.put("/docs/old", status=301, headers={"Location": "/docs/b"})
    wiki.put("/docs/out", status=302, headers={"Location": "http://127.0.0.1:1/docs/x"})
    wiki.put("/docs/blog", status=302, headers={"Location": "/blog/"})
    wiki.sitemap("/docs/old", "/docs/out", "/docs/blog")
    found = pages(read(reader(wiki)))
    assert {path: page.url for path, page in found.items()} == {
        "./": wiki.url + "/docs/",
        "b": wiki.url + "/docs/b",
    }


def test_a_canonical_address_leaves_a_copy_out_and_renames_no_page(wiki: LiveSite) -> None:
    head = f'<link rel="canonical" href="{wiki.url}/docs/b">'
    wiki.page("/docs/b?v=1", "B", "copy", head=head)
    wiki.page("/docs/b", "B", head=head)
    closed = f'<link rel=canonical href="{wiki.url}/docs/hr/pay.html">'
    wiki.page("/docs/d", "D", '<a href="c.html">c</a>', closed)
    wiki.sitemap("/docs/b?v=1", "/docs/b", "/docs/d")
    found = pages(read(reader(wiki)))
    assert {path: page.url for path, page in found.items()} == {
        "./": wiki.url + "/docs/",
        "b": wiki.url + "/docs/b",
        "d": wiki.url + "/docs/d",
    }


SPELLINGS = ("/docs/%68r/pay.html", "/docs/x/%2e%2e/hr/pay.html", "/docs/%2568r/pay.html",
             "/docs//hr/pay.html", "/docs/%%368r/pay.html", "/docs/x/..;/hr/pay.html",
             "/docs/x%2f..%2fhr/pay.html", "/docs/hr;v=1/pay.html",
             "/docs/x/..%5chr/pay.html")  # fmt: skip


@pytest.mark.parametrize("door", ["link", "sitemap", "redirect"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_closed_page_has_one_spelling(wiki: LiveSite, spelling: str, door: str) -> None:
    for path in {*SPELLINGS, "/docs/hr/pay.html"}:  # this server takes them all for one page
        wiki.page(path, "Pay", "98,765 euros")
    listed = ["/docs/z", "/docs/hr/pay.html"]
    wiki.page("/docs/z", "Z")
    if door == "link":
        wiki.page("/docs/", "Home", f'<a href="{spelling}">p</a> <a href=hr/pay.html>pay</a>')
    elif door == "sitemap":
        wiki.sitemap(spelling, *listed)
    else:
        wiki.put("/docs/r", status=302, headers={"Location": spelling})
        wiki.sitemap("/docs/r", *listed)
    found = pages(read(reader(wiki)))
    assert {path for path, page in found.items() if "98,765" in page.text} == {"hr/pay.html"}


def test_pages_that_ask_for_it_are_left_out_and_their_links_followed(wiki: LiveSite) -> None:
    wiki.page("/docs/a", "A", '<a href="c.html">C</a>', "<meta name=robots content=noindex>")
    wiki.page("/docs/b", "B", '<a href="d">D</a>', "<meta name=robots content=nofollow>")
    wiki.put("/docs/c.html", "<main>c<a href=e>e</a><a rel=nofollow href=f>f</a></main>",
             headers={"X-Robots-Tag": "noindex"})  # fmt: skip
    for name in "def":
        wiki.page(f"/docs/{name}", name.upper())
    assert list(pages(read(reader(wiki)))) == ["./", "b", "e"]
    assert not {"/docs/d", "/docs/f"} & set(wiki.paths())


def test_what_is_left_out_is_reported_with_the_reason(wiki: LiveSite) -> None:
    links = "".join(f"<a href={name}>{name}</a> " for name in "bcdefgh")
    wiki.page("/docs/", "Home", links)
    wiki.page("/docs/c", "C", head=f"<link rel=canonical href='{wiki.url}/docs/b'>")
    wiki.page("/docs/d", "B")
    wiki.put("/docs/e", "<main></main>")
    wiki.put("/docs/f", "<body class='mediawiki ns-special'><main>x</main>")
    wiki.put("/docs/g", "<main>x</main>", headers={"X-Robots-Tag": "noindex"})
    wiki.put("/docs/h", "<main><h1>Pumps</h1></main>")
    found = read(reader(wiki))
    assert {one.path: one.why for one in found if isinstance(one, LeftOut)} == {
        "c": "copy of another page",
        "d": "copy of another page",
        "e": "no text",
        "f": "special page of MediaWiki",
        "g": "marked noindex",
        "h": "no text",
    }
    assert list(pages(found)) == ["./", "b"]


def test_only_html_is_a_page_and_files_are_not_asked_for(wiki: LiveSite) -> None:
    wiki.page("/docs/", "Home", "<a href=x.pdf>p</a> <a href=data>d</a> <a href=mailto:a@b>m</a>")
    wiki.put("/docs/data", "{}", type="application/json")
    assert list(pages(read(reader(wiki)))) == ["./"]
    assert "/docs/x.pdf" not in wiki.paths()


def test_a_page_that_shows_what_another_shows_is_left_out(wiki: LiveSite) -> None:
    wiki.page(
        "/docs/index.html", "Home", '<a href="a">A</a> <a href="/docs/b?from=home#more">B</a>'
    )
    wiki.page("/docs/c.html", "C", '<a href="index.html">home</a>')
    assert list(pages(read(reader(wiki)))) == ["./", "a", "b", "c.html"]


def test_a_crawl_finds_new_pages_although_others_are_as_they_were(wiki: LiveSite) -> None:
    known = stamps(read(reader(wiki)))
    wiki.page("/docs/c.html", "C", '<a href="deep/new">new</a>')
    wiki.page("/docs/deep/new", "New")
    found = read(reader(wiki), known)
    assert set(pages(found)) == {"c.html", "deep/new"}
    assert {one.path for one in found if isinstance(one, Unchanged)} == {"./", "a", "b"}


def test_beyond_the_limit_pages_are_reported_and_stay(wiki: LiveSite) -> None:
    known = stamps(read(reader(wiki)))
    found = read(reader(wiki, pages=2), known)
    (broken,) = [one for one in found if isinstance(one, Broken)]
    assert "up to 2 pages; set ASKDOCS_SITES_PAGES" in broken.why
    assert {one.path for one in found if not isinstance(one, Changed)} == set(known)


def test_pages_come_as_they_are_read(wiki: LiveSite) -> None:
    found = iter(reader(wiki).read({}))
    next(found)
    assert "/docs/a" not in wiki.paths()


@pytest.mark.parametrize(
    ("path", "root"),
    [("/docs", "/docs/"), ("/docs/", "/docs/"), ("/docs/index.html", "/docs/"), ("/w/Main", "/w/")],
)
def test_the_site_is_the_folder_of_its_start_page(wiki: LiveSite, path: str, root: str) -> None:
    wiki.page("/docs", "Home", '<a href="/docs/a">A</a>')
    wiki.page("/docs/index.html", "Home", '<a href="/docs/a">A</a>')
    wiki.page("/w/Main", "Main", '<a href="/w/Other">O</a> <a href="/docs/a">no</a>')
    wiki.page("/w/Other", "Other")
    found = pages(read(reader(wiki, path)))
    urls = [page.url for page in found.values()]
    assert len(urls) >= 2
    assert not [path for path in found if "//" in path]
    assert all(url.startswith(wiki.url + root) or url + "/" == wiki.url + root for url in urls)


def test_headers_are_sent_to_their_own_host_alone(wiki: LiveSite) -> None:
    host = wiki.url.removeprefix("http://")
    lines = f"{host} Authorization: Bearer abc\nother.example Cookie: a=b\n"
    read(reader(wiki, headers=SecretStr(lines)))
    assert {one.headers.get("Authorization") for one in wiki.asked} == {"Bearer abc"}
    assert {one.headers.get("Cookie") for one in wiki.asked} == {None}


def test_headers_that_cannot_be_read_are_named_without_their_value() -> None:
    with pytest.raises(AskdocsError, match="ASKDOCS_SITES_HEADERS, line 1") as caught:
        Site("http://a/", SitesSettings(headers=SecretStr("Authorization: hidden")))
    assert "hidden" not in str(caught.value)


def test_an_address_with_a_password_or_of_no_site_is_refused() -> None:
    with pytest.raises(AskdocsError, match="ASKDOCS_SITES_HEADERS") as caught:
        Site("https://me:hidden@wiki.example.com/")
    assert "hidden" not in str(caught.value)
    with pytest.raises(AskdocsError, match="is not the address of a site"):
        Site("ftp://wiki.example.com/")


def test_a_site_is_opened_as_one() -> None:
    source = open_source("https://wiki.example.com/docs/", "site", "")
    assert isinstance(source, Site)
    assert source.name == "https://wiki.example.com/docs/"


def test_a_page_in_another_encoding_is_read_as_the_server_says(wiki: LiveSite) -> None:
    data = "<main><h1>Größe</h1><p>Groß.</p></main>".encode("latin-1")
    wiki.put("/docs/b", data, type="text/html; charset=ISO-8859-1")
    assert pages(read(reader(wiki)))["b"].title == "Größe"


@pytest.mark.parametrize(
    "data",
    [b"", b"text", b"<html></html>", b'<!DOCTYPE x [<!ENTITY a "b">]><urlset>&a;</urlset>',
     b"\x1f\x8bbroken", gzip.compress(b"<urlset>" + b" " * (sitemap.LARGEST + 1))],
)  # fmt: skip
def test_what_is_no_sitemap_is_refused_with_the_reason(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        sitemap.parse(data)


@given(st.binary(max_size=60))
def test_whatever_the_bytes_they_are_a_sitemap_or_refused(data: bytes) -> None:
    for text in (data, b"<urlset><url><loc>" + data + b"</loc></url></urlset>"):
        try:
            sitemap.parse(text)
        except ValueError:
            continue


_PAGE = b"<main><h1>B</h1><p>Text.</p></main>"
_RAW = zlib.compressobj(wbits=-15)


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("identity", _PAGE),
        ("gzip", gzip.compress(_PAGE[:9]) + gzip.compress(_PAGE[9:])),
        ("x-gzip", gzip.compress(_PAGE)),
        ("deflate", zlib.compress(_PAGE)),
        ("deflate", _RAW.compress(_PAGE) + _RAW.flush()),
    ],
    ids=itertools.count(),
)
def test_packed_pages_are_read(wiki: LiveSite, encoding: str, data: bytes) -> None:
    wiki.put("/docs/b", data, headers={"Content-Encoding": encoding})
    assert pages(read(reader(wiki)))["b"].title == "B"


@pytest.mark.parametrize(
    ("encoding", "packed", "why"),
    [
        ("gzip", gzip.compress(bytes(2**25)), "larger than 4 MiB"),
        ("deflate", zlib.compress(bytes(2**25), 9), "larger than 4 MiB"),
        ("br", brotli.compress(bytes(2**26), quality=1), "packed as br, which was not asked for"),
        ("gzip, br", b"x", "packed as gzip, br, which was not asked for"),
        ("gzip", b"no gzip", "cannot be unpacked"),
        ("gzip", gzip.compress(_PAGE)[:-20], "breaks off in the middle"),
    ],
    ids=itertools.count(),
)
def test_what_unpacks_to_too_much_is_not_unpacked(
    wiki: LiveSite, encoding: str, packed: bytes, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "LARGEST", 2**22)
    wiki.put("/docs/b", packed, headers={"Content-Encoding": encoding})
    tracemalloc.start()
    try:
        found = read(reader(wiki))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    [broken] = [one for one in found if isinstance(one, Broken)]
    assert broken.path == "b"
    assert why in broken.why
    assert most < 5 * fetch.LARGEST


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_document_type_is_refused_in_every_encoding(encoding: str) -> None:
    text = '<!DOCTYPE x [<!ENTITY a "b">]><urlset><url><loc>&a;</loc></url></urlset>'
    with pytest.raises(ValueError, match="document type"):
        sitemap.parse(("\ufeff" * (encoding[-1] == "e") + text).encode(encoding))


def test_sitemaps_that_go_on_for_ever_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each index names two more, as deep as it is asked."""
    asked: list[str] = []

    def get(address: str) -> bytes:
        asked.append(address)
        inner = "".join(f"<sitemap><loc>{address}{n}</loc></sitemap>" for n in "01")
        return sitemap_xml(inner, "sitemapindex").encode()

    with pytest.raises(ValueError, match="index of indexes of indexes: name the address of a part"):
        sitemap.every_page(["https://x.example/"], get)
    assert len(asked) < 10


def test_sitemaps_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    many = "".join(f"<sitemap><loc>{n}</loc></sitemap>" for n in range(sitemap.FILES + 1))
    with pytest.raises(ValueError, match="more than 1,000 sitemaps"):
        sitemap.every_page(["x"], lambda _: sitemap_xml(many, "sitemapindex").encode())
    monkeypatch.setattr(sitemap, "PAGES", 9)
    pages = "".join(f"<url><loc>{n}</loc></url>" for n in range(6))

    def get(address: str) -> bytes:
        if address == "x":
            two = "<sitemap><loc>y</loc></sitemap><sitemap><loc>z</loc></sitemap>"
            return sitemap_xml(two, "sitemapindex").encode()
        return sitemap_xml(pages.replace("<loc>", f"<loc>{address}")).encode()

    with pytest.raises(ValueError, match="more than 9 pages"):
        sitemap.every_page(["x"], get)


def test_sitemaps_have_a_time_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitemap, "SECONDS", 0.0)
    two = "<sitemap><loc>y</loc></sitemap><sitemap><loc>z</loc></sitemap>"
    with pytest.raises(ValueError, match="2 more are waiting after 0 minutes"):
        sitemap.every_page(["x"], lambda _: sitemap_xml(two, "sitemapindex").encode())
