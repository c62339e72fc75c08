"""Merges base model and adapter into one model in bf16, for engines without adapters.

The job: {"base": folder, "adapter": folder, "out": new folder}.

Uses PEFT, not Unsloth: it needs only the base model's folder, however the adapter was trained (4
bits, a GPU), and rounds each weight once, from the sum in float32. On a GPU that holds the model
it is loaded there; not yet run on a GPU.
"""

import shutil
from pathlib import Path
from typing import Any

from training.tuning import template
from training.tuning.hardware import device_for, placed
from training.tuning.problem import Problem

SHARD = "4GB"
# Copied from the base model, because saving them again would change them.
COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
)


def run(job: dict[str, Any], tell: Any) -> dict[str, Any]:
    """Write the merged model. Raises Problem."""
    import torch

    base, out = Path(job["base"]), Path(job["out"])
    tell("merging", 0, 3)
    device = device_for(base)
    model = load(base, Path(job["adapter"]), torch.bfloat16, device)
    tell("merging", 1, 3)
    merged = model.merge_and_unload()
    broken = [name for name, w in merged.named_parameters() if not torch.isfinite(w).all()]
    if broken:
        raise Problem(f"{job['adapter']}: {broken[0]} is not finite when merged: train it again")
    tell("merging", 2, 3)
    merged.save_pretrained(out, max_shard_size=SHARD)
    for name in COPIED:
        if (base / name).is_file():
            shutil.copyfile(base / name, out / name)
    template.write(base, out)
    for path in out.iterdir():
        path.chmod(0o644)  # safetensors makes them readable only by their owner
    tell("merging", 3, 3)
    return {"dtype": "bfloat16"}


def load(base: Path, adapter: Path, dtype: Any, device: str) -> Any:
    """Load the base model with the adapter for inference."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, **placed(device))
        return PeftModel.from_pretrained(model, adapter).eval()
    except (ValueError, RuntimeError, KeyError) as error:
        first = str(error).strip().splitlines()[0]
        raise Problem(
            f"{adapter}: does not fit {base} ({first}): name the adapter's base model"
        ) from None
