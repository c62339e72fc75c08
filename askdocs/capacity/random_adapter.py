"""Writes an adapter with random weights in PEFT's format, without PEFT and torch."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from training.plan.shape import of_config

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


def write(folder: Path, model: Path, *, seed: int, rank: int = 8, size: float = 0.02) -> Path:
    """Write an adapter for all linear layers of the Llama model in the folder `model`.

    `size` is the standard deviation of B; 0 makes the adapter ineffective.

    Raises AskdocsError: the model's config.json cannot be read, or the architecture is not Llama.
    """
    shape = of_config(model / "config.json")
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    tensors = {}
    for layer in range(shape.num_hidden_layers):
        for name, (wide, high) in shape.linear.items():
            block = "self_attn" if name in ATTENTION else "mlp"
            at = f"base_model.model.model.layers.{layer}.{block}.{name}"
            tensors[f"{at}.lora_A.weight"] = random.normal(0, wide**-0.5, (rank, wide))
            tensors[f"{at}.lora_B.weight"] = random.normal(0, size, (high, rank))
    save(folder / "adapter_model.safetensors", tensors)
    (folder / "adapter_config.json").write_text(
        json.dumps(
            {
                "peft_type": "LORA",
                "task_type": "CAUSAL_LM",
                "base_model_name_or_path": str(model),
                "r": rank,
                "lora_alpha": 2 * rank,
                "lora_dropout": 0.0,
                "bias": "none",
                "target_modules": list(shape.linear),
            }
        ),
        encoding="utf-8",
    )
    return folder


def save(file: Path, tensors: dict[str, Any]) -> None:
    """https://github.com/huggingface/safetensors#format"""
    header: dict[str, Any] = {}
    at = 0
    written = []
    for name, tensor in tensors.items():
        data = tensor.astype("<f4").tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [at, at + len(data)],
        }
        at += len(data)
        written.append(data)
    head = json.dumps(header).encode()
    file.write_bytes(b"".join([struct.pack("<Q", len(head)), head, *written]))
