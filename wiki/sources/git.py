"""A wiki in a Git repository: shallow clone at the first sync, fetch afterwards.

A look between two syncs fetches, and reads the files only after a new commit.
"""

import base64
import fcntl
import hashlib
import os
import posixpath
import re
import resource
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from core.control_characters import without
from core.errors import AskdocsError
from wiki.sources.folder import Folder
from wiki.sources.git_address import Address
from wiki.sources.hosted import Hosted, place_of
from wiki.sources.source import Changed, Expected, Item, LeftOut, State
from wiki.sources.suffixes import is_html
from wiki.sources.tokens import Token
from wiki.sources.tree import Tree
from wiki.sources.within import Bounds

# Maximum seconds for all git commands of one sync, and bytes of a file that git writes.
PATIENCE = 3_600.0
LARGEST = 8 * 2**30
# The reference to the fetched commit.
HEAD = "refs/askdocs/head"
# Maximum packs, one per sync with changes; then the clone is recreated.
PACKS = 50
LFS = "in Git LFS, which is not fetched"
DELETED = "deleted"
_POINTER = b"version https://git-lfs.github.com/spec/"
# Environment variables for git. None of git's own: a GIT_DIR would lead elsewhere.
_PASSED = (
    *("PATH", "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
    *("no_proxy", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)
_SETTINGS = {
    # Only these two: `ext::` runs programs, `file:` reads files outside the repository.
    "protocol.allow": "never",
    "protocol.https.allow": "always",
    "protocol.http.allow": "always",
    # The token is for one host, and only the given address is read.
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
    # No code of the repository runs, and its links lead nowhere.
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.symlinks": "false",
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "submodule.recurse": "false",
    "credential.helper": "",
    "gc.auto": "0",
    # Each fetch is stored as a pack, however small: PACKS counts them.
    "fetch.unpackLimit": "1",
    "maintenance.auto": "false",
    "pack.threads": "1",
    "advice.detachedHead": "false",
}
_AWAY = re.compile("unable to access|RPC failed|unexpected disconnect")


class _Local(AskdocsError):
    """The clone may be broken."""


class Git:
    """Implements `wiki.sources.source.Followed` for a repository."""

    def __init__(self, place: str, site_url: str, token: Token | None, clones: Path) -> None:
        """
        Args:
            place: see `Address`.
            site_url: the address of the pages, if not that of the repository.
            token: the access token.
            clones: the folder for clones.

        Raises:
            AskdocsError: the address is invalid.
        """
        self.name = place
        self._at = Address.parse(place)
        self._site_url = site_url
        self._token = token
        key = hashlib.sha256(self._at.url.encode()).hexdigest()[:24]
        self._clone = Path(os.path.abspath(clones)) / key

    def read(self, known: Mapping[str, str], state: str = "") -> Iterator[Item]:
        """See `wiki.sources.source.Source.read`.

        Raises:
            AskdocsError: the repository cannot be fetched, or has no such branch, folder or page.
        """
        with self._locked():
            self._fetch()
            for _, item in self._pages(known):
                yield item
            yield self._commit()

    def recent(
        self, known: Mapping[str, str], state: str = "", ignored: Collection[str] = ()
    ) -> Iterator[Item]:
        """See `wiki.sources.source.Followed.recent`. A commit shows deletions, too.

        Raises:
            AskdocsError: as `read`.
        """
        with self._locked():
            self._fetch()
            commit = self._commit()
            if commit.text == state:
                return
            there: set[str] = set()
            for path, item in self._pages(known):
                there.add(path)
                yield item
            yield from (LeftOut(path, DELETED) for path in sorted(known.keys() - there))
            yield commit

    def _commit(self) -> State:
        return State(self._git("rev-parse", "--verify", HEAD).strip())

    def _pages(self, known: Mapping[str, str]) -> Iterator[tuple[str, Item]]:
        """Yields the pages of the clone by path."""
        root = self._clone / self._at.folder
        if not Bounds(self._clone).holds(root) or not root.is_dir():
            raise AskdocsError(f"{self._at.url} has no folder {self._at.folder!r}")
        pointers = set(_pointers(root))
        yield from ((path, LeftOut(path, LFS)) for path in sorted(pointers))
        for item in self._folder(root).read(known):
            if isinstance(item, Expected | State):
                continue
            path = item.page.path if isinstance(item, Changed) else item.path
            if path not in pointers:
                yield path, item

    def _folder(self, root: Path) -> Folder:
        place = place_of(self._at, self._site_url)
        if self._site_url and not place.is_wiki:
            if is_html(root):
                raise AskdocsError(f"{self.name} is HTML: clone it, and name the folder")
            return Folder(root, self._site_url)
        return Folder.of(root, lambda: Hosted.opened(root, place))

    def _fetch(self) -> None:
        if len(list(self._clone.glob(".git/objects/pack/*.pack"))) > PACKS:
            shutil.rmtree(self._clone)
        for lock in self._clone.glob(".git/**/*.lock"):
            lock.unlink(missing_ok=True)  # left by a killed git; the clone is ours
        is_new = not (self._clone / ".git").is_dir()
        try:
            self._follow()
        except _Local:
            if is_new:
                raise
            shutil.rmtree(self._clone)  # broken by a kill, or manually
            self._follow()

    def _follow(self) -> None:
        if not (self._clone / ".git").is_dir():
            self._clone.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._git("init", "--quiet", "--template=", str(self._clone), within=False)
        wanted = f"refs/heads/{self._at.branch}" if self._at.branch else "HEAD"
        self._git(
            *("fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules"),
            *("--no-write-fetch-head", "--force", "--", self._at.url),
            f"{wanted}:{HEAD}",
        )
        self._git("checkout", "--quiet", "--force", "--detach", HEAD)

    def _git(self, *arguments: str, within: bool = True) -> str:
        """Runs git, and returns its output."""
        where = ("-C", str(self._clone)) if within else ()
        try:
            done = subprocess.run(
                ["git", *where, *arguments],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PATIENCE,
                preexec_fn=_bounded,
                check=False,
            )
        except FileNotFoundError:
            raise AskdocsError("git is not installed: it reads wikis in repositories") from None
        except subprocess.TimeoutExpired:
            raise AskdocsError(
                f"{self._at.url} took longer than {PATIENCE / 60:.0f} minutes"
            ) from None
        if done.returncode:
            raise self._explained(done.stderr.decode(errors="replace"))
        return done.stdout.decode(errors="replace")

    def _explained(self, output: str) -> AskdocsError:
        lines = [without(line).strip() for line in output.splitlines() if line.strip()]
        # A broken transfer is not the clone's fault, whatever git reports after that line.
        away = next((line for line in lines if _AWAY.search(line)), "")
        fatal = next((line for line in lines if line.startswith("fatal: ")), "".join(lines[-1:]))
        why = re.sub("^(?:error|fatal): ", "", away or fatal)[:300]
        host = urlsplit(self._at.url).netloc
        if re.search("Authentication failed|could not read Username|error: 40[13]|not found", why):
            have = "the token was refused" if self._token else "no token is set"
            return AskdocsError(
                f"{self._at.url} cannot be read ({why}); {have}: private repositories need"
                f" ASKDOCS_SITES_TOKENS='{host} TOKEN'"
            )
        if "couldn't find remote ref" in why:
            return AskdocsError(f"{self._at.url} has no branch {self._at.branch or 'HEAD'!r}")
        why = why or "git failed without a message"
        return (AskdocsError if away else _Local)(f"{self._at.url} cannot be read: {why}")

    def _environment(self) -> dict[str, str]:
        passed = {key: os.environ[key] for key in _PASSED if key in os.environ}
        settings = dict(_SETTINGS)
        if self._token:
            user = self._token.user or "oauth2"
            basic = base64.b64encode(f"{user}:{self._token.secret}".encode()).decode()
            # In the environment, which only this user can read; arguments are public.
            settings[f"http.{self._at.url}.extraHeader"] = f"Authorization: Basic {basic}"
        numbered = {
            f"GIT_CONFIG_{part}_{number}": value
            for number, pair in enumerate(settings.items())
            for part, value in zip(("KEY", "VALUE"), pair, strict=True)
        }
        return {
            **passed,
            **numbered,
            "GIT_CONFIG_COUNT": str(len(settings)),
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "GIT_PROTOCOL_FROM_USER": "0",
            "HOME": str(self._clone),
            "LC_ALL": "C",
        }

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Allow one sync of the repository at a time: two gateways may share the clones."""
        try:
            self._clone.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._clone.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise AskdocsError(
                f"{self._clone.parent}: {error.strerror}: set ASKDOCS_SITES_CLONES to a folder for"
                " clones"
            ) from None


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))


def _pointers(root: Path) -> Iterator[str]:
    tree = Tree(root)
    for path in tree.files:
        try:
            small = (root / path).stat().st_size < 1024
        except OSError:
            continue
        if small and tree.beginning(path, len(_POINTER)) == _POINTER:
            yield posixpath.normpath(path)
