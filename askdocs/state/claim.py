"""The folder of a run: lock, code commit, and differences between runs."""

import fcntl
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import AskdocsError


@contextmanager
def claimed(folder: Path, taken: str) -> Iterator[int]:
    """Make the folder and lock it; yields the lock's descriptor, for a process to inherit.

    Raises AskdocsError: it cannot be written; or another process holds it (message: `taken`).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise AskdocsError(f"{folder}: cannot be written ({error.strerror})") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AskdocsError(f"{folder}: {taken}") from None
        yield lock.fileno()


def commit() -> str:
    """The code's commit, with "-dirty" for local changes; "" outside a checkout."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return ""
    git = ["git", "-C", str(here)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True
        )
    except OSError:
        return ""
    if head.returncode:
        return ""
    return head.stdout.strip() + ("-dirty" if changed.stdout.strip() else "")


def differing(old: Any, new: Any, key: str) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        inner = next(name for name in {**old, **new} if old.get(name) != new.get(name))
        return differing(old.get(inner), new.get(inner), inner)
    shown = {"data_sha256": "of another dataset", "ids": "of other questions"}
    return shown.get(key, f"{key} = {json.dumps(old)} there, {json.dumps(new)} here")
