"""When a wiki is to be read again, told by a real file system."""

import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.parts import require
from wiki.sources import watch

pytestmark = pytest.mark.slow

SOON = 20.0  # seconds, on a busy machine
ROOT = Path(__file__).parents[2]
# As `watched`, in a process that may watch no file at all.
ALONE = ("unshare", "--user", "--map-root-user", "sh", "-c")
UNWATCHED = """
import sys, threading
from pathlib import Path
from wiki.sources import watch

watch.GLANCE = 500
for _ in watch.changes(Path(sys.argv[1]), threading.Event()):
    print("told", flush=True)
"""


@pytest.fixture
def wiki(tmp_path: Path) -> Path:
    wiki = tmp_path / "wiki"
    wiki.mkdir()
    (wiki / "ports.md").write_text("# Ports\n\nSome.\n")
    return wiki


@contextmanager
def watched(folder: Path | None) -> Iterator["queue.Queue[None]"]:
    """Something comes whenever the wiki is to be read."""
    stop = threading.Event()
    told: queue.Queue[None] = queue.Queue()

    def run() -> None:
        for _ in watch.changes(folder, stop):
            told.put(None)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield told
    finally:
        stop.set()
        thread.join(SOON)
        assert not thread.is_alive()


def begun(told: "queue.Queue[None]") -> None:
    """At once, and again when watching has begun."""
    told.get(timeout=SOON)
    told.get(timeout=SOON)


def test_a_page_that_is_edited_added_or_deleted_is_reported(wiki: Path) -> None:
    with watched(wiki) as told:
        begun(told)
        (wiki / "ports.md").write_text("# Ports\n\nOthers.\n")
        told.get(timeout=SOON)
        (wiki / "deep").mkdir()
        told.get(timeout=SOON)
        (wiki / "deep" / "new.md").write_text("# New\n")
        told.get(timeout=SOON)
        (wiki / "ports.md").unlink()
        told.get(timeout=SOON)


def test_a_folder_in_which_nothing_is_seen_to_change_is_reported_all_the_same(
    wiki: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "AGAIN", 0.5)
    with watched(wiki) as told:
        begun(told)
        told.get(timeout=SOON)
        told.get(timeout=SOON)


def test_a_folder_that_is_made_again_is_reported_and_watched_on(wiki: Path) -> None:
    with watched(wiki) as told:
        begun(told)
        copy = wiki.with_name("copy")
        shutil.copytree(wiki, copy)
        shutil.rmtree(wiki)
        copy.rename(wiki)
        while True:  # a removal is reported, and then the return
            try:
                told.get(timeout=2 * watch.GLANCE / 1000)
            except queue.Empty:
                break
        (wiki / "ports.md").write_text("# Ports\n\nOthers.\n")
        told.get(timeout=SOON)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("limit", ["instances", "watches"])
def test_a_change_is_reported_where_the_machine_lets_nobody_watch_more_files(
    wiki: Path, limit: str
) -> None:
    none = f"echo 0 >/proc/sys/user/max_inotify_{limit}"
    tried = subprocess.run([*ALONE, none], capture_output=True, check=False)
    require(tried.returncode == 0, "allow user namespaces: sysctl user.max_user_namespaces=10000")
    command = [*ALONE, f'{none} && exec "$@"', "sh", sys.executable, "-c", UNWATCHED, str(wiki)]
    os.utime(wiki / "ports.md", (0, 0))  # who looks sees whole seconds
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in range(2)] == ["told\n"] * 2
            (wiki / "ports.md").write_text("# Ports\n\nOthers.\n")
            assert process.stdout.readline() == "told\n"
        finally:
            process.kill()


def test_a_site_is_read_every_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "interval", lambda: 0.1)
    with watched(None) as told:
        for _ in range(3):
            told.get(timeout=SOON)
