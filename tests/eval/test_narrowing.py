"""The measurement of closing stored answers, on a few."""

import subprocess
import sys

from eval.studies.narrowing import measure


def test_each_page_is_asked_for_once_in_a_pass() -> None:
    measured = dict(measure(60, 700))
    assert list(measured) == ["first", "all closed", "a new process"]
    # One for the revision, and one for each 500 pages.
    assert {one.requests for one in measured.values()} == {2}


def test_it_measures_without_assertions_too() -> None:
    code = (
        "from eval.studies.narrowing import measure; print(dict(measure(4, 700))['first'].requests)"
    )
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "2", done.stderr
