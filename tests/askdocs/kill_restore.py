"""Restores again and again, killed at every change that it makes to the file system.

`python kill_restore.py TEMPLATE BACKUP WORK` prints a line of JSON for each point: what was found
after the kill, and after the same restore again. TEMPLATE is a state folder, which stays as it is.
"""

import json
import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from askdocs.state import restoring
from askdocs.state.backups import PARTS, InstallationPaths
from askdocs.state.home import Home
from core import database
from core.errors import AskdocsError
from training.versions.open import open_store

CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


def quiet(step: str, done: int, total: int | None) -> None:
    pass


def places(home: Home) -> InstallationPaths:
    return InstallationPaths(
        url=f"sqlite:///{home.database}",
        index=home.index,
        settings=home.root / "askdocs.toml",
        store=open_store(None, home.root),
    )


def restore(home: Home, backup: Path) -> None:
    here = places(home)
    restoring.restore(home, here, restoring.plan(here, backup, PARTS, quiet), quiet)


def killed_at(point: int, home: Home, backup: Path) -> bool:
    """Restore in a process that is killed before its change number `point`. Did it come so far?"""
    child = os.fork()
    if not child:
        left = point

        def hook(event: str, args: tuple[Any, ...]) -> None:
            nonlocal left
            writes = event == "open" and isinstance(args[2], int) and args[2] & os.O_CREAT
            if event in CHANGES or writes:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            restore(home, backup)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def seen(home: Home) -> dict[str, Any]:
    """What a process finds that uses the state folder now."""
    found: dict[str, Any] = {}
    engine = database.open(f"sqlite:///{home.database}")
    try:
        database.migrate(engine)
    finally:
        engine.dispose()
    for name, file, query in (
        ("keys", home.database, "SELECT name FROM keys ORDER BY name"),
        ("pages", home.index, "SELECT path FROM page ORDER BY path"),
    ):
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
            found[name] = [row[0] for row in db.execute(query)]
    versions = open_store(None, home.root)
    try:
        versions.fetch("docs@v1")
        found["version"] = "whole"
    except AskdocsError:
        found["version"] = "damaged"
    return found


def main(template: Path, backup: Path, work: Path) -> None:
    point = 0
    while True:
        home = Home(work / str(point))
        shutil.copytree(template, home.root)
        killed = killed_at(point, home, backup)
        line = {"point": point, "killed": killed, "after": seen(home)}
        restore(home, backup)
        line["again"] = seen(home)
        held = [path for path in home.root.rglob("*restore*/**/*") if path.is_file()]
        line["left"] = [str(path) for path in held if path.stat().st_size]
        print(json.dumps(line), flush=True)
        shutil.rmtree(home.root)
        if not killed:
            return
        point += 1


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
