"""The folder of a run of an exam."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from askdocs.home import Home, read_json, write
from askdocs.run import claimed as run_claimed
from askdocs.run import differing
from eval.exam import question
from eval.exam.question import Question
from eval.exam.run import FILE, Run
from gateway.errors import AskdocsError


def default_folder(home: Home, run: Run) -> Path:
    """The same for the same run, so that --resume finds it."""
    which = json.dumps(run.identity(), sort_keys=True)
    stem = Path(run.questions.file).stem
    return home.root / "evals" / f"{stem}-{hashlib.sha256(which.encode()).hexdigest()[:8]}"


def can_start(folder: Path, run: Run, resume: bool) -> None:
    """Raises AskdocsError: the folder has something else in it, or a run to be resumed."""
    if folder.exists() and not folder.is_dir():
        raise AskdocsError(f"{folder}: is not a folder: name another --out DIR")
    old: dict[str, Any] | None = read_json(folder / FILE)
    if old is None:
        if folder.is_dir() and any(one.name != "lock" for one in folder.iterdir()):
            raise AskdocsError(f"{folder}: is not empty, and holds no run: name another --out DIR")
        return
    new = run.identity()
    for key in new:
        if old.get(key) != new[key]:
            raise AskdocsError(
                f"{folder}: holds another run ({differing(old.get(key), new[key], key)}):"
                " name another --out DIR"
            )
    if not resume:
        raise AskdocsError(
            f"{folder}: holds this run already: add --resume to ask what has no answer yet, or name"
            " another --out DIR"
        )


def begin(folder: Path, run: Run, asked: Sequence[Question]) -> None:
    """Write what it is; where it is there already, that stays."""
    if not (folder / FILE).exists():
        write(folder / question.FILE, "".join(f"{one.model_dump_json()}\n" for one in asked))
        write(folder / FILE, run.model_dump_json(indent=2) + "\n")


@contextmanager
def claimed(folder: Path) -> Iterator[int]:
    """The run is ours; yields the lock's descriptor, for the process that asks to inherit.

    After a kill -9 it is held until that process has gone, too. Raises AskdocsError: taken.
    """
    taken = "another process asks its questions: wait for it, or name another --out"
    with run_claimed(folder, taken) as lock:
        yield lock
