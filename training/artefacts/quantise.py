"""Quantises a merged model for vLLM with llm-compressor, without calibration data.

The job: {"model": folder, "out": new folder, "scheme": "fp8" or "w4a16"}. With "prompts" and
"tokens", the result includes the saved folder's next tokens: see training/artefacts/nexts.py.

fp8: weights in 8 bits, and activations if the GPU supports it (Hopper; on Ampere vLLM computes in
16). w4a16: weights in 4 bits by groups of inputs, rounded to nearest. NOT YET RUN ON A GPU.
"""

import shutil
from pathlib import Path
from typing import Any

from training.artefacts import nexts
from training.artefacts.merge import COPIED
from training.tuning import template
from training.tuning.hardware import device_for, placed
from training.tuning.problem import Problem

# Inputs that share a scale: smaller groups are more accurate, and vLLM's kernels support this size.
GROUPS = (128, 64, 32)


def run(job: dict[str, Any], tell: Any) -> dict[str, Any]:
    """Write the quantised model. Raises Problem."""
    import torch
    from llmcompressor import oneshot
    from transformers import AutoModelForCausalLM

    folder, out = Path(job["model"]), Path(job["out"])
    tell("quantising", 0, 2)
    there = placed(device_for(folder))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, **there)
    modifier, facts = chosen(job["scheme"], model)
    oneshot(model=model, recipe=modifier)
    tell("quantising", 1, 2)
    model.save_pretrained(out, save_compressed=True)
    for name in COPIED:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, out / name)
    template.write(folder, out)
    for path in out.iterdir():
        path.chmod(0o644)
    del model
    if job.get("prompts"):
        facts["made"] = nexts.saved(out, job["prompts"], job["tokens"])
    tell("quantising", 2, 2)
    return facts


def chosen(scheme: str, model: Any) -> tuple[Any, dict[str, Any]]:
    """llm-compressor's modifier, and facts about it. Raises Problem."""
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from llmcompressor.modifiers.quantization import QuantizationModifier

    # Skip the output layer: it chooses the token, and is the embedding in small models.
    ignore = ["lm_head"]
    if scheme == "fp8":
        modifier = QuantizationModifier(targets="Linear", scheme="FP8_DYNAMIC", ignore=ignore)
        return modifier, {"scheme": scheme}
    widths = {
        layer.in_features
        for name, layer in model.named_modules()
        if hasattr(layer, "in_features") and name not in ignore
    }
    group = next((size for size in GROUPS if all(w % size == 0 for w in widths)), None)
    if group is None:
        raise Problem(
            f"{model.name_or_path}: layers of {sorted(widths)} inputs cannot be divided into "
            f"groups of {', '.join(map(str, GROUPS))}: use --scheme fp8"
        )
    weights = QuantizationArgs(
        num_bits=4, type="int", symmetric=True, strategy="group", group_size=group
    )
    config = {"4 bits": QuantizationScheme(targets=["Linear"], weights=weights)}
    return (
        QuantizationModifier(config_groups=config, ignore=ignore),
        {"scheme": scheme, "group_size": group},
    )
