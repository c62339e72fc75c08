"""Trains an adapter on a dataset, in the environment `train`.

    PYTHON -I training/finetune.py JOB.json
    PYTHON -I training/finetune.py --check JOB.json

`accelerate launch` starts it in several processes. It imports only training/tuning/ from this
repository. JOB is an object:

    recipe      a recipe with all its keys, see training/plan/recipe.py
    base        folder of the base model, or its id on the hub
    data        folder made by `askdocs dataset build`
    out         folder of the run, for checkpoints/, adapter/, events.jsonl and training.json
    resume      resume from the last complete checkpoint, if there is one
    max_steps   maximum number of steps, or null
    preferences folder made by `askdocs dataset prefer`: train on its pairs (DPO), starting
                from the adapter of the run folder `first`; or null

Standard output has one event per line (training/tuning/events.py) and nothing else. On a CPU, a
killed and resumed run ends with the same adapter as an uninterrupted run. --check loads no weights:
it reports which options of the recipe a library refuses, on any machine.
"""

import json
import os
import sys
import types
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Python puts a script's folder first on sys.path, where its neighbours would shadow libraries.
    # Import our modules from their package instead.
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    sys.modules["training"] = types.ModuleType("training")
    sys.modules["training"].__path__ = [str(here)]

from training.tuning import checkpoints, options
from training.tuning.problem import Problem
from training.tuning.tell import Teller

WEIGHTS = ["*.json", "*.jinja", "*.safetensors", "*.model"]


def main(arguments: list[str]) -> int:
    is_check = arguments[:1] == ["--check"]
    if len(arguments) != 1 + is_check:
        print("usage: python training/finetune.py [--check] JOB.json", file=sys.stderr)
        return 2
    job = json.loads(Path(arguments[-1]).read_text(encoding="utf-8"))
    # Library output must not mix with the events.
    teller = Teller(os.dup(1), is_first=os.environ.get("RANK", "0") == "0")
    os.dup2(2, 1)
    set_environment(job)
    try:
        if is_check:
            return check(job, teller)
        run(job, teller)
    except Problem as problem:
        teller.tell("problem", message=str(problem))
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


def set_environment(job: dict[str, Any]) -> None:
    """Set environment variables that libraries read on import."""
    # Waiting threads yield their cores: twice the speed on a busy machine.
    os.environ.update({"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"})
    # No telemetry, and no hub look-ups for a local model.
    os.environ.update({"UNSLOTH_DISABLE_STATISTICS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"})
    if Path(job["base"]).is_dir():
        os.environ["HF_HUB_OFFLINE"] = "1"
    out = Path(job["out"]).absolute()
    os.environ["UNSLOTH_COMPILE_LOCATION"] = str(out / "compiled")
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(out / "tensorboard")


def check(job: dict[str, Any], teller: Teller) -> int:
    """Report the options that the libraries refuse, or else all arguments."""
    from training.tuning.check import refusals

    if refused := list(refusals(job)):
        for refusal in refused:
            teller.tell("problem", message=refusal)
        return 1
    recipe = job["recipe"]
    teller.tell(
        "done",
        options={
            "from_pretrained": options.load(recipe, job["base"]),
            "get_peft_model": options.adapter(recipe),
            "SFTConfig": options.training(recipe, Path(job["out"]), on_cpu=False),
            "DPOConfig": options.preference(recipe, Path(job["out"]), on_cpu=False),
            "accelerate launch": options.launch(recipe["processes"]),
        },
    )
    return 0


def run(job: dict[str, Any], teller: Teller) -> None:
    """Raises Problem."""
    out = Path(job["out"])
    if (out / "training.json").exists():
        raise Problem(f"{out}: this run is complete: name another folder")
    checkpoint_folder = out / "checkpoints"
    if not job["resume"] and any(checkpoint_folder.glob("*")):
        raise Problem(f"{out}: holds an unfinished run: resume it, or name another folder")
    if job["recipe"]["log_to"] == "mlflow" and not os.environ.get("MLFLOW_TRACKING_URI"):
        raise Problem('log_to = "mlflow" needs a server: set MLFLOW_TRACKING_URI to its address')
    base = folder_of(job["base"])
    checkpoint_folder.mkdir(parents=True, exist_ok=True)
    teller.keep(out)
    if teller.is_first:
        checkpoints.remove_broken(checkpoint_folder)
    if job.get("preferences"):
        from training.tuning.preference import train
    else:
        from training.tuning.train import train
    train(job, base, teller)


def folder_of(base: str) -> Path:
    """The folder of a base model, downloaded from the hub unless it is a local folder.

    Raises Problem.
    """
    if Path(base).is_dir():
        if not (Path(base) / "config.json").is_file():
            raise Problem(f"{base}: has no config.json: name the Hugging Face folder of a model")
        return Path(base)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(base, allow_patterns=WEIGHTS))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise Problem(
            f"{base}: is not a local folder, and the hub does not provide it "
            f"({str(error).strip().splitlines()[0]}): name a folder, or set HF_TOKEN to a token"
            " that may read it"
        ) from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
