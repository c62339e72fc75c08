"""Trains a judge of "does this passage support this sentence", and writes it as ONNX in eight bits.

    PYTHON -m research.encoders.judge PAIRS.jsonl [CLAIMS.jsonl ...] --base FOLDER --out judge.onnx
                                      [--start WEIGHTS] [--keep WEIGHTS] [--weigh CLAIMS.jsonl]

PYTHON and the base are those of research/encoders/rerank.py; the pairs those of
research/encoders/pairs.py. `--keep` also writes the weights before they are rounded to eight bits,
from which another training can `--start`: first on documentation, then on labelled answers.
`--weigh` names held-out labelled claims, which determine the weight of the judge's score relative
to the rules' score.

Each token of the sentence gets a logit: is it wrong? The worst of them determines the sentence's
score. The loss has three parts: a right sentence scores above its wrong twin; each sentence is on
its side of 0; and the tokens that differ in a twin are the wrong ones.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import binary_cross_entropy_with_logits as entropy

from research.encoders import encoder
from research.encoders.encoder import SIZE, CrossEncoder, Descent

TOKENS = 144
RATE = 1.5e-4
GROUPS = 8  # per step
# Default weight of the score relative to the rules' logit, without claims to fit it.
BESIDE = 0.3
HIDDEN = 128
# Minimum similarity of a right sentence to a wrong one for a twin: their difference is wrong.
TWIN = 0.6
# Weight of a wrong token relative to other tokens.
RARE = 4.0


class Judge(CrossEncoder):
    """Scores how well a passage supports a sentence: a logit."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.near = torch.nn.Linear(SIZE, SIZE, bias=False)
        torch.nn.init.eye_(self.near.weight)
        self.hidden = torch.nn.Linear(3 * SIZE + 1, HIDDEN)
        self.out = torch.nn.Linear(HIDDEN, 1)
        self.whole = torch.nn.Linear(SIZE, 1)
        # Stored in the file: weight and constant of the logit added to that of the rules.
        self.register_buffer("scale", torch.tensor([BESIDE, 0.0]))

    def tokens(self, *given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The logit of each token being wrong, the sentence's mask, and its score."""
        states, mask, sentence, passage = self.read(*given)
        unit = states / states.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        asked = self.near(unit)
        like = asked @ unit.transpose(1, 2) - 3 * (1 - passage).unsqueeze(1)
        match = torch.softmax(12 * like, -1) @ states
        nearest = like.max(-1, keepdim=True).values
        compared = torch.cat([states, match, (states - match).abs(), nearest], -1)
        wrong = self.out(torch.nn.functional.gelu(self.hidden(compared))).squeeze(-1)
        worst = torch.logsumexp(wrong - 30 * (1 - sentence), -1)
        score = self.whole(encoder.mean(states, mask)).squeeze(-1) - worst
        return wrong, sentence, score

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return self.scale[0] * self.tokens(*given)[2] + self.scale[1]

    def head(self) -> list[torch.nn.Parameter]:
        parts = (self.near, self.hidden, self.out, self.whole)
        return [parameter for part in parts for parameter in part.parameters()]


class Claim(NamedTuple):
    """A sentence with a passage, and its characters that are known to be wrong."""

    text: str
    passage: str
    supported: bool
    wrong: tuple[tuple[int, int], ...] | None = ()
    """None: unknown."""
    rules: float | None = None
    """The rules' probability that it is supported."""


def read(file: Path) -> list[list[Claim]]:
    """Pairs of right and wrong sentences; a sentence without a counterpart is alone.

    Exits with an invalid line.
    """
    items: list[list[Claim]] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            claims = [
                Claim(
                    str(claim["text"]),
                    str(claim["passage"]),
                    bool(claim["supported"]),
                    rules=claim.get("rules"),
                )
                for claim in row["claims"]
            ]
        except (ValueError, KeyError, TypeError):
            sys.exit(f"{file}:{number}: no line of research/encoders/pairs.py")
        items += paired(claims)
    if not items:
        sys.exit(f"{file}: no claims")
    return items


def held(file: Path) -> list[Claim]:
    """The claims with a score of the rules. Exits if there are none."""
    # Distinct, because a right sentence is the twin of several wrong ones.
    claims = {(claim.text, claim.passage): claim for item in read(file) for claim in item}
    known = [claim for claim in claims.values() if claim.rules is not None]
    if not known:
        sys.exit(f"{file}: no claim has a score of the rules: use pairs of --answers or --written")
    return known


def paired(claims: Sequence[Claim]) -> list[list[Claim]]:
    """Each wrong sentence with the most similar right one; the others alone."""
    right = [claim for claim in claims if claim.supported]
    items, used = [], set()
    for claim in claims:
        if claim.supported:
            continue
        like = {other: _likeness(other.text, claim.text) for other in right}
        twin = max(right, key=lambda other: like[other], default=None)
        if twin is None:
            items.append([claim._replace(wrong=None)])
            continue
        used.add(twin)
        wrong = changed(twin.text, claim.text) if like[twin] >= TWIN else None
        items.append([twin, claim._replace(wrong=wrong)])
    return items + [[claim] for claim in right if claim not in used]


def changed(right: str, wrong: str) -> tuple[tuple[int, int], ...]:
    """The characters of the wrong sentence that differ; around a gap, its neighbours."""
    spans, at = [], 0
    for word in wrong.split():
        at = wrong.index(word, at)
        spans.append((at, at + len(word)))
        at += len(word)
    places = set()
    matcher = SequenceMatcher(None, right.split(), wrong.split(), autojunk=False)
    for kind, _, _, start, end in matcher.get_opcodes():
        if kind == "delete":
            places |= {max(0, start - 1), min(start, len(spans) - 1)}
        elif kind != "equal":
            places |= set(range(start, end))
    return tuple(spans[place] for place in sorted(places))


def _likeness(first: str, second: str) -> float:
    return SequenceMatcher(None, first.split(), second.split(), autojunk=False).ratio()


def loss_of(model: Judge, tokenizer: Any, items: Sequence[Sequence[Claim]]) -> torch.Tensor:
    claims = [claim for item in items for claim in item]
    encoded = [tokenizer.encode(claim.text, claim.passage) for claim in claims]
    order = sorted(range(len(claims)), key=lambda place: len(encoded[place].ids))
    scores: list[Any] = [None] * len(claims)
    of_tokens = []
    for at in range(0, len(order), encoder.TOGETHER):
        places = order[at : at + encoder.TOGETHER]
        given = encoder.padded([(encoded[p].ids, encoded[p].type_ids) for p in places])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            wrong, sentence, score = model.tokens(*given)
        for row, place in enumerate(places):
            scores[place] = score[row]
            spans = claims[place].wrong
            if spans is None:
                continue
            labels = torch.zeros(wrong.shape[1])
            for token, (start, end) in enumerate(encoded[place].offsets):
                if sentence[row, token] and any(start < b and a < end for a, b in spans):
                    labels[token] = 1.0
            weights = sentence[row] * (1 + (RARE - 1) * labels)
            each = entropy(wrong[row].float(), labels, reduction="none")
            of_tokens.append((each * weights).sum() / weights.sum().clamp_min(1))
    score = torch.stack(scores).float()
    labels = torch.tensor([float(claim.supported) for claim in claims])
    losses = [0.5 * entropy(score, labels)]
    if of_tokens:
        losses.append(torch.stack(of_tokens).mean())
    at, margins = 0, []
    for item in items:
        if len(item) == 2:
            margins.append(score[at] - score[at + 1])
        at += len(item)
    if margins:
        losses.append(torch.nn.functional.softplus(-torch.stack(margins)).mean())
    return torch.stack(losses).sum()


def train(model: Judge, tokenizer: Any, items: list[list[Claim]], rate: float, seed: int) -> None:
    """Train for one epoch."""
    chance = random.Random(seed)  # noqa: S311 -- no secret
    chance.shuffle(items)
    steps = -(-len(items) // GROUPS)
    descent = Descent(model, model.head(), [], steps, rate)
    for step in range(steps):
        descent.step(loss_of(model, tokenizer, items[step * GROUPS : (step + 1) * GROUPS]))


def scored(model: Judge, tokenizer: Any, claims: Sequence[Claim]) -> list[float]:
    """The score of each claim."""
    pairs = [encoder.encode(tokenizer, claim.text, claim.passage) for claim in claims]
    with torch.no_grad():
        return [float(score) for score in encoder.scores(model.eval(), pairs)]


def weigh(model: Judge, tokenizer: Any, claims: Sequence[Claim]) -> None:
    """Fit the weight of the score relative to the rules, and the constant."""
    rules = torch.logit(torch.tensor([claim.rules for claim in claims]), eps=1e-6)
    labels = torch.tensor([float(claim.supported) for claim in claims])
    model.scale.copy_(torch.tensor([1.0, 0.0]))
    score = torch.tensor(scored(model, tokenizer, claims))
    scale = torch.tensor([BESIDE, 0.0], requires_grad=True)
    fitting = torch.optim.LBFGS([scale], max_iter=100)

    def loss() -> torch.Tensor:
        fitting.zero_grad()
        value = entropy(rules + scale[0] * score + scale[1], labels) + 0.01 * scale[0] ** 2
        value.backward()
        return value

    fitting.step(loss)
    model.scale.copy_(scale.detach())
    print(f"beside the rules: {scale[0].item():.2f} of the score, and {scale[1].item():+.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pairs", type=Path, nargs="+")
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, metavar="WEIGHTS")
    parser.add_argument("--keep", type=Path, metavar="WEIGHTS")
    parser.add_argument("--weigh", type=Path, metavar="CLAIMS")
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--times", type=int, default=1, help="readings of the pairs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    tokenizer = encoder.tokenizer_of(options.base, TOKENS)
    items = [item for file in options.pairs for item in read(file)]
    known = held(options.weigh) if options.weigh else []
    model = Judge(options.base)
    if options.start:
        model.load_state_dict(load_file(options.start))
    for time in range(options.times):
        train(model.train(), tokenizer, items, options.rate / (1 + time), options.seed + time)
    if options.weigh:
        weigh(model, tokenizer, known)
    if options.keep:
        save_file(model.state_dict(), options.keep)
    encoder.write(model, encoder.encode(tokenizer, "It is on.", "It is off."), options.out)


if __name__ == "__main__":
    main()
