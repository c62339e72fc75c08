"""`askdocs backup` again and again, stopped by a signal at every change that it makes to files.

`python stop_backup.py HOME FOLDER SIGNAL` makes backups in the folder and prints a line of JSON for
each point: whether it was stopped there, and which files with content it has left.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from askdocs import cli
from askdocs.commands import models
from askdocs.state.backups import archive, making
from askdocs.wikis import sync
from tests.askdocs.kill_restore import CHANGES, quiet

__all__ = ["making", "models", "sync"]  # that the command need not load them each time
PLACES = {"open", "sqlite3.connect"}


def stopped_at(point: int, number: int, folder: Path, words: list[str]) -> bool:
    """Run the command in a process that gets the signal before its step `point`, if it has one."""
    child = os.fork()
    if not child:
        left = point

        def hook(event: str, args: tuple[Any, ...]) -> None:
            nonlocal left
            if event in CHANGES or (event in PLACES and str(args[0]).startswith(str(folder))):
                left -= 1
                if left == -1:
                    os.kill(os.getpid(), number)

        sys.addaudithook(hook)
        sys.argv = ["askdocs", *words]
        code = 1
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] != 0


def main(home: Path, folder: Path, number: int) -> None:
    point, stopped = 0, True
    while stopped:
        words = ["backup", "--json", "--home", str(home), "--out", str(folder / f"{point}.tar.gz")]
        stopped = stopped_at(point, number, folder, words)
        left = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
        whole = [path for path in left if path.parent == folder]
        for path in whole:
            archive.verify(archive.opened(path), quiet)
            path.unlink()
        names = sorted(path.name for path in left if path not in whole)
        print(
            "\n" + json.dumps({"stopped": stopped, "whole": len(whole), "left": names}), flush=True
        )
        point += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
