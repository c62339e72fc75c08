"""What is derived from a version by libraries of the environment `train`, or `quantise`.

    PYTHON -I training/artefacts/make.py reference|answers|merge|export|quantise JOB.json

Imports nothing of this repository but what is beside it and training/tuning/. The module named by
the step says what its job is. It prints the events of training/tuning/events.py: `progress`,
`problem`, and `done` with the result.
"""

import importlib
import json
import os
import sys
import types
from pathlib import Path
from typing import Any

# A script's folder comes first on sys.path; a neighbour here must never shadow a library. It finds
# its own modules as those of the package that it is in.
if __name__ == "__main__":
    _here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != _here]
    _package = types.ModuleType("training")
    _package.__path__ = [str(_here.parent)]
    sys.modules["training"] = _package

STEPS = ("reference", "answers", "merge", "export", "quantise")


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or arguments[0] not in STEPS:
        print(f"usage: make.py {'|'.join(STEPS)} JOB.json", file=sys.stderr)
        return 2
    # Before torch is loaded: threads that wait must not take a core from those that work.
    os.environ.update({"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"})
    # Libraries print what they like; it goes where it is no event.
    output = os.dup(1)
    os.dup2(2, 1)

    def tell(event: str, **facts: Any) -> None:
        os.write(output, (json.dumps({"event": event, **facts}) + "\n").encode())

    def progress(step: str, done: int, total: int) -> None:
        tell("progress", step=step, done=done, total=total)

    from training.tuning.problem import Problem

    progress(f"loading what makes it ({arguments[0]})", 0, 1)
    job = json.loads(Path(arguments[1]).read_text(encoding="utf-8"))
    step = importlib.import_module(f"training.artefacts.{arguments[0]}")
    try:
        result = step.run(job, progress)
    except (Problem, OSError) as error:
        tell("problem", message=str(error))
        return 1
    tell("done", found=result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
