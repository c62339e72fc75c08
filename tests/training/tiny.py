"""Random weights of a small Llama, without torch, which takes 2 s to start."""

import json
import struct
from pathlib import Path

import numpy as np


def write_weights(folder: Path) -> None:
    """Write model.safetensors beside config.json, in bfloat16."""
    config = json.loads((folder / "config.json").read_text())
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    keys = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    block = {
        "input_layernorm": (hidden,),
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "post_attention_layernorm": (hidden,),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    shapes = {"embed_tokens": (config["vocab_size"], hidden), "norm": (hidden,)}
    for layer in range(config["num_hidden_layers"]):
        shapes |= {f"layers.{layer}.{name}": shape for name, shape in block.items()}
    random = np.random.default_rng(0)
    # https://github.com/huggingface/safetensors#format
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, shape in shapes.items():
        weight = random.normal(0, 0.1, shape) if len(shape) == 2 else np.ones(shape)
        half = (weight.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        place = [len(data), len(data) + len(half)]
        header[f"model.{name}.weight"] = {
            "dtype": "BF16",
            "shape": list(shape),
            "data_offsets": place,
        }
        data += half
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
