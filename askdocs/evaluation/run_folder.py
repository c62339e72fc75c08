"""The folder of an evaluation run."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from askdocs.state.claim import claimed as run_claimed
from askdocs.state.claim import differing
from askdocs.state.home import Home, read_json, write
from core.errors import AskdocsError
from eval.questions import question
from eval.questions.question import Question
from eval.running import run as runs
from eval.running.run import FILE, Run


def default_folder(home: Home, run: Run) -> Path:
    """The default folder, the same for the same run, so that --resume finds it."""
    which = json.dumps(run.identity(), sort_keys=True)
    stem = Path(run.questions.file).stem
    return home.root / "evals" / f"{stem}-{hashlib.sha256(which.encode()).hexdigest()[:8]}"


def earlier(wanted: str, folder: Path, others: Path) -> Path:
    """The run to compare with: a folder, its name among the others, or `last`.

    Raises AskdocsError: there is no such run.
    """
    if wanted != "last":
        known = next((run for run in (Path(wanted), others / wanted) if run.is_dir()), None)
        if known is None:
            raise AskdocsError(f"--against {wanted}: no such run: name its folder, or `last`")
        return known
    runs_there = [file for file in others.glob(f"*/{FILE}") if file.parent != folder]
    if not runs_there:
        raise AskdocsError(f"--against last: {others} has no other run: run it once without")
    return max(runs_there, key=lambda file: file.stat().st_mtime).parent


def can_start(folder: Path, run: Run, resume: bool, others: Path) -> None:
    """Check the folder. `others`: the folder with other runs, to suggest the intended one.

    Raises AskdocsError: the folder has other content, needs --resume, or has nothing to resume.
    """
    if folder.exists() and not folder.is_dir():
        raise AskdocsError(f"{folder}: is not a folder: name another --out DIR")
    old: dict[str, Any] | None = read_json(folder / FILE)
    if old is None:
        if folder.is_dir() and any(path.name != "lock" for path in folder.iterdir()):
            raise AskdocsError(f"{folder}: is not empty, and holds no run: name another --out DIR")
        if resume:
            raise AskdocsError(
                f"{folder}: no such run to resume{_nearest(others, run)}; omit --resume to start "
                "a new run"
            )
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


def _nearest(others: Path, run: Run) -> str:
    """The run of the same file with the fewest differences, and these."""
    new = run.identity()
    nearest = []
    for file in sorted(others.glob(f"*/{FILE}")):
        old = read_json(file) or {}
        if (old.get("questions") or {}).get("file") == run.questions.file:
            keys = [key for key in new if old.get(key) != new[key]]
            nearest.append(
                (len(keys), file.parent, [differing(old.get(k), new[k], k) for k in keys])
            )
    if not nearest:
        return ""
    _, folder, differences = min(nearest)
    return f": the nearest is {folder} ({'; '.join(differences) or 'the same: name it with --out'})"


def begin(folder: Path, run: Run, questions: Sequence[Question]) -> None:
    """Write the run's description; if it exists, record where and with what it is resumed."""
    if (folder / FILE).exists():
        old, now = runs.read(folder), run.provenance
        last = (old.provenance, *old.resumed)[-1]
        if now.model_copy(update={"made": last.made}) != last:
            went_on = old.model_copy(update={"resumed": (*old.resumed, now)})
            write(folder / FILE, went_on.model_dump_json(indent=2) + "\n")
    else:
        write(folder / question.FILE, "".join(f"{row.model_dump_json()}\n" for row in questions))
        write(folder / FILE, run.model_dump_json(indent=2) + "\n")


@contextmanager
def claimed(folder: Path) -> Iterator[int]:
    """Claim the run; yields the lock's descriptor, for the asking process to inherit.

    After a kill -9, the lock is held until that process is gone, too. Raises AskdocsError: it is
    claimed already.
    """
    taken = "another process is running it: wait for it, or name another --out"
    with run_claimed(folder, taken) as lock:
        yield lock
