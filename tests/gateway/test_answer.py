"""The lines for the person at the terminal."""

import contextlib

import pytest

from gateway.answering.answer import say


def test_what_is_said_to_a_full_disk_stops_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr("sys.stdout", full)
        for _ in range(3):
            say("answered in 0.2 s")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()
