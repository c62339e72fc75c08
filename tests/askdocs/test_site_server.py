"""What the server of a site shows of a folder, and what it does not."""

import os
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from askdocs.wikis.site import HEALTH, app
from core.tasks import Tasks

TAG = '<script src="http://127.0.0.1:8080/embed.js" async></script>'


@pytest.fixture
def site(tmp_path: Path) -> TestClient:
    secret = tmp_path / "secret.html"
    secret.write_text("secret")
    root = tmp_path / "site"
    for name in (".git/config", ".env", "guide/.htpasswd", ".well-known/a.txt", "guide/a.html"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("text")
    (root / "picture.svg").write_text("<svg/>")
    (root / "without-suffix").write_text("<script>")
    (root / "linked.html").symlink_to(secret)
    (root / "linked").symlink_to(tmp_path)
    os.mkfifo(root / "pipe.html")
    return TestClient(app(root))


@pytest.mark.parametrize(
    "path",
    [
        *("/.git/config", "/.env", "/guide/.htpasswd", "/%2egit/config", "/guide/..%2f.env"),
        *("/linked.html", "/linked/secret.html", "/..%2fsecret.html", "/%2e%2e/secret.html"),
        *("/guide/", "/guide", "/pipe.html", "/.git/", "//etc/passwd"),
    ],
)
def test_hidden_files_folders_and_what_lies_outside_are_not_there(
    site: TestClient, path: str
) -> None:
    assert site.get(path).status_code == 404


def test_a_folder_without_a_front_page_lists_its_pages(tmp_path: Path, site: TestClient) -> None:
    front = site.get("/")
    assert front.status_code == 200
    assert re.findall('href="([^"]*)', front.text) == ["guide/a.html"]
    (tmp_path / "a b.html").write_text("<title>Löschen &amp;\n sichern</title>")
    (tmp_path / "c.htm").write_bytes("<title>Löschen</title>".encode("latin-1"))
    listed = TestClient(app(tmp_path, TAG)).get("/").text
    links = re.findall('<a href="([^"]*)">([^<]*)', listed)
    assert ("a%20b.html", "Löschen &amp; sichern") in links
    assert ("c.htm", "c.htm") in links
    assert TAG in listed
    (tmp_path / "c.htm").write_text("<title>Löschen und sichern</title>")
    (tmp_path / "a b.html").unlink()
    links = re.findall('<a href="([^"]*)">([^<]*)', TestClient(app(tmp_path, TAG)).get("/").text)
    assert ("c.htm", "Löschen und sichern") in links
    assert "a%20b.html" not in dict(links)


def test_the_list_of_pages_reads_a_page_only_when_it_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<title>old</title>")
    client = TestClient(app(tmp_path))
    first = client.get("/").text
    status = page.stat()
    page.write_text("<title>new</title>")
    os.utime(page, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert client.get("/").text == first
    os.utime(page, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert ">new<" in client.get("/").text


def test_a_folder_without_pages_has_no_front_page(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    assert TestClient(app(tmp_path)).get("/").status_code == 404


def test_a_site_that_can_no_longer_follow_its_folder_says_so(tmp_path: Path) -> None:
    tasks = Tasks()
    site = TestClient(app(tmp_path, tasks=tasks))
    assert site.get(HEALTH).json() == {"status": "ok"}
    tasks.failed("site", OSError("no space left on device"), 0.0)
    assert site.get(HEALTH).json() == {"status": "ok", "degraded": ["site"]}


def test_pages_are_there_with_their_types(site: TestClient) -> None:
    types = {}
    for path in ("/guide/a.html", "/picture.svg", "/without-suffix", "/.well-known/a.txt"):
        reply = site.get(path)
        assert reply.status_code == 200
        assert reply.headers["x-content-type-options"] == "nosniff"
        types[path] = reply.headers["content-type"].partition(";")[0]
    assert types == {
        "/guide/a.html": "text/html",
        "/picture.svg": "image/svg+xml",
        "/without-suffix": "application/octet-stream",
        "/.well-known/a.txt": "text/plain",
    }


@pytest.mark.parametrize("path", ["/", "/guide/"])
def test_a_folder_shows_its_front_page(tmp_path: Path, path: str) -> None:
    page = tmp_path / path.strip("/") / "index.html"
    page.parent.mkdir(exist_ok=True)
    page.write_text("front page")
    assert TestClient(app(tmp_path)).get(path).text == "front page"


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("<body>a</body></html>", f"<body>a{TAG}</body></html>"),
        ("<pre></body></pre><BODY>a</BODY >", f"<pre></body></pre><BODY>a{TAG}</BODY >"),
        ("<p>a", f"<p>a{TAG}"),
        (f"<body>{TAG}</body>", f"<body>{TAG}</body>"),
    ],
)
def test_every_page_of_a_folder_gets_the_box_once(tmp_path: Path, page: str, shown: str) -> None:
    (tmp_path / "a.html").write_text(page)
    (tmp_path / "a.txt").write_text(page)
    site = TestClient(app(tmp_path, TAG))
    reply = site.get("/a.html")
    assert reply.text == shown
    assert int(reply.headers["content-length"]) == len(shown)
    assert site.get("/a.txt").text == page
    etag = {"if-none-match": reply.headers["etag"]}
    assert site.get("/a.html", headers=etag).status_code == 304


def test_a_page_that_is_not_there_has_the_box_too(tmp_path: Path) -> None:
    (tmp_path / "404.html").write_text("<body>nothing</body>")
    reply = TestClient(app(tmp_path, TAG)).get("/missing")
    assert (reply.status_code, reply.text) == (404, f"<body>nothing{TAG}</body>")
