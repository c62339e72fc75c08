"""What a run says while it runs: see training/tuning/events.py for the lines."""

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
    """Tells steps, evaluations and checkpoints, and marks a checkpoint when it is whole."""

    def __init__(self, teller: Teller, start: dict[str, Any], wait: Any) -> None:
        """`wait` returns when all processes have called it."""
        self._teller, self._start, self._wait = teller, start, wait
        self._began = time.monotonic()
        self._seconds = 0.0
        self._tokens_before = 0

    def rate(self, state: Any) -> float | None:
        """Tokens a second of this run, evaluations included; None: it took no step."""
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
                f" learning_rate than {args.learning_rate}, or more of warmup_ratio"
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
    """Bytes that this process had at most: of the GPU where there is one, else of the machine."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_reserved())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
