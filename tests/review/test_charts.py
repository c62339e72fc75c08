"""Charts: their axes, and that nothing stands outside of them."""

import re
from datetime import date, timedelta

import pytest

from widget.review import charts


@pytest.mark.parametrize(
    ("most", "whole", "step", "top"),
    [
        (1, True, 1, 1),
        (3, True, 1, 3),
        (7, True, 2, 8),
        (41, True, 20, 60),
        (1234, True, 500, 1500),
        (0.1, False, 0.05, 0.1),
        (2.6, False, 1, 3),
        (8, False, 2, 8),
    ],
)
def test_an_axis_has_round_steps(most: float, whole: bool, step: float, top: float) -> None:
    assert charts.scale(most, whole=whole) == (pytest.approx(step), pytest.approx(top))


@pytest.mark.parametrize("days", [1, 7, 30, 366])
def test_all_of_a_chart_lies_within_its_picture(days: int) -> None:
    labels = [(date(2026, 1, 1) + timedelta(days=n)).isoformat() for n in range(days)]
    values = [float(n % 50) for n in range(days)]
    for svg in (
        charts.bars("Questions", labels, [("a", values), ("b", values)]),
        charts.lines("Seconds", labels, [("p50", values)], "s"),
    ):
        width, height = map(float, re.findall(r'class="chart" viewBox="0 0 (\d+) (\d+)"', svg)[0])
        for x, w in re.findall(r'<rect class="s\d" x="([\d.-]+)"[^>]*? width="([\d.-]+)"', svg):
            assert float(x) >= charts.LEFT
            assert float(x) + float(w) <= width
        for x in re.findall(r'<text x="([\d.-]+)"[^>]*middle', svg):
            assert charts.LEFT <= float(x) <= width - 18  # half of a label
        for y in re.findall(r' y[12]?="([\d.-]+)"', svg):
            assert 0 <= float(y) <= height
        numbers = re.findall(r'text-anchor="end">([^<]+)<', svg)
        assert 2 <= len(numbers) <= 6
        assert numbers[0].startswith("0")
        assert 1 <= len(re.findall(r">\d\d-\d\d<", svg)) <= charts.DAYS + 1
