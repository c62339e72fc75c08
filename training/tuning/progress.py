"""Reports the progress of a run as events: see training/tuning/events.py."""

import math
import resource
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from training.tuning import checkpoints
from training.tuning.problem import Problem
from training.tuning.tell import Teller


class Progress(TrainerCallback):  # type: ignore[misc]  # its library is not there for mypy
    """Reports steps, evaluations and checkpoints, and marks complete checkpoints."""

    def __init__(self, teller: Teller, start: dict[str, Any], wait: Any) -> None:
        """`wait` returns once all processes have called it."""
        self._teller, self._start, self._wait = teller, start, wait
        self._began = time.monotonic()
        self._seconds = 0.0
        self._tokens_before = 0

    def rate(self, state: Any) -> float | None:
        """Tokens per second of this run, evaluations included; None: no step was taken."""
        if not self._seconds:
            return None
        tokens: int = state.num_input_tokens_seen - self._tokens_before
        return round(tokens / self._seconds, 1)

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._began = time.monotonic()
        self._tokens_before = state.num_input_tokens_seen
        self._teller.tell(
            "start", steps=state.max_steps, epochs=state.num_train_epochs, **self._start
        )

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
        if "loss" not in (logs or {}):
            return
        if not math.isfinite(logs["loss"]):
            raise Problem(
                f"the loss is {logs['loss']} at step {state.global_step}: set a lower"
                f" learning_rate than {args.learning_rate}, or a higher warmup_ratio"
            )
        self._seconds = time.monotonic() - self._began
        self._teller.tell(
            "step",
            step=state.global_step,
            loss=logs["loss"],
            learning_rate=logs["learning_rate"],
            tokens=state.num_input_tokens_seen,
            seconds=round(self._seconds, 3),
            memory=memory(),
        )

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **more: Any
    ) -> None:
        self._teller.tell("eval", step=state.global_step, loss=metrics["eval_loss"])

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._wait()  # every process has written its part
        if state.is_world_process_zero:
            checkpoints.mark(Path(args.output_dir) / f"{checkpoints.PREFIX}{state.global_step}")
            self._teller.tell("saved", step=state.global_step)


def memory() -> int:
    """Peak memory of this process in bytes: on the GPU if there is one, else in main memory."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_reserved())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
