"""The state folder: everything that `askdocs up` creates."""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import AskdocsError

DEFAULT = Path(".askdocs")


@dataclass(frozen=True)
class Home:
    """Paths in a folder. Nothing is created before it is needed."""

    root: Path

    @property
    def index(self) -> Path:
        return self.root / "index.db"

    @property
    def database(self) -> Path:
        """Keys, aliases, usage; unless ASKDOCS_DATABASE_URL is set."""
        return self.root / "askdocs.db"

    @property
    def site(self) -> Path:
        return self.root / "site"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def states(self) -> Path:
        """KV cache snapshots of llama.cpp; see gateway/upstream/prefill/snapshots.py."""
        return self.root / "states"

    @property
    def running(self) -> Path:
        """The status file of `up`; see `Running` in status.py."""
        return self.root / "running.json"

    @property
    def prefill(self) -> Path:
        return self.root / "prefill.json"

    def make(self) -> None:
        """Create it for its owner alone. Raises AskdocsError: it cannot be written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.logs.mkdir(exist_ok=True, mode=0o700)
            (self.root / "up.lock").touch()
        except OSError as error:
            raise AskdocsError(
                f"{self.root}: cannot be written ({error.strerror}): choose another --home DIR"
            ) from None

    def key(self) -> str:
        """The master key, created at the first call, readable only by its owner."""
        path = self.root / "key"
        if not path.is_file():
            write(path, f"ask-{secrets.token_urlsafe(32)}\n", mode=0o600)
        return path.read_text().strip()

    def existing_key(self) -> str | None:
        path = self.root / "key"
        return path.read_text().strip() if path.is_file() else None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Held while `up` runs. Raises AskdocsError: another process holds it."""
        with (self.root / "up.lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self.taken() from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            # A killed process could not remove its own file.
            self.running.unlink(missing_ok=True)
            yield

    def taken(self) -> AskdocsError:
        """The message if another `up` runs here."""
        pid = (self.root / "up.lock").read_text().strip() or "unknown"
        return AskdocsError(
            f"askdocs already runs in {self.root} (process {pid}): stop it with Ctrl-C there, or "
            "use another --home DIR and other ports"
        )

    def is_locked(self) -> bool:
        """Does an `up` run here?"""
        try:
            with (self.root / "up.lock").open("r") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


def find(option: Path | None, env: Mapping[str, str] | None = None) -> Home:
    """The home: `--home`, else `ASKDOCS_HOME`, else `.askdocs` here."""
    env = os.environ if env is None else env
    return Home((option or Path(env.get("ASKDOCS_HOME") or DEFAULT)).absolute())


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file atomically: a kill leaves the old or the new content."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def write_json(path: Path, value: Any) -> None:
    write(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """The value, or None if the file does not exist or is not JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def existing(place: str | Path) -> Path:
    """The folder, or its nearest existing parent."""
    path = Path(place).absolute()
    return next(p for p in [path, *path.parents] if p.exists())
