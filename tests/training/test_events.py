"""What a run says, and the picture of its losses."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from training.tuning import curve, events


def step(number: int, loss: float, kind: str = "step") -> str:
    return json.dumps({"event": kind, "step": number, "loss": loss})


def test_what_a_killed_process_left_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    assert events.read(tmp_path) == []
    (tmp_path / "events.jsonl").write_text(f'{step(1, 2.0)}\n{{"event": "st')
    assert events.read(tmp_path) == [{"event": "step", "step": 1, "loss": 2.0}]


def test_a_step_that_was_taken_again_counts_once(tmp_path: Path) -> None:
    lines = [step(1, 3.0), step(2, 2.5), step(2, 2.5, "eval"), step(1, 3.0), step(2, 2.4)]
    (tmp_path / "events.jsonl").write_text("\n".join(lines))
    read = events.read(tmp_path)
    assert events.losses(read, "step") == [(1, 3.0), (2, 2.4)]
    assert events.losses(read, "eval") == [(2, 2.5)]


@given(st.binary(max_size=60))
def test_no_line_is_an_event_that_does_not_say_so(line: bytes) -> None:
    found = events.parse(line)
    assert found is None or isinstance(found["event"], str)


LOSS = st.floats(min_value=0, width=32) | st.just(math.nan)  # as it is computed
LOSSES = st.lists(st.tuples(st.integers(0, 500), LOSS), max_size=5)


@settings(max_examples=10, deadline=None)
@given(train=LOSSES, validation=LOSSES)
def test_any_losses_make_a_picture(
    train: list[tuple[int, float]],
    validation: list[tuple[int, float]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    file = tmp_path_factory.getbasetemp() / "loss.png"
    said = [json.loads(step(*one)) for one in train]
    said += [json.loads(step(*one, "eval")) for one in validation]
    curve.draw(file, events.losses(said, "step"), events.losses(said, "eval"))
    with Image.open(file) as picture:
        assert picture.size == (800, 360)
        picture.verify()
    assert not list(file.parent.glob("*.new"))


def test_losses_that_fall_are_drawn_falling(tmp_path: Path) -> None:
    file = tmp_path / "loss.png"
    curve.draw(file, [], [(1, 4.0), (9, 1.0)])
    colour = tuple(int(curve.VALIDATION[at : at + 2], 16) for at in (1, 3, 5))
    with Image.open(file).convert("RGB") as picture:
        below = [
            (x, y)
            for x in range(picture.width)
            for y in range(picture.height)
            if picture.getpixel((x, y)) == colour
        ]
    plotted = [(x, y) for x, y in below if x < picture.width - 150 or y > 90]  # not the legend
    assert min(plotted)[1] < max(plotted)[1] - 150
