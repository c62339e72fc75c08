"""Marks complete checkpoints: one that a killed run left incomplete is never resumed.

The marker is written last, after the files that it lists are synced. It contains their sizes, so
that a checkpoint that a killed run had partly removed counts as incomplete, too.
"""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

MARKER = "whole.json"
PREFIX = "checkpoint-"


def mark(checkpoint: Path) -> None:
    """Sync a checkpoint and mark it complete."""
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
    """The checkpoint to resume from."""
    return max(
        (checkpoint for checkpoint in folder.glob(f"{PREFIX}*") if is_whole(checkpoint)),
        key=step,
        default=None,
    )


def remove_broken(folder: Path) -> None:
    """Remove the checkpoints that a killed run left incomplete."""
    for checkpoint in folder.glob(f"{PREFIX}*"):
        if not is_whole(checkpoint):
            shutil.rmtree(checkpoint)


def sync(folder: Path) -> None:
    """Sync all files of a folder to disk."""
    for path in [*folder.iterdir(), folder]:
        with suppress(FileNotFoundError):  # a picture that is being written has its name by now
            _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
