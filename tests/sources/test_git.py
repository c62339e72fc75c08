"""A wiki in a Git repository, served by Git's own HTTP backend."""

import base64
import os
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from core.errors import AskdocsError
from core.settings import SecretStr
from tests.speaking import Handler, serving
from wiki.index.index import Index, writing
from wiki.sources import git
from wiki.sources.git import Git
from wiki.sources.hosted import place_of
from wiki.sources.source import Broken, Changed, Item, LeftOut, Unchanged
from wiki.sources.spec import Spec
from wiki.sources.sync import look, sync
from wiki.sources.synced import Synced
from wiki.sources.tokens import Token, token_for

BACKEND = "/usr/lib/git-core/git-http-backend"
SECRET = "glpat-Zx81"
pytestmark = pytest.mark.skipif(
    not (shutil.which("git") and os.path.exists(BACKEND)), reason="Git's server is not installed"
)


class Repository:
    """A repository that people push to, and the address that it is served at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.secret = ""
        self.fault: int | str = ""
        """What the next request for a pack gets: a status, or "truncated"."""
        self.seen: list[str] = []
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.email", "a@example.com")
        self.git("config", "user.name", "A")

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", "-C", str(self.folder), *arguments], check=True)

    def commit(self, files: dict[str, str | None]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=x")

    def read(self, part: str = "", known: dict[str, str] | None = None) -> list[Item]:
        clones = self.folder.parent / "clones"
        token = Token("", self.secret) if self.secret else None
        return list(Git(self.url + part, "", token, clones).read(known or {}))


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    made = Repository(tmp_path / "team")

    class Serve(Handler):
        def do_GET(self) -> None:
            self._run(b"")

        def do_POST(self) -> None:
            self._run(self.rfile.read(int(self.headers.get("content-length", 0))))

        def _run(self, body: bytes) -> None:
            made.seen.append(self.headers.get("authorization", ""))
            wanted = base64.b64encode(f"oauth2:{SECRET}".encode()).decode()
            if made.secret and made.seen[-1] != f"Basic {wanted}":
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            fault, made.fault = made.fault, made.fault if self.command == "GET" else ""
            if isinstance(fault, int) and self.command == "POST":
                self.bare(fault, {"Retry-After": "7"})
                return
            split = urllib.parse.urlsplit(self.path)
            env = {
                "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(tmp_path),
                "GIT_HTTP_EXPORT_ALL": "1", "REQUEST_METHOD": self.command,
                "PATH_INFO": re.sub(r".*\.git(?=/)", "/team/.git", split.path, count=1),
                "QUERY_STRING": split.query, "CONTENT_TYPE": self.headers.get("content-type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
                "HTTP_GIT_PROTOCOL": self.headers.get("git-protocol", ""),
            }  # fmt: skip
            done = subprocess.run([BACKEND], env=env, input=body, capture_output=True, check=True)
            head, _, said = done.stdout.partition(b"\r\n\r\n")
            lines = [line.split(": ", 1) for line in head.decode().split("\r\n")]
            told = dict(line for line in lines if len(line) == 2)
            self.send_response(int(told.pop("Status", "200").split()[0]))
            for name, value in {**told, "Content-Length": str(len(said))}.items():
                self.send_header(name, value)
            self.end_headers()
            is_cut = fault == "truncated" and b"PACK" in said
            if fault == "truncated" and not is_cut:
                made.fault = fault  # the list of branches comes by a request of its own
            self.wfile.write(said[: len(said) - 30] if is_cut else said)
            self.close_connection = is_cut

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Serve)) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}/team.git"
        yield made


def urls(items: list[Item]) -> list[str]:
    return [item.page.url for item in items if isinstance(item, Changed)]


def stamps(items: list[Item]) -> dict[str, str]:
    return {item.page.path: item.stamp for item in items if isinstance(item, Changed)}


def test_a_repository_is_cloned_once_and_followed_and_links_lead_to_the_service(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit(
        {
            "README.md": "# Home\n\nSee [setup](docs/setup.md#first-run).",
            "docs/setup.md": "# Setup\n\n## First run\n\nText.",
            "old.md": "Old.",
        }
    )
    first = repository.read()
    base = repository.url.removesuffix(".git") + "/blob/HEAD/"
    assert urls(first) == [f"{base}README.md", f"{base}docs/setup.md", f"{base}old.md"]
    read = {item.page.path: item.page for item in first if isinstance(item, Changed)}
    setup = read["docs/setup.md"]
    assert [section.anchor for section in setup.sections] == ["setup", "first-run"]
    repository.commit({"docs/setup.md": "# Setup\n\nNew.", "old.md": None, "new.md": "New."})
    second = repository.read(known=stamps(first))
    assert urls(second) == [f"{base}docs/setup.md", f"{base}new.md"]
    assert [item.path for item in second if isinstance(item, Unchanged)] == ["README.md"]
    [clone] = [path for path in (tmp_path / "clones").iterdir() if path.is_dir()]
    shallow = (clone / ".git" / "shallow").read_text().split()
    assert len(shallow) == 2  # of two histories, one commit each


def test_a_look_reads_a_new_commit_with_its_deletions_and_otherwise_nothing(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit({"a.md": "# A\n\nOld.", "b.md": "# B", "c.md": "# C"})
    opened = partial(writing, tmp_path / "index.db")
    spec = {"kind": "git", "site_url": ""}

    def source() -> Git:
        token = Token("", repository.secret) if repository.secret else None
        return Git(repository.url, "", token, tmp_path / "clones")

    def looked() -> tuple[tuple[str, ...], ...]:
        done = look(source(), opened, spec=spec)
        return done.added, done.changed, done.removed

    sync(source(), opened, spec=spec)
    repository.seen.clear()
    assert list(source().recent({"a.md": "1"}, "another commit"))
    with opened() as writer:
        [stored] = writer.sources()
    state = stored.spec["state"]["text"]
    repository.seen.clear()
    assert list(source().recent({"a.md": "1"}, state)) == []
    assert len(repository.seen) <= 3
    assert looked() == ((), (), ())

    repository.commit({"a.md": "# A\n\nNew.", "b.md": None, "d.md": "# D"})
    list(source().recent({}, state))  # as by a look that was killed before it wrote
    repository.secret = SECRET
    with pytest.raises(AskdocsError, match="no token is set"):
        look(Git(repository.url, "", None, tmp_path / "clones"), opened, spec=spec)
    assert looked() == (("d.md",), ("a.md",), ("b.md",))
    assert looked() == ((), (), ())
    done = sync(source(), opened, spec=spec)
    assert (done.is_different, done.unchanged) == (False, 3)


def test_a_wiki_of_a_gitlab_below_a_path_leads_to_its_pages_and_anchors(
    repository: Repository,
) -> None:
    repository.commit(
        {
            "home.md": "# Home\n\nSee [setup](guide/set-up#one-two).",
            "guide/set-up.md": "# Set up\n\n## One & two\n\nSee [more](guide/more), [it](./more), "
            "[home](/home).\n\n## 2026\n\nText.\n\n## 2026\n\nText.",
            "guide/more.md": "More.",
            "_sidebar.md": "- [Home](home)",
        }
    )
    host = repository.url.removesuffix("/team.git")
    repository.url = f"{host}/gitlab/group/sub/app.wiki.git"
    wiki = f"{host}/gitlab/group/sub/app/-/wikis"
    read = {item.page.url: item.page for item in repository.read() if isinstance(item, Changed)}
    assert sorted(read) == [wiki, f"{wiki}/guide/more", f"{wiki}/guide/set-up"]
    page = read[f"{wiki}/guide/set-up"]
    anchors = [section.anchor for section in page.sections]
    assert anchors == ["set-up", "one-two", "anchor-2026", "anchor-2026-1"]
    links = [urllib.parse.urljoin(page.url, to) for to in re.findall(r"\]\((.*?)\)", page.text)]
    assert links == [f"{wiki}/guide/more", f"{wiki}/guide/more", wiki]
    assert "(wikis/guide/set-up#one-two)" in read[wiki].text


def test_a_branch_and_a_folder_are_read_alone_and_a_generators_address_wins(
    repository: Repository,
) -> None:
    repository.commit({"a.md": "x"})
    repository.git("checkout", "--quiet", "-b", "release/2")
    site = "site_url: https://docs.example.com/"
    repository.commit({"site/mkdocs.yml": site, "site/docs/guide.md": "# Guide"})
    assert urls(repository.read("#release/2:site/docs")) == ["https://docs.example.com/guide/"]
    with pytest.raises(AskdocsError, match="has no folder 'nowhere'"):
        repository.read("#main:nowhere")
    with pytest.raises(AskdocsError, match="has no branch 'gone'"):
        repository.read("#gone")


def test_a_private_repository_needs_the_token_which_is_in_no_argument_or_message(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit({"a.md": "Text"})
    repository.secret = SECRET
    ran: list[list[str]] = []
    real = subprocess.run

    def noted(command: list[str], **how: object) -> object:
        ran.append(command)
        return real(command, **how)  # type: ignore[call-overload]

    monkeypatch.setattr(git.subprocess, "run", noted)
    assert len(urls(repository.read())) == 1
    assert any("fetch" in command for command in ran)
    assert SECRET not in str(ran)
    repository.secret = "another"
    with pytest.raises(AskdocsError, match="the token was refused") as refused:
        repository.read()
    assert "another" not in str(refused.value)
    assert token_for(SecretStr(f"x.example {SECRET}"), "y.example") is None
    assert SECRET not in repr(token_for(SecretStr(f"x.example {SECRET}"), "X.example"))
    with pytest.raises(AskdocsError, match="line 1: write the host and its token") as wrong:
        token_for(SecretStr(SECRET), "x.example")
    assert SECRET not in str(wrong.value)


@pytest.mark.parametrize("fault", [401, 403, 429, 500, "truncated"])
def test_a_fetch_that_fails_in_the_middle_loses_no_page(
    repository: Repository, tmp_path: Path, fault: int | str
) -> None:
    """As with a token that expires between two requests of one fetch."""
    opened = partial(writing, tmp_path / "index.db")

    def synced() -> Synced:
        clones = tmp_path / "clones"
        token = Token("", repository.secret)
        return sync(Git(repository.url, "", token, clones), opened, spec={"kind": "git"})

    repository.secret = SECRET
    repository.commit({"a.md": "Text", "b.md": "Text"})
    assert len(synced().added) == 2
    repository.commit({"a.md": "Other text", "b.md": None})
    repository.fault = fault
    with pytest.raises(AskdocsError, match="cannot be read") as failed:
        synced()
    assert SECRET not in str(failed.value)
    with closing(Index(tmp_path / "index.db")) as index:
        assert sorted(index.paths()) == ["a.md", "b.md"]
    done = synced()
    assert (done.changed, done.removed) == (("a.md",), ("b.md",))
    packs = (tmp_path / "clones").glob("*/.git/objects/pack/*.pack")
    assert len(list(packs)) == 2  # the clone is followed, not made again


def test_nothing_of_a_repository_runs_and_no_link_in_it_leads_out(
    repository: Repository, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.md"
    secret.write_text("# Not for you")
    ran = tmp_path / "ran"
    repository.commit(
        {
            "a.md": "Text",
            ".gitattributes": "*.md filter=evil\n",
            ".gitmodules": f'[submodule "x"]\npath = x\nurl = {tmp_path}\n',
            "big.pdf": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        }
    )
    (repository.folder / "leak.md").symlink_to(secret)
    (repository.folder / "leak").symlink_to(tmp_path)
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message=x")
    repository.read()
    [clone] = [path for path in (tmp_path / "clones").iterdir() if path.is_dir()]
    for hook in ("post-checkout", "reference-transaction", "post-merge"):
        (clone / ".git" / "hooks").mkdir(exist_ok=True)
        (clone / ".git" / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (clone / ".git" / "hooks" / hook).chmod(0o755)
    repository.commit({"b.md": "Text"})
    items = repository.read()
    assert not ran.exists()
    assert "Not for you" not in str(items)
    assert LeftOut("big.pdf", git.LFS) in items
    assert not [item for item in items if isinstance(item, Broken)]


def test_a_clone_that_was_broken_by_a_kill_is_made_again(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit({"a.md": "Text"})
    repository.read()
    [clone] = [path for path in (tmp_path / "clones").iterdir() if path.is_dir()]
    (clone / ".git" / "index.lock").touch()
    assert len(urls(repository.read())) == 1
    for pack in (clone / ".git" / "objects").rglob("*"):
        if pack.is_file():
            pack.chmod(0o600)
            pack.write_bytes(b"")
    assert len(urls(repository.read())) == 1


def test_each_fetch_is_a_pack_and_too_many_packs_are_a_new_clone(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git, "PACKS", 1)
    packs = []
    for text in ("1", "2", "3"):
        repository.commit({"a.md": text})
        repository.read()
        [clone] = [path for path in (tmp_path / "clones").iterdir() if path.is_dir()]
        packs.append(len(list(clone.glob(".git/objects/pack/*.pack"))))
        assert not list(clone.glob(".git/objects/??/*"))
    assert packs == [1, 2, 1]


@pytest.mark.parametrize(
    "address",
    [
        "https://x.example/a.git#--upload-pack=touch",
        "https://x.example/a.git#a..b",
        "https://x.example/a.git#main:../../etc",
        "https://x.example/a.git#main:a/.git/hooks",
        "https://user:secret@x.example/a.git",
        "https://user:secret@x.example/a.git#a..b",
        "https://user:secret@x.example/a.git#main:../../etc",
        "https://x.example/a.git#main:a%00b",
    ],
)
def test_an_address_that_could_mean_something_else_to_git_is_refused(address: str) -> None:
    with pytest.raises(AskdocsError) as refused:
        Spec.named(address)
    assert "user:secret" not in str(refused.value)


@pytest.mark.parametrize("place", ["ext::sh -c touch% /tmp/x", "file:///etc", "ssh://x.example/a"])
def test_other_ways_to_a_repository_than_http_are_none(place: str, tmp_path: Path) -> None:
    """Spec takes them for folders; git itself refuses them, too."""
    assert Spec.named(place).kind != "git"
    with pytest.raises(AskdocsError, match="cannot be read"):
        list(Git(place, "", None, tmp_path / "clones").read({}))


@pytest.mark.parametrize(
    ("address", "path", "url"),
    [
        ("https://github.com/o/r.git", "a b.md", "https://github.com/o/r/blob/HEAD/a%20b.md"),
        ("https://gitlab.com/o/r.git#x:d", "a.md", "https://gitlab.com/o/r/-/blob/x/d/a.md"),
        (
            "https://host.example/gitlab/group/sub/app.git",
            "a.md",
            "https://host.example/gitlab/group/sub/app/-/blob/HEAD/a.md",
        ),
        (
            "https://host.example/gitlab/group/sub/app.wiki.git",
            "a.md",
            "https://host.example/gitlab/group/sub/app/-/wikis/a",
        ),
        (
            "https://code.example.com/group/sub/app.wiki.git",
            "home.md",
            "https://code.example.com/group/sub/app/-/wikis",
        ),
        (
            "https://host.example/gitea/o/r.wiki.git",
            "a.md",
            "https://host.example/gitea/o/r/wiki/a",
        ),
        ("https://codeberg.org/o/r.git#x", "a.md", "https://codeberg.org/o/r/src/branch/x/a.md"),
        ("https://github.com/o/r.wiki.git", "Set-Up.md", "https://github.com/o/r/wiki/Set-Up"),
        ("https://github.com/o/r.wiki.git", "Home.md", "https://github.com/o/r/wiki"),
        ("https://gitlab.com/o/r.wiki.git", "a/b.md", "https://gitlab.com/o/r/-/wikis/a/b"),
    ],
)
def test_pages_are_shown_where_the_service_shows_them(address: str, path: str, url: str) -> None:
    assert place_of(git.Address.parse(address), "")(path) == url


@pytest.mark.parametrize(
    ("page", "repository"),
    [
        ("https://host.example/gitlab/g/sub/app/-/wikis/a/b", "host.example/gitlab/g/sub/app"),
        ("https://gitlab.com/o/r/-/wikis", "gitlab.com/o/r"),
        ("https://github.com/o/r/wiki/Set-Up", "github.com/o/r"),
    ],
)
def test_the_address_of_a_wikis_page_names_its_repository(page: str, repository: str) -> None:
    with pytest.raises(AskdocsError, match=re.escape(f"sync https://{repository}.wiki.git")):
        Spec.named(page)
    assert Spec.named(page, "site").kind == "site"
