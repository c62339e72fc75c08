"""Is training by Unsloth and TRL as fast as a bare loop of PyTorch?

    .venv/bin/python -m research.timings.train_speed --home .cache/train

Trains the small model by training/finetune.py and by research/timings/bare_loop.py in turn, on
the same rows with the same adapter and settings, and compares tokens a second without the first
step of each, which warms up. Takes about four minutes on two idle cores. Exit code 1: less than
0.85 of it. Where other programs are at work, tokens for each second of the processor say more.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, NamedTuple

import psutil

from askdocs import environments
from askdocs.models import model
from gateway.upstream.engines.processor import prefers_bfloat16
from training.plan import recipe as recipes

LEAST = 0.85
ROUNDS, STEPS, ACCUMULATION = 2, 5, 4
HERE = Path(__file__).parent
TRAINING = HERE.parents[1] / "training"


class Rate(NamedTuple):
    """Tokens a second: of the clock, and of the processor's time."""

    wall: float
    cpu: float


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="has the environment train")
    python = environments.find(environments.trainer(), parser.parse_args().home)
    if python is None:
        sys.exit("no environment there: .venv/bin/python -m askdocs.environments train --home HOME")
    with TemporaryDirectory() as name:
        folder = Path(name)
        gguf = model.shipped().source
        convert: list[Any] = [python, "-I", TRAINING / "convert.py", gguf, folder / "base"]
        subprocess.run(convert, check=True, stdout=subprocess.DEVNULL)
        write(folder)
        rates: dict[str, list[Rate]] = {"loop": [], "command": []}
        for at in range(ROUNDS):
            for kind, script in (
                ("loop", HERE / "bare_loop.py"),
                ("command", TRAINING / "finetune.py"),
            ):
                out = folder / f"{kind}-{at}"
                rates[kind].append(rate(steps([python, "-I", script, job(folder, out)])))
                last = rates[kind][-1]
                print(f"{kind}: {last.wall:.0f} tokens/s, {last.cpu:.0f} a processor's second")
    ratio, of_cpu = (
        mean(one[at] for one in rates["command"]) / mean(one[at] for one in rates["loop"])
        for at in (0, 1)
    )
    print(f"training is {ratio:.2f} times as fast as the loop ({LEAST} is the least),")
    print(f"and does {of_cpu:.2f} times as much in the same time of the processor")
    return int(ratio < LEAST)


def write(folder: Path) -> None:
    """Prompts as long as a short page, with short answers."""
    rows = [
        {
            "prompt": [
                {"role": "system", "content": f"Pump {at} is cleaned every week. " * 40},
                {"role": "user", "content": f"How often is pump {at} cleaned?"},
            ],
            "completion": [{"role": "assistant", "content": "Every week, as the page says."}],
            "meta": {"kind": "grounded"},
        }
        for at in range(STEPS * ACCUMULATION)
    ]
    lines = [json.dumps(row) + "\n" for row in rows]
    (folder / "train.jsonl").write_text("".join(lines))
    (folder / "validation.jsonl").write_text(lines[0])


def job(folder: Path, out: Path) -> Path:
    recipe = recipes.load("smollm2-135m-cpu").settled(prefers_bfloat16()).model_dump(mode="json")
    recipe |= {"max_steps": None, "epochs": 1, "gradient_accumulation": ACCUMULATION}
    content = {"recipe": recipe, "base": str(folder / "base"), "data": str(folder)}
    file = folder / "job.json"
    file.write_text(json.dumps({**content, "out": str(out), "resume": False, "max_steps": None}))
    return file


def steps(argv: list[Any]) -> list[dict[str, Any]]:
    """What it says of each step, and the time of the processor that it had taken by then."""
    found = []
    with (
        TemporaryFile("w+") as log,
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "step":
                times = psutil.Process(process.pid).cpu_times()
                found.append({**event, "cpu": times.user + times.system})
        if process.wait():
            log.seek(0)
            sys.exit(log.read())
    return found


def rate(steps: list[dict[str, Any]]) -> Rate:
    """Of all steps but the first."""
    first, last = steps[0], steps[-1]
    tokens = last["tokens"] - first["tokens"]
    return Rate(*(tokens / (last[clock] - first[clock]) for clock in ("seconds", "cpu")))


if __name__ == "__main__":
    sys.exit(main())
