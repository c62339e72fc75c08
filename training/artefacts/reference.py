"""Records reference answers of base model plus adapter to a dozen examples, for probing engines.

The job: {"base": folder, "adapter": folder, "data": folder made by `askdocs dataset build`,
"max_length": maximum tokens of an example, "refusals": as in the recipe, "seed": number, "out": new
file}. The file is read by training/artefacts/probe.py. Computed in float32 if memory allows, so
that any difference is the engine's rounding. Uses the GPU if there is one (not yet run on a GPU):
an 8B model takes hours to days on a CPU.
"""

import json
import math
from pathlib import Path
from random import Random
from typing import Any

import psutil

from training.artefacts.merge import load
from training.tuning import template
from training.tuning.encode import Encoded, digest, encode, ids, render
from training.tuning.hardware import device_for, stored
from training.tuning.problem import Problem
from training.tuning.thin import thin

EXAMPLES = 12
# A CPU engine reads about 400 tokens/s and answers all probes in half a minute.
SHORT = 1024
TOP = 20  # maximum of vLLM
# Shares of an answer after which the next token is probed.
PARTS = (0.0, 0.2, 0.5, 0.8)
# Tokens of at least 1 %, as in training/artefacts/probe.py.
MATTERS = math.log(0.01)


def run(job: dict[str, Any], tell: Any) -> dict[str, Any]:
    """Write the probes, and return the checks that need no engine. Raises Problem."""
    import torch
    from transformers import AutoTokenizer

    base, adapter, data = Path(job["base"]), Path(job["adapter"]), Path(job["data"])
    tokenizer = template.tokenizer(base)
    rows = encode(data / "validation.jsonl", tokenizer, job["max_length"])
    train = encode(data / "train.jsonl", tokenizer, job["max_length"])
    stay = thin([example.kind for example in train], job["refusals"], job["seed"])
    trained = digest(train[place] for place in stay)
    messages = [
        json.loads(line)["prompt"]
        for line in (data / "validation.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    chosen = choose(rows, job["seed"])
    if not chosen:
        raise Problem(
            f"{data / 'validation.jsonl'}: has no example to probe with: build the dataset again"
        )

    device = device_for(base)  # which training has left by now
    dtype = dtype_for(base, device)
    model = load(base, adapter, dtype, device)
    probes = []
    with torch.inference_mode():
        for done, number in enumerate(chosen):
            tell("probing the reference", done, len(chosen))
            row = rows[number]
            probes.append({"messages": messages[number], **probe(model, row)})
    tell("probing the reference", len(chosen), len(chosen))
    content = {
        "dtype": str(dtype).removeprefix("torch."),
        "seed": job["seed"],
        "probes": probes,
    }
    Path(job["out"]).write_text(json.dumps(content) + "\n", encoding="utf-8")
    return {
        "adapter_effect": effect(probes),
        "chat_template": tokenizer.chat_template
        == AutoTokenizer.from_pretrained(adapter).chat_template,
        "prompt_tokens": own_ids(adapter, messages, chosen) == [rows[n].prompt for n in chosen],
        "trained_tokens": trained,
    }


def choose(rows: list[Encoded], seed: int) -> list[int]:
    """Draw a dozen examples, by number, among those short enough to be read quickly."""
    order = Random(seed).sample(range(len(rows)), len(rows))  # noqa: S311
    order.sort(key=lambda number: len(rows[number].prompt) > SHORT)
    return sorted(order[:EXAMPLES])


def probe(model: Any, row: Encoded) -> dict[str, Any]:
    """Log-probabilities of reference and base at several places of the answer."""
    import torch

    places = sorted({int(part * len(row.completion)) for part in PARTS})
    at = [len(row.prompt) - 1 + place for place in places]
    tokens = torch.tensor([row.prompt + row.completion[: places[-1]]], device=model.device)
    positions = torch.tensor(
        at, device=model.device
    )  # with a large vocabulary, a whole prompt's logits take gigabytes
    tuned = model(tokens, logits_to_keep=positions).logits[0].float().log_softmax(-1)
    with model.disable_adapter():
        alone = model(tokens, logits_to_keep=positions).logits[0].float().log_softmax(-1)
    best = tuned.topk(TOP)
    return {
        "prompt": row.prompt,
        "answer": row.completion[: places[-1]],
        "places": [
            {
                "after": place,
                "tokens": best.indices[number].tolist(),
                "logprobs": rounded(best.values[number]),
                "base": rounded(alone[number, best.indices[number]]),
            }
            for number, place in enumerate(places)
        ],
    }


def rounded(values: Any) -> list[float]:
    return [round(value, 5) for value in values.tolist()]


def effect(probes: list[dict[str, Any]]) -> float:
    """The largest change of a relevant log-probability by the adapter, in nats."""
    moves: list[float] = [
        abs(tuned - base)
        for probe in probes
        for place in probe["places"]
        for tuned, base in zip(place["logprobs"], place["base"], strict=True)
        if max(tuned, base) >= MATTERS
    ]
    return max(moves)


def own_ids(adapter: Path, messages: list[Any], chosen: list[int]) -> list[list[int]]:
    """The prompts encoded with the adapter's own tokenizer and template."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(adapter)
    return [ids(tokenizer, render(tokenizer, messages[n], True)) for n in chosen]


def free(device: str) -> int:
    """Free bytes of memory on the device."""
    import torch

    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


def dtype_for(base: Path, device: str) -> Any:
    """float32 if the device's free memory holds it, including activations."""
    import torch

    return torch.float32 if 2.5 * stored(base) < free(device) else torch.bfloat16
