"""Train an adapter with Unsloth and TRL's SFTTrainer.

Our code is the same on GPUs and CPUs. Unsloth's is not: on a CPU it uses stock transformers, PEFT
and TRL, so no test here runs its kernels, 4-bit loading and offloading of activations.
"""

import unsloth  # isort: skip -- it changes the libraries below, so it comes first
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import load_peft_weights, set_peft_model_state_dict
from transformers import EarlyStoppingCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from trl import SFTConfig, SFTTrainer

from training.tuning import checkpoints, encode, hardware, options, saving, template
from training.tuning.problem import Problem
from training.tuning.progress import Progress
from training.tuning.tell import Teller
from training.tuning.thin import thin


def train(job: dict[str, Any], base: Path, teller: Teller) -> None:
    """Train, report events, and write adapter/ and then training.json.

    Args:
        job: see training/finetune.py.
        base: folder of the base model.
        teller: receives the events.

    Raises:
        Problem: something is wrong with the data, the recipe or the trained adapter.
    """
    began = time.monotonic()
    recipe, out = job["recipe"], Path(job["out"])
    checkpoint_folder = out / "checkpoints"
    resumed = checkpoints.last_whole(checkpoint_folder) if job["resume"] else None
    # Not Unsloth's tokenizer, which is modified for training.
    tokenizer = template.tokenizer(base)
    rows, validation = (
        encode.encode(Path(job["data"]) / f"{split}.jsonl", tokenizer, recipe["max_length"])
        for split in ("train", "validation")
    )
    stay = thin([row.kind for row in rows], recipe["refusals"], recipe["seed"])
    rows = [rows[place] for place in stay]
    trainer = make_trainer(recipe, base, checkpoint_folder, rows, validation)
    # The base model's loss starts the curve.
    trainer.args.eval_on_start = resumed is None
    batches = len(trainer.get_train_dataloader())
    whole = options.steps(recipe, batches)
    steps = min(limit for limit in (whole, recipe["max_steps"], job["max_steps"]) if limit)
    epoch = options.steps({**recipe, "epochs": 1}, batches)
    trainer.args.max_steps = steps
    trainer.args.eval_steps = trainer.args.save_steps = options.eval_steps(recipe, epoch, steps)
    if patience := options.eval_patience(recipe, epoch, steps):
        trainer.add_callback(EarlyStoppingCallback(patience))
    trainer.args.warmup_steps = math.ceil(steps * recipe["warmup_ratio"])
    model = trainer.model
    trainable = sum(
        parameter.numel() for parameter in model.parameters() if parameter.requires_grad
    )
    progress = Progress(
        teller,
        {
            "train_tokens": sum(row.tokens for row in rows),
            "parameters": sum(parameter.numel() for parameter in model.parameters()) - trainable,
            "trainable": trainable,
        },
        trainer.accelerator.wait_for_everyone,
    )
    trainer.add_callback(progress)
    if resumed and (checkpoints.step(resumed) >= steps or has_stopped(resumed, patience)):
        # The run was killed after its last checkpoint; train() would take another step.
        trainer.state = TrainerState.load_from_json(str(resumed / TRAINER_STATE_NAME))
        best = load_peft_weights(trainer.state.best_model_checkpoint, "cpu")
        set_peft_model_state_dict(model, best)
    else:
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    if not trainer.is_world_process_zero():
        return

    state = trainer.state
    ended = "end" if steps == whole else "max_steps"
    done = {
        "step": state.global_step,
        "best_step": state.best_global_step,
        "best_loss": state.best_metric,
        "stopped": "early" if state.global_step < steps else ended,
        "tokens": state.num_input_tokens_seen,
        "tokens_per_second": progress.rate(state),
        "seconds": round(time.monotonic() - began, 1),
    }
    saving.save_adapter(model, recipe["base_model"], base, out)
    saving.save_facts(
        out,
        {
            **done,
            "steps": steps,
            "losses": [
                (entry["step"], entry["loss"]) for entry in state.log_history if "loss" in entry
            ],
            "eval_losses": [
                (entry["step"], entry["eval_loss"])
                for entry in state.log_history
                if "eval_loss" in entry
            ],
            "examples": len(rows),
            "token_ids_sha256": encode.digest(rows),
            "seed": recipe["seed"],
        },
        lambda: teller.tell("done", **done),
    )


def make_trainer(
    recipe: dict[str, Any],
    base: Path,
    out: Path,
    rows: Sequence[encode.Encoded],
    validation: Sequence[encode.Encoded],
) -> Any:
    """The SFTTrainer of a recipe; the number of steps is set later.

    Args:
        recipe: a recipe with all its keys.
        base: folder of the base model.
        out: folder of the checkpoints.
        rows: examples to train on.
        validation: examples to evaluate, or to draw them from.

    Raises:
        Problem: the recipe needs a GPU or layers that do not exist.
    """
    on_cpu = not torch.cuda.is_available()
    if on_cpu:
        hardware.refuse_gpu_options(recipe)
        torch.set_num_threads(hardware.threads())
    if recipe["eval_rows"] and recipe["eval_rows"] < len(validation):
        validation = random.Random(recipe["seed"]).sample(validation, recipe["eval_rows"])  # noqa: S311
    model, changed = unsloth.FastLanguageModel.from_pretrained(**options.load(recipe, base))
    if wrong := list(options.missing(recipe, (name for name, _ in model.named_modules()))):
        raise Problem("; ".join(wrong))
    model = unsloth.FastLanguageModel.get_peft_model(model, **options.adapter(recipe))
    return SFTTrainer(
        model=model,
        args=SFTConfig(**options.training(recipe, out, on_cpu)),
        processing_class=changed,
        train_dataset=Dataset.from_list([row.row for row in rows]),
        eval_dataset=Dataset.from_list([row.row for row in validation]),
    )


def has_stopped(checkpoint: Path, patience: int) -> bool:
    """Did training stop early at this checkpoint?"""
    state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    stopping = state.stateful_callbacks.get(EarlyStoppingCallback.__name__)
    return bool(stopping and stopping["attributes"]["early_stopping_patience_counter"] >= patience)
