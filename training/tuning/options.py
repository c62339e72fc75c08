"""A recipe in the words of the libraries: Unsloth's, PEFT's and TRL's arguments."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Options = dict[str, Any]


def load(recipe: Options, base: Path | str) -> Options:
    """Of FastLanguageModel.from_pretrained."""
    return {
        "model_name": str(base),
        "max_seq_length": recipe["max_length"],
        "dtype": recipe["dtype"],
        "load_in_4bit": recipe["load_in_4bit"],
        "use_gradient_checkpointing": checkpointing(recipe),
        # Otherwise Unsloth takes a copy of its own from the hub for a name that it knows.
        "use_exact_model_name": True,
    }


def adapter(recipe: Options) -> Options:
    """Of FastLanguageModel.get_peft_model."""
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
    """Unsloth's own way puts activations into the memory of the computer."""
    return "unsloth" if recipe["gradient_checkpointing"] else False


def quantisation(recipe: Options) -> Options:
    """Of BitsAndBytesConfig, as Unsloth makes it for load_in_4bit."""
    return {
        "load_in_4bit": recipe["load_in_4bit"],
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": recipe["dtype"],
    }


def training(recipe: Options, out: Path, on_cpu: bool) -> Options:
    """Of SFTConfig. Steps, warm-up and evaluations follow when the number of batches is known."""
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
        # Every evaluation saves, so that the best can be taken at the end; it and the last are
        # kept, and one more, because the last is known to be whole only after one was removed.
        "eval_strategy": "steps",
        "save_strategy": "steps",
        # All are kept where their answers choose.
        "save_total_limit": None if recipe["answers"] else 3,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "prediction_loss_only": True,
        # A resumed run ends early when the other would have.
        "restore_callback_states_from_checkpoint": True,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "include_num_input_tokens_seen": "non_padding",
        "report_to": recipe["log_to"],
        "disable_tqdm": True,
        # All processes train all of an adapter, and its graph never changes.
        "ddp_find_unused_parameters": False,
    }


def preference(recipe: Options, out: Path, on_cpu: bool) -> Options:
    """Of DPOConfig: what `training` says, with its own learning rate, and without evaluations."""
    stage = recipe["preference"]
    shared = (
        *("use_cpu", "per_device_train_batch_size", "gradient_accumulation_steps", "max_length"),
        *("optim", "weight_decay", "max_grad_norm", "bf16", "gradient_checkpointing", "seed"),
        *("data_seed", "logging_steps", "logging_nan_inf_filter", "report_to", "disable_tqdm"),
        "ddp_find_unused_parameters",
    )
    return {
        "output_dir": str(out),
        **{name: value for name, value in training(recipe, out, on_cpu).items() if name in shared},
        "num_train_epochs": stage["epochs"],
        "learning_rate": stage["learning_rate"],
        "beta": stage["beta"],
        "save_strategy": "no",
        "eval_strategy": "no",
    }


def steps(recipe: Options, batches: int) -> int:
    """Of the optimiser, for `batches` of each process in an epoch."""
    accumulation: int = recipe["gradient_accumulation"]
    epochs: float = recipe["epochs"]
    return math.ceil(math.ceil(batches / accumulation) * epochs)


def eval_steps(recipe: Options, epoch: int, run: int) -> int:
    """Steps between two evaluations, for an `epoch` and a `run` of so many steps."""
    per_epoch: int = recipe["evals_per_epoch"]
    return max(1, min(epoch, run) // per_epoch)


def eval_patience(recipe: Options, epoch: int, run: int) -> int:
    """Evaluations without a lower loss after which training ends early; 0: it never does."""
    epochs: float = recipe["patience"]
    return math.ceil(epochs * epoch / eval_steps(recipe, epoch, run))


def missing(recipe: Options, modules: Iterable[str]) -> Iterator[str]:
    """What is wrong with the layers that get an adapter. PEFT passes over those that are not there.

    `modules` are the names of all modules of the base model.
    """
    there = {name.rpartition(".")[2] for name in modules}
    for name in recipe["lora"]["target_modules"]:
        if name not in there:
            linear = ", ".join(sorted(module for module in there if module.endswith("_proj")))
            yield (
                f"lora.target_modules has {name!r}, which the base model has not: choose of"
                f" {linear}"
            )


def launch(processes: int) -> list[str]:
    """Of `python -m accelerate.commands.launch`, before the script: processes on one machine.

    On CPUs, too: with --cpu it would start one process alone where there is no mpirun.
    """
    return [
        *("--num_processes", str(processes)),
        *("--num_machines", "1"),
        *("--mixed_precision", "no"),  # the script's own arguments say it
        *("--dynamo_backend", "no"),
        *("--main_process_port", "0"),  # any that is free
        *(["--multi_gpu"] if processes > 1 else []),
    ]
