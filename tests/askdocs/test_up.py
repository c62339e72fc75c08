"""Pieces of `askdocs up` that need nothing started."""

import time
from pathlib import Path

from askdocs.supervision.up import rotate
from gateway.telemetry.access_log import AccessLog, Entry


def test_an_access_log_that_has_grown_is_begun_anew_and_no_line_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(str(path))
    for number in range(20):
        log.write(Entry(request_id=str(number), method="GET", path="/", status=200, duration=0.1))
        if number == 10:
            deadline = time.monotonic() + 5
            while path.stat().st_size < 1000 and time.monotonic() < deadline:
                time.sleep(0.01)
            rotate(path, largest=1000)
    log.close()
    old, new = (tmp_path / "access.log.1").read_text(), path.read_text()
    lines = (old + new).splitlines()
    assert len(lines) == 20
    assert new
    rotate(path, largest=10**9)
    assert path.read_text() == new


def test_a_log_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    rotate(tmp_path / "nothing.log", largest=0)
