"""Checkpoints that are whole: what a killed run left half written is never gone on from.

The marker is written last, when the files that it names are on the disk. It has their sizes, so
that a checkpoint of which a killed run had removed a part is known for one, too.
"""

import json
import os
import shutil
from pathlib import Path

MARKER = "whole.json"
PREFIX = "checkpoint-"


def mark(checkpoint: Path) -> None:
    """Say that all of it is there."""
    files = sorted(path for path in checkpoint.iterdir() if path.name != MARKER)
    for path in files:
        _sync(path)
    new = checkpoint / f"{MARKER}.new"
    new.write_text(json.dumps({path.name: path.stat().st_size for path in files}), encoding="utf-8")
    _sync(new)
    new.replace(checkpoint / MARKER)
    _sync(checkpoint)
    _sync(checkpoint.parent)


def is_whole(checkpoint: Path) -> bool:
    try:
        sizes = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix(PREFIX))


def last_whole(folder: Path) -> Path | None:
    """The one to go on from."""
    return max(
        (checkpoint for checkpoint in folder.glob(f"{PREFIX}*") if is_whole(checkpoint)),
        key=step,
        default=None,
    )


def remove_broken(folder: Path) -> None:
    """Take away what a killed run left half written or half removed."""
    for checkpoint in folder.glob(f"{PREFIX}*"):
        if not is_whole(checkpoint):
            shutil.rmtree(checkpoint)


def sync(folder: Path) -> None:
    """All files of a folder are on the disk when it returns."""
    for path in [*folder.iterdir(), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
