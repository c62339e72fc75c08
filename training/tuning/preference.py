"""The second stage: DPO on pairs of answers with TRL's DPOTrainer, starting from the first adapter.

TRL keeps a copy of the fine-tuned adapter as the reference. Unsloth is not used: the code is the
same on GPUs and CPUs. As pairs are few, there are no checkpoints: a killed stage starts over. Not
yet run on a GPU.
"""

import json
import random
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from trl import DPOConfig, DPOTrainer

from training.tuning import encode, hardware, options, saving, template
from training.tuning.problem import Problem
from training.tuning.progress import Progress
from training.tuning.tell import Teller

PAIRS = "pairs.jsonl"


def train(job: dict[str, Any], base: Path, teller: Teller) -> None:
    """Train, report events, and write adapter/ and then training.json.

    Args:
        job: see training/finetune.py.
        base: folder of the base model.
        teller: receives the events.

    Raises:
        Problem: something is wrong with the pairs or the recipe.
    """
    began = time.monotonic()
    recipe, out, first = job["recipe"], Path(job["out"]), Path(job["first"])
    tokenizer = template.tokenizer(base)
    pairs = read(Path(job["preferences"]) / PAIRS, tokenizer, recipe["max_length"])
    on_cpu = not torch.cuda.is_available()
    if on_cpu:
        hardware.refuse_gpu_options({**recipe, "packing": False})  # pairs are not packed
        torch.set_num_threads(hardware.threads())
    random.seed(recipe["seed"])
    # DPOConfig sets this process's GPU, onto which a quantised model is loaded: so it comes first.
    args = DPOConfig(**options.preference(recipe, out, on_cpu))
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base, **_loading(recipe)),
        str(first / saving.ADAPTER),
        is_trainable=True,
    )
    trainer = DPOTrainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(pairs),
        processing_class=tokenizer,
    )
    if job["max_steps"]:
        trainer.args.max_steps = job["max_steps"]
    trainable = sum(
        parameter.numel() for parameter in model.parameters() if parameter.requires_grad
    )
    facts = {"pairs": len(pairs), "trainable": trainable}
    trainer.add_callback(Progress(teller, facts, trainer.accelerator.wait_for_everyone))
    trainer.train()
    if not trainer.is_world_process_zero():
        return
    state = trainer.state
    logged = [entry for entry in state.log_history if "loss" in entry]
    done = {
        "preferred": logged[-1]["rewards/accuracies"],
        "step": state.global_step,
        "best_step": state.global_step,
        "stopped": "end",
        "seconds": round(time.monotonic() - began, 1),
    }
    first_facts = json.loads((first / saving.FACTS).read_text(encoding="utf-8"))
    saving.save_adapter(trainer.model, recipe["base_model"], base, out)
    saving.save_facts(
        out,
        {
            **done,
            "stage": "preference",
            "pairs": len(pairs),
            # Share of the pairs in a step for which the model agrees with the readers by its own
            # odds.
            "preferred": [(entry["step"], entry["rewards/accuracies"]) for entry in logged],
            "losses": [(entry["step"], entry["loss"]) for entry in logged],
            # The first stage's data, so that the same checks apply.
            "examples": first_facts["examples"],
            "token_ids_sha256": first_facts["token_ids_sha256"],
            "seed": recipe["seed"],
        },
        lambda: teller.tell("done", **done),
    )


def read(file: Path, tokenizer: Any, max_length: int) -> list[dict[str, Any]]:
    """Read the pairs. Raises Problem: the file is invalid, or a pair is too long."""
    try:
        # str.splitlines would also split at U+2028.
        rows = [json.loads(line) for line in file.read_bytes().splitlines()]
    except (OSError, ValueError) as error:
        raise Problem(
            f"{file}: cannot be read ({error}): create it with `askdocs dataset prefer`"
        ) from None
    if not rows:
        raise Problem(f"{file}: has no pairs: wait for more votes and reviews")
    for number, row in enumerate(rows, 1):
        for name in ("chosen", "rejected"):
            text = encode.render(tokenizer, row["prompt"] + row[name], False)
            if (length := len(encode.ids(tokenizer, text))) > max_length:
                raise Problem(
                    f"{file}:{number}: has {length:,} tokens, and would lose the end of its answer:"
                    f" set max_length = {length} or more, or `dataset prefer` with a smaller"
                    " --budget"
                )
    return [{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in rows]


def _loading(recipe: dict[str, Any]) -> dict[str, Any]:
    """Arguments for AutoModelForCausalLM.from_pretrained."""
    if not recipe["load_in_4bit"]:
        return {"dtype": recipe["dtype"]}
    quantised = BitsAndBytesConfig(**options.quantisation(recipe))
    return {"dtype": recipe["dtype"], "quantization_config": quantised}
