"""Measures memory and tokens per second of training steps, with random weights of a model's shape.

    PYTHON -I training/plan/trial.py JOB.json

Needs PyTorch, transformers and PEFT (for 4 bits and an 8-bit optimiser also bitsandbytes), but no
weights and no network, so that it can be copied alone to a GPU machine. JOB is an object:

    shape       sizes of the model, named as in its config.json
    lora        r, alpha, dropout, target_modules
    dtype       bfloat16 or float32
    batch_size, tokens, steps
    gradient_checkpointing
    quantisation  arguments of BitsAndBytesConfig (QLoRA); without it, weights are in `dtype`
    optimizer   adamw_torch or adamw_8bit
    packing     rows hold several examples, each with positions from 0

    save        a new folder: write the random weights there, and take no step

The standard output is one JSON object: `device`, `memory` (peak bytes, on the GPU if there is one),
`tokens_per_second` after the first step, `losses`. Not yet run on a GPU.
"""

import json
import os
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Tokens per chunk of logits, as in Unsloth: the 128,256 logits of a token take half a MB.
CHUNK = 512
# Examples in a packed row.
PACKED = 4


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python training/plan/trial.py JOB.json", file=sys.stderr)
        return 2
    job = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    # Waiting threads must not take cores from working ones.
    os.environ.update({"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"})
    output = os.dup(1)
    os.dup2(2, 1)  # keep library output off standard output
    os.write(output, (json.dumps(run(job)) + "\n").encode())
    return 0


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Train and measure."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if job.get("save"):
        drawn(job, device).save_pretrained(job["save"])
        return {"versions": versions()}
    model = make(job, device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = optimiser(job.get("optimizer"), trained)
    shape = job["batch_size"], job["tokens"]
    ids = torch.randint(0, job["shape"]["vocab_size"], shape, device=device)
    positions = torch.arange(shape[1], device=device).expand(shape)
    if job.get("packing"):
        positions = positions % -(-shape[1] // PACKED)
    losses, began = [], 0.0
    for step in range(job["steps"]):
        if step == 1:
            began = now(device)
        loss = loss_of(model, ids, positions)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    seconds = now(device) - began
    tokens = shape[0] * shape[1] * (job["steps"] - 1)
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "memory": memory(device),
        "tokens_per_second": round(tokens / seconds, 1),
        "losses": losses,
        "trainable": sum(parameter.numel() for parameter in trained),
        "versions": versions(),
    }


def optimiser(name: str | None, trained: list[Any]) -> Any:
    """AdamW with 32-bit or 8-bit state."""
    if name == "adamw_8bit":
        from bitsandbytes.optim import AdamW8bit

        return AdamW8bit(trained, lr=1e-4)
    from torch.optim import AdamW

    return AdamW(trained, lr=1e-4)


def drawn(job: dict[str, Any], device: str) -> Any:
    """A Llama of this shape with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    dtype = getattr(torch, job["dtype"])
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # created in its dtype: float32 would need twice the memory
    try:
        with torch.device(device):
            return LlamaForCausalLM(LlamaConfig(**job["shape"], use_cache=False))
    finally:
        torch.set_default_dtype(default)


def drawn_small(job: dict[str, Any], device: str) -> Any:
    """Like `drawn`, with 4-bit linear layers: created layer by layer, never whole in 16 bits."""
    import torch
    from bitsandbytes.nn import Linear4bit, Params4bit
    from transformers import BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

    config = BitsAndBytesConfig(**job["quantisation"])
    kind = {
        "compress_statistics": config.bnb_4bit_use_double_quant,
        "quant_type": config.bnb_4bit_quant_type,
    }
    dtype = getattr(torch, job["dtype"])
    few = {**job["shape"], "num_hidden_layers": 0}
    model = drawn({**job, "shape": few}, device)
    with torch.device("meta"):
        whole = LlamaForCausalLM(LlamaConfig(**job["shape"], use_cache=False))
    for layer in whole.model.layers:
        for name, part in list(layer.named_modules()):
            owner, _, last = name.rpartition(".")
            if isinstance(part, torch.nn.Linear):
                weight = (
                    torch.randn(part.weight.shape, dtype=dtype) * whole.config.initializer_range
                )
                small = Linear4bit(
                    part.in_features, part.out_features, bias=False, compute_dtype=dtype, **kind
                )
                small.weight = Params4bit(weight, requires_grad=False, **kind)
                setattr(layer.get_submodule(owner), last, small.to(device))
            elif name.endswith("layernorm"):
                part.weight = torch.nn.Parameter(torch.ones(part.weight.shape, dtype=dtype))
        layer.to(device)
    model.model.layers = whole.model.layers
    model.model.config = model.config = whole.config
    model.is_loaded_in_4bit = True  # PEFT checks this attribute
    return model


def make(job: dict[str, Any], device: str) -> Any:
    """A random Llama with an adapter."""
    from peft import LoraConfig, get_peft_model

    model = drawn_small(job, device) if job.get("quantisation") else drawn(job, device)
    if job["gradient_checkpointing"]:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    lora = job["lora"]
    adapter = LoraConfig(
        r=lora["r"],
        lora_alpha=lora["alpha"],
        use_rslora=lora.get("rslora", False),
        lora_dropout=lora["dropout"],
        target_modules=list(lora["target_modules"]),
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(model, adapter)
    model.train()
    return model


def loss_of(model: Any, ids: Any, positions: Any) -> Any:
    """Next-token loss. Logits are computed a chunk at a time, and again in the backward pass."""
    import torch
    from torch.nn.functional import cross_entropy
    from torch.utils.checkpoint import checkpoint

    llama = model.get_base_model()
    hidden = (
        llama.model(input_ids=ids, position_ids=positions).last_hidden_state[:, :-1].flatten(0, 1)
    )
    wanted = ids[:, 1:].flatten()

    def part(states: Any, labels: Any) -> Any:
        return cross_entropy(llama.lm_head(states).float(), labels, reduction="sum")

    parts = zip(hidden.split(CHUNK), wanted.split(CHUNK), strict=True)
    sums = [checkpoint(part, states, labels, use_reentrant=False) for states, labels in parts]
    return torch.stack(sums).sum() / len(wanted)


def now(device: str) -> float:
    """The time in seconds, once the device has finished its queue."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    return time.monotonic()


def memory(device: str) -> int:
    """Peak memory in bytes."""
    import torch

    if device == "cuda":
        return int(torch.cuda.max_memory_reserved())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("torch", "transformers", "peft")}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
