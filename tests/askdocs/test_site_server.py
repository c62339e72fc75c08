"""What the server of a site shows of a folder, and what it does not."""

import os
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from askdocs.site import app


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
        *("/guide/", "/guide", "/", "/pipe.html", "/.git/", "//etc/passwd"),
    ],
)
def test_hidden_files_folders_and_what_lies_outside_are_not_there(
    site: TestClient, path: str
) -> None:
    assert site.get(path).status_code == 404


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
