"""How far a training run is, in the terminal and without one."""

import io

from rich.console import Console

from askdocs.models.training_bar import TrainingBar
from training.tuning.events import Event

EVENTS: list[Event] = [
    {"event": "start", "steps": 4},
    {"event": "step", "step": 1, "loss": 2.5, "tokens": 100, "seconds": 1.0, "memory": 2**31},
    {"event": "step", "step": 2, "loss": 2.25, "tokens": 700, "seconds": 3.0, "memory": 2**31},
    {"event": "eval", "step": 2, "loss": 2.75},
    {"event": "step", "step": 3, "loss": 2.0, "tokens": 800, "seconds": 4.0, "memory": 2**31},
    {"event": "saved", "step": 3},
    {"event": "done", "step": 3},
]


def shown(is_terminal: bool) -> str:
    into = io.StringIO()
    console = Console(file=into, force_terminal=is_terminal, width=160, highlight=False)
    with TrainingBar(console) as bar:
        for event in EVENTS:
            bar.show(event)
    return into.getvalue()


def test_without_a_terminal_each_evaluation_is_a_line() -> None:
    line = "step 2/4, loss 2.250, validation 2.750, 300 tokens/s, 2.0 GiB\n"
    assert shown(is_terminal=False) == line


def test_a_terminal_has_the_last_step_with_its_speed() -> None:
    assert "step 3/4, loss 2.000, validation 2.750, 233 tokens/s, 2.0 GiB" in shown(True)
