"""Pieces of `askdocs up` that need nothing started."""

import time
from pathlib import Path

import pytest

from askdocs.up import BESIDE, page_budget, rotate, warm_page
from gateway.access_log import AccessLog, Entry


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


@pytest.mark.parametrize("rate", [80.0, 264.0, 2000.0, 50_000.0])
@pytest.mark.parametrize("context", [8192, 32_768])
def test_a_page_is_read_in_time_and_a_warm_one_may_be_larger(rate: float, context: int) -> None:
    cold, warm = page_budget(rate, 5.0, context), warm_page(rate, 5.0, context)
    assert cold == 300 or (cold + BESIDE) / rate <= 3.5  # the rest is for a first sentence
    assert warm == 0 or (warm + BESIDE) / rate <= 5.0
    assert max(cold, warm) < context - 1000
    assert warm >= cold or cold == 300


def test_a_machine_that_hardly_reads_still_gets_a_page() -> None:
    assert (page_budget(20, 5.0, 8192), warm_page(20, 5.0, 8192)) == (300, 0)
