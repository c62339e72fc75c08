"""What the engine has read, on disk: only what is whole is used, and never more than the limit."""

import logging
import os
import time
from pathlib import Path

import pytest

from gateway.upstream.prefill.snapshots import LEFT, Snapshots


def write(folder: Path, kept: Snapshots, key: str, data: bytes = b"x" * 100) -> bool:
    """As the engine does it."""
    (folder / kept.part(key)).write_bytes(data)
    return kept.settle(key)


def test_what_was_written_is_found_again_by_the_next_process(tmp_path: Path) -> None:
    assert write(tmp_path, Snapshots(tmp_path), "a")
    again = Snapshots(tmp_path)
    assert "a" in again
    assert "b" not in again
    assert again.is_whole("a")
    assert (tmp_path / again.name("a")).read_bytes() == b"x" * 100
    assert again.size == 100


def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    Snapshots(tmp_path / "states" / "model")
    assert (tmp_path / "states" / "model").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("data", [b"", b"x" * 99, b"x" * 50 + b"y" + b"x" * 49])
def test_a_file_that_has_changed_is_dropped_with_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    kept = Snapshots(tmp_path)
    write(tmp_path, kept, "a")
    (tmp_path / kept.name("a")).write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert not Snapshots(tmp_path).is_whole("a")
    assert "its page is prefilled again: its checksum" in caplog.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("note", ["", "{", "{}", "[]"])
def test_a_broken_note_is_as_none(tmp_path: Path, note: str) -> None:
    kept = Snapshots(tmp_path)
    write(tmp_path, kept, "a")
    next(tmp_path.glob("*.json")).write_text(note)
    assert not kept.is_whole("a")
    assert "a" not in kept


def test_a_kill_while_it_is_written_leaves_nothing_that_counts(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path)
    (tmp_path / kept.part("a")).write_bytes(b"half")
    (tmp_path / kept.name("b")).write_bytes(b"without its note")
    assert "a" not in kept
    assert "b" not in kept
    old = time.time() - LEFT - 1
    for file in tmp_path.iterdir():
        os.utime(file, (old, old))
    write(tmp_path, kept, "c")
    assert {file.stem for file in tmp_path.iterdir()} == {"c"}


def test_what_was_not_used_since_the_start_makes_room_and_what_was_does_not(tmp_path: Path) -> None:
    before = Snapshots(tmp_path, limit=250)
    write(tmp_path, before, "old")
    write(tmp_path, before, "hot")
    kept = Snapshots(tmp_path, limit=250)
    assert kept.is_whole("hot")
    assert write(tmp_path, kept, "new")
    assert "old" not in kept
    assert not write(tmp_path, kept, "more")
    assert "hot" in kept
    assert "new" in kept
    assert kept.size == 200
    assert len(list(tmp_path.iterdir())) == 4


def test_a_page_that_is_written_again_takes_its_own_place(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path, limit=150)
    assert write(tmp_path, kept, "a")
    assert write(tmp_path, kept, "a", b"y" * 150)
    assert kept.is_whole("a")
    assert kept.size == 150


def test_what_nobody_wants_is_taken_away(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path)
    (tmp_path / kept.part("a")).write_bytes(b"another question")
    kept.discard("a")
    kept.discard("a")
    assert list(tmp_path.iterdir()) == []
