"""Log-probabilities of the next tokens after some prompts, for comparing weights."""

from pathlib import Path
from typing import Any

from training.tuning.hardware import device_for, placed

TOP = 20
Prompts = list[list[int]]
"""Token ids."""


def reference(adapted: Any, prompts: Prompts) -> dict[str, Any]:
    """The likeliest tokens after each prompt, and their log-probabilities with and without adapter.

    Args:
        adapted: a PEFT model, not merged yet.
        prompts: token ids of each prompt.
    """
    tokens = [row.topk(TOP).indices.tolist() for row in _after(adapted, prompts)]
    with adapted.disable_adapter():
        base = of(adapted, prompts, tokens)
    return {"tokens": tokens, "adapter": of(adapted, prompts, tokens), "base": base}


def saved(folder: Path, prompts: Prompts, tokens: Prompts) -> list[list[float]]:
    """Log-probabilities of these tokens after each prompt, with the weights of a folder."""
    import torch
    from transformers import AutoModelForCausalLM

    there = placed(device_for(folder))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, **there).eval()
    return of(model, prompts, tokens)


def of(model: Any, prompts: Prompts, tokens: Prompts) -> list[list[float]]:
    rows = zip(_after(model, prompts), tokens, strict=True)
    return [row[wanted].tolist() for row, wanted in rows]


def _after(model: Any, prompts: Prompts) -> list[Any]:
    import torch

    rows = []
    with torch.inference_mode():
        for prompt in prompts:
            logits = model(input_ids=torch.tensor([prompt], device=model.device)).logits
            rows.append(logits[0, -1].float().log_softmax(-1).cpu())
    return rows
