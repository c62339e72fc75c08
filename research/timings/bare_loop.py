"""The least that trains an adapter: PyTorch, PEFT and a loop. Beside it, train_speed.py measures.

    PYTHON -I research/timings/bare_loop.py JOB.json

Runs by the Python of the environment `train`, with a job as training/finetune.py takes it. Prints
what that prints of each step: how many it is, the tokens and the seconds so far.
"""

import json
import os
import sys
import time
import types
from pathlib import Path
from typing import Any

os.environ.update({"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"})

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.modules["training"] = types.ModuleType("training")
sys.modules["training"].__path__ = [str(Path(__file__).resolve().parents[2] / "training")]
from training.tuning.encode import IGNORED, encode  # noqa: E402


def main(job: Any) -> None:
    recipe, lora = job["recipe"], job["recipe"]["lora"]
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    tokenizer = AutoTokenizer.from_pretrained(job["base"])
    examples = encode(Path(job["data"]) / "train.jsonl", tokenizer, recipe["max_length"])
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(job["base"], dtype=torch.bfloat16),
        LoraConfig(
            r=lora["r"],
            lora_alpha=lora["alpha"],
            lora_dropout=lora["dropout"],
            target_modules=lora["target_modules"],
            task_type="CAUSAL_LM",
        ),
    ).train()
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe["learning_rate"], fused=True)
    accumulation, tokens, began = recipe["gradient_accumulation"], 0, time.monotonic()
    for at in range(0, len(examples), accumulation):
        rows = [one.row for one in examples[at : at + accumulation]]
        counted = sum(label != IGNORED for row in rows for label in row["labels"])
        for row in rows:
            batch = {name: torch.tensor([values]) for name, values in row.items()}
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(**batch, num_items_in_batch=counted, use_cache=False).loss
            loss.backward()
            tokens += len(row["labels"])
        torch.nn.utils.clip_grad_norm_(trained, recipe["max_grad_norm"])
        optimizer.step()
        optimizer.zero_grad()
        step = {"event": "step", "step": at // accumulation + 1, "tokens": tokens}
        print(json.dumps({**step, "seconds": time.monotonic() - began}), flush=True)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
