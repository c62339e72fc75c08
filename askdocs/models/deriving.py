"""Runs scripts in other environments, such as those that derive artefacts from a version."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import training
from askdocs.models.finetuning import follow
from core.errors import together
from training.artefacts import probe
from wiki.sources.sync import Progress

SCRIPT = Path(training.__file__).parent / "artefacts" / "make.py"
# Nats. An untrained adapter changes no log-probability at all; two steps of training change some by
# more than this.
LEAST_EFFECT = 0.01
MEANING = {
    "adapter_effect": "the adapter changes (almost) nothing: train longer, or check the saved "
    "files",
    "chat_template": "the adapter's chat template differs from the base model's: copy the base "
    "model's",
    "prompt_tokens": "the adapter's tokenizer gives prompts other tokens: copy the base model's",
    "trained_tokens": "dataset or base model changed since training: restore them, or train",
}


def derive(
    python: Path,
    step: Literal["reference", "answers", "merge", "export"],
    job: dict[str, Any],
    progress: Progress,
    patience: float | None = None,
) -> dict[str, Any]:
    """Run a step and return its result.

    Args:
        python: Python of the environment.
        step: name of a module in training/artefacts/, which documents its job.
        job: the step's job.
        progress: see `Progress`.
        patience: timeout in seconds.

    Raises:
        AskdocsError: the step failed.
    """
    argv = [str(python), "-I", str(SCRIPT), step]
    result: dict[str, Any] = run(argv, job, progress, "training", patience)
    return result


def run(
    argv: Sequence[str],
    job: dict[str, Any],
    progress: Progress,
    what: str,
    patience: float | None = None,
) -> Any:
    """Run a command with a job, and return the result in its last event.

    Args:
        argv: prints the events of `training.tuning.events`; gets the job's file as last argument.
        job: its job.
        progress: see `Progress`.
        what: name of the activity, for errors.
        patience: timeout in seconds.

    Raises:
        AskdocsError: it failed.
    """
    result: Any = None
    with TemporaryDirectory(prefix="askdocs-") as name:
        file = Path(name) / "job.json"
        file.write_text(json.dumps(job), encoding="utf-8")
        for event in follow([*argv, str(file)], Path(name), what=what, patience=patience):
            if event["event"] == "progress":
                progress(event["step"], event["done"], event["total"])
            elif event["event"] == "done":
                result = event["result"]
    return result


def check_run(python: Path, run: Path, base: Path, progress: Progress) -> dict[str, Any]:
    """Check the result of a training run, and write probes.json beside its adapter.

    Args:
        python: Python of the environment.
        run: its folder, with job.json, adapter/ and training.json.
        base: folder of the base model.
        progress: see `Progress`.

    Returns:
        `passed`, `value` and `limit` by check, for the version's manifest.

    Raises:
        AskdocsError: the checks could not run, or one failed: the version must not be added.
    """
    job = json.loads((run / "job.json").read_text(encoding="utf-8"))
    trained = json.loads((run / "training.json").read_text(encoding="utf-8"))
    recipe = job["recipe"]
    new = run / f"{probe.FILE}.new"
    result = derive(
        python,
        "reference",
        {
            "base": str(base),
            "adapter": str(run / "adapter"),
            "data": job["data"],
            "max_length": recipe["max_length"],
            "refusals": recipe["refusals"],
            "seed": recipe["seed"],
            "out": str(new),
        },
        progress,
    )
    checks = {
        "adapter_effect": (result["adapter_effect"] >= LEAST_EFFECT, LEAST_EFFECT),
        "chat_template": (result["chat_template"], True),
        "prompt_tokens": (result["prompt_tokens"], True),
        "trained_tokens": (
            result["trained_tokens"] == trained["token_ids_sha256"],
            trained["token_ids_sha256"],
        ),
    }
    failed = [
        f"{run}: {name} is {result[name]}, not {limit}: {MEANING[name]}"
        for name, (passed, limit) in checks.items()
        if not passed
    ]
    if failed:
        raise together(failed)
    new.replace(run / probe.FILE)
    return {
        name: {"passed": passed, "value": result[name], "limit": limit}
        for name, (passed, limit) in checks.items()
    }
