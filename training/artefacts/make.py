"""Derives artefacts from a version, in the environment `train`.

    PYTHON -I training/artefacts/make.py reference|answers|merge|export JOB.json

Imports only its neighbours and training/tuning/ from this repository. The module named by the step
documents its job. Prints the events of training/tuning/events.py: `progress`, `problem`, and `done`
with the result.
"""

import importlib
import json
import os
import sys
import types
from pathlib import Path
from typing import Any

# Python puts a script's folder first on sys.path; a neighbour here must never shadow a library.
# Import our modules from their package instead.
if __name__ == "__main__":
    _here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != _here]
    _package = types.ModuleType("training")
    _package.__path__ = [str(_here.parent)]
    sys.modules["training"] = _package

STEPS = ("reference", "answers", "merge", "export")


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or arguments[0] not in STEPS:
        print(f"usage: make.py {'|'.join(STEPS)} JOB.json", file=sys.stderr)
        return 2
    # Before torch is loaded: waiting threads must not take cores from working ones.
    os.environ.update({"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"})
    # Keep library output away from the events.
    output = os.dup(1)
    os.dup2(2, 1)

    def tell(event: str, **facts: Any) -> None:
        os.write(output, (json.dumps({"event": event, **facts}) + "\n").encode())

    def progress(step: str, done: int, total: int) -> None:
        tell("progress", step=step, done=done, total=total)

    # Below, the folder is no longer first on sys.path.
    from training.tuning.problem import Problem  # noqa: PLC0415

    progress(f"loading the libraries ({arguments[0]})", 0, 1)
    job = json.loads(Path(arguments[1]).read_text(encoding="utf-8"))
    step = importlib.import_module(f"training.artefacts.{arguments[0]}")
    try:
        result = step.run(job, progress)
    except (Problem, OSError) as error:
        tell("problem", message=str(error))
        return 1
    tell("done", result=result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
