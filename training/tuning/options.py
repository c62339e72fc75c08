"""Translates a recipe into the arguments of Unsloth, PEFT and TRL."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Options = dict[str, Any]


def load(recipe: Options, base: Path | str) -> Options:
    """Arguments for FastLanguageModel.from_pretrained."""
    return {
        "model_name": str(base),
        "max_seq_length": recipe["max_length"],
        "dtype": recipe["dtype"],
        "load_in_4bit": recipe["load_in_4bit"],
        "use_gradient_checkpointing": checkpointing(recipe),
        # Otherwise Unsloth substitutes its own copy from the hub for a name that it knows.
        "use_exact_model_name": True,
    }


def adapter(recipe: Options) -> Options:
    """Arguments for FastLanguageModel.get_peft_model."""
    lora = recipe["lora"]
    return {
        "r": lora["r"],
        "lora_alpha": lora["alpha"],
        "lora_dropout": lora["dropout"],
        "target_modules": list(lora["target_modules"]),
        "bias": "none",
        "use_rslora": lora["rslora"],
        "use_gradient_checkpointing": checkpointing(recipe),
        "random_state": recipe["seed"],
    }


def checkpointing(recipe: Options) -> str | bool:
    """Unsloth's own checkpointing moves activations to main memory."""
    return "unsloth" if recipe["gradient_checkpointing"] else False


def quantisation(recipe: Options) -> Options:
    """Arguments for BitsAndBytesConfig, as Unsloth sets them for load_in_4bit."""
    return {
        "load_in_4bit": recipe["load_in_4bit"],
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": recipe["dtype"],
    }


def training(recipe: Options, out: Path, on_cpu: bool) -> Options:
    """Arguments for SFTConfig. Steps, warm-up and evaluations are set once the number of batches is
    known."""
    return {
        "output_dir": str(out),
        "use_cpu": on_cpu,
        "num_train_epochs": recipe["epochs"],
        "per_device_train_batch_size": recipe["batch_size"],
        "per_device_eval_batch_size": recipe["batch_size"],
        "gradient_accumulation_steps": recipe["gradient_accumulation"],
        "max_length": recipe["max_length"],
        "packing": recipe["packing"],
        "learning_rate": recipe["learning_rate"],
        "lr_scheduler_type": {"constant": "constant_with_warmup"}.get(
            recipe["schedule"], recipe["schedule"]
        ),
        "optim": recipe["optimizer"],
        "weight_decay": recipe["weight_decay"],
        "max_grad_norm": recipe["max_grad_norm"],
        "bf16": recipe["dtype"] == "bfloat16",
        "gradient_checkpointing": recipe["gradient_checkpointing"],
        "seed": recipe["seed"],
        "data_seed": recipe["seed"],
        # Every evaluation saves a checkpoint, so that the best can be loaded at the end. Keep it,
        # the last, and one more, because an old checkpoint is removed before the last is marked
        # complete.
        "eval_strategy": "steps",
        "save_strategy": "steps",
        # Keep all if their answers choose the best.
        "save_total_limit": None if recipe["answers"] else 3,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "prediction_loss_only": True,
        # A resumed run must stop early at the same step as an uninterrupted run.
        "restore_callback_states_from_checkpoint": True,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "include_num_input_tokens_seen": "non_padding",
        "report_to": recipe["log_to"],
        "disable_tqdm": True,
        # Every process trains the whole adapter, and its graph never changes.
        "ddp_find_unused_parameters": False,
    }


def preference(recipe: Options, out: Path, on_cpu: bool) -> Options:
    """Arguments for DPOConfig: as `training`, with its own learning rate and no evaluations.

    A single pair at a time: without Liger's kernels, TRL keeps the logits of every token.
    """
    stage = recipe["preference"]
    shared = (
        *("use_cpu", "max_length", "optim", "weight_decay", "max_grad_norm", "bf16"),
        *("gradient_checkpointing", "seed", "data_seed", "logging_steps"),
        *("logging_nan_inf_filter", "report_to", "disable_tqdm"),
        "ddp_find_unused_parameters",
    )
    return {
        "output_dir": str(out),
        **{name: value for name, value in training(recipe, out, on_cpu).items() if name in shared},
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": recipe["batch_size"] * recipe["gradient_accumulation"],
        "num_train_epochs": stage["epochs"],
        "learning_rate": stage["learning_rate"],
        "beta": stage["beta"],
        "save_strategy": "no",
        "eval_strategy": "no",
    }


def steps(recipe: Options, batches: int) -> int:
    """Optimiser steps of a run, for `batches` per process and epoch."""
    accumulation: int = recipe["gradient_accumulation"]
    epochs: float = recipe["epochs"]
    return math.ceil(math.ceil(batches / accumulation) * epochs)


def eval_steps(recipe: Options, epoch: int, run: int) -> int:
    """Steps between two evaluations, for `epoch` steps per epoch and `run` steps in all."""
    per_epoch: int = recipe["evals_per_epoch"]
    return max(1, min(epoch, run) // per_epoch)


def eval_patience(recipe: Options, epoch: int, run: int) -> int:
    """Evaluations without a lower loss after which training stops early; 0: never."""
    epochs: float = recipe["patience"]
    return math.ceil(epochs * epoch / eval_steps(recipe, epoch, run))


def missing(recipe: Options, modules: Iterable[str]) -> Iterator[str]:
    """Problems with `target_modules`, since PEFT silently skips modules that do not exist.

    `modules` are the names of all modules in the base model.
    """
    there = {name.rpartition(".")[2] for name in modules}
    for name in recipe["lora"]["target_modules"]:
        if name not in there:
            linear = ", ".join(sorted(module for module in there if module.endswith("_proj")))
            yield (
                f"lora.target_modules has {name!r}, which the base model does not have: choose "
                f"from {linear}"
            )


def launch(processes: int) -> list[str]:
    """Arguments for `python -m accelerate.commands.launch` before the script: processes on one
    machine.

    The same on CPUs: without mpirun, --cpu would start a single process.
    """
    return [
        *("--num_processes", str(processes)),
        *("--num_machines", "1"),
        *("--mixed_precision", "no"),  # the script's own arguments set it
        *("--dynamo_backend", "no"),
        *("--main_process_port", "0"),  # any free port
        *(["--multi_gpu"] if processes > 1 else []),
    ]
