"""A folder that appears whole or not at all."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from core.errors import AskdocsError
from training.output import output

ROOT = Path(__file__).resolve().parents[2]
# Writes half, and waits to be killed.
HALF = """
import sys, time
from pathlib import Path
from training.output import output
with output(Path(sys.argv[1]), force=True) as folder:
    (folder / "half").write_text("h")
    print("writing", flush=True)
    time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(place: Path, name: str, force: bool = False) -> None:
    with output(place, force) as folder:
        (folder / name).write_text(name)


def test_a_new_folder_and_an_empty_one_are_filled(tmp_path: Path) -> None:
    fill(tmp_path / "deep" / "new", "a")
    (tmp_path / "empty").mkdir()
    fill(tmp_path / "empty", "a")
    assert names(tmp_path / "deep" / "new") == names(tmp_path / "empty") == ["a"]
    assert names(tmp_path) == ["deep", "empty"]


def test_what_is_there_is_replaced_only_by_force(tmp_path: Path) -> None:
    fill(tmp_path / "out", "old")
    with pytest.raises(AskdocsError, match=r"out: is not empty: .* --force"):
        fill(tmp_path / "out", "new")
    assert names(tmp_path / "out") == ["old"]
    fill(tmp_path / "out", "new", force=True)
    assert names(tmp_path / "out") == ["new"]
    assert names(tmp_path) == ["out"]


def test_a_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(AskdocsError, match="out: is not a folder"):
        fill(tmp_path / "out", "new", force=True)
    assert (tmp_path / "out").read_text() == "mine"


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    fill(tmp_path / "out", "old")
    with pytest.raises(ZeroDivisionError), output(tmp_path / "out", True) as folder:
        (folder / "half").write_text(str(1 / len(names(folder))))
    assert names(tmp_path / "out") == ["old"]
    assert names(tmp_path) == ["out"]


def test_a_kill_leaves_the_old_folder_and_the_next_run_clears_up(tmp_path: Path) -> None:
    fill(tmp_path / "out", "old")
    writer = subprocess.Popen(
        [sys.executable, "-c", HALF, tmp_path / "out"], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"writing\n"
    fill(tmp_path / "other", "a")
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert names(tmp_path / "out") == ["old"]
    assert len(names(tmp_path)) == 3  # what it had written is hidden beside it
    fill(tmp_path / "out", "new", force=True)
    assert names(tmp_path / "out") == ["new"]
    assert names(tmp_path) == ["other", "out"]


def test_the_folder_is_there_at_every_moment(tmp_path: Path) -> None:
    """A reader never finds it missing while one replaces the other."""
    place = tmp_path / "out"
    fill(place, "file")
    looks: list[bool] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            looks.append((place / "file").is_file())

    reader = threading.Thread(target=look)
    reader.start()
    for _ in range(30):
        fill(place, "file", force=True)
    stop.set()
    reader.join()
    assert len(looks) > 30
    assert all(looks)
