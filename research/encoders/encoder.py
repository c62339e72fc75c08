"""The common base of the two cross-encoders: MiniLM, encoding of pairs, training, and ONNX
export."""

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer
from transformers import BertModel

# The embeddings and the first layers are frozen.
FROZEN = 3
RATE = 1e-4
DECAY = 0.05
SIZE = 384
# Batch size for scoring pairs.
TOGETHER = 12
# [CLS], [SEP] and [MASK] of BERT.
CLS, SEP, MASK = 101, 102, 103


class PairStates(NamedTuple):
    """The hidden states of a pair's tokens, and masks of its two texts."""

    states: torch.Tensor
    mask: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor


class CrossEncoder(torch.nn.Module):  # type: ignore[misc]
    """Encodes two texts together. Subclasses compute the score."""

    def __init__(self, base: Path) -> None:
        super().__init__()
        self.encoder = BertModel.from_pretrained(base, add_pooling_layer=False)
        layers = self.encoder.encoder.layer
        for layer in layers:
            layer.attention.self.dropout.p = 0.0  # dropout makes attention several times slower
        for part in (self.encoder.embeddings, *layers[:FROZEN]):
            for parameter in part.parameters():
                parameter.requires_grad = False

    def read(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> PairStates:
        states = self.encoder(input_ids, attention_mask, token_type_ids).last_hidden_state.float()
        mask = attention_mask.float()
        inner = mask * (input_ids != CLS).float() * (input_ids != SEP).float()
        return PairStates(states, mask, inner * (1 - token_type_ids), inner * token_type_ids)

    def body(self) -> list[torch.nn.Parameter]:
        """The encoder's trainable parameters."""
        return [parameter for parameter in self.encoder.parameters() if parameter.requires_grad]


def mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp_min(1)


def tokenizer_of(base: Path, tokens: int) -> Any:
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(tokens)
    return tokenizer


def encode(tokenizer: Any, first: str, second: str) -> tuple[list[int], list[int]]:
    read = tokenizer.encode(first, second)
    return read.ids, read.type_ids


def scores(model: torch.nn.Module, pairs: Sequence[tuple[list[int], list[int]]]) -> torch.Tensor:
    """The scores of pairs, in order; pairs of similar length are batched."""
    results: list[Any] = [None] * len(pairs)
    order = sorted(range(len(pairs)), key=lambda place: len(pairs[place][0]))
    for at in range(0, len(order), TOGETHER):
        places = order[at : at + TOGETHER]
        given = padded([pairs[place] for place in places])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for place, score in zip(places, model(*given), strict=True):
                results[place] = score
    return torch.stack(results).float()


def padded(pairs: Sequence[tuple[list[int], list[int]]]) -> torch.Tensor:
    """Ids, mask and types of pairs, padded to one length."""
    size = -(-max(len(ids) for ids, _ in pairs) // 16) * 16
    given = torch.zeros(3, len(pairs), size, dtype=torch.long)
    for row, (ids, types) in enumerate(pairs):
        given[0, row, : len(ids)] = torch.tensor(ids)
        given[1, row, : len(ids)] = 1
        given[2, row, : len(ids)] = torch.tensor(types)
    return given


def masked(
    ids: Sequence[int], types: Sequence[int], share: float, chance: random.Random
) -> list[int]:
    """The ids with a share of the second text's tokens masked."""
    return [
        MASK if kind and token not in (CLS, SEP) and chance.random() < share else token
        for token, kind in zip(ids, types, strict=True)
    ]


class Descent:
    """AdamW whose learning rate rises for 20 steps and then falls to 0."""

    def __init__(
        self,
        model: CrossEncoder,
        head: Iterable[torch.nn.Parameter],
        others: Sequence[torch.nn.Parameter],
        steps: int,
        rate: float = RATE,
    ) -> None:
        """`head` has three times the encoder's learning rate, `others` a hundred times."""
        self._clipped = [*model.body(), *head]
        self._steps, self._rate, self._at = steps, rate, 0
        groups = [(model.body(), DECAY), (self._clipped[len(model.body()) :], DECAY), (others, 0.0)]
        self._times = (1.0, 3.0, 100.0)
        self._optimizer = torch.optim.AdamW(
            [{"params": list(parameters), "weight_decay": decay} for parameters, decay in groups],
            lr=rate,
        )

    def step(self, loss: torch.Tensor) -> None:
        rate = self._rate * min(1, (self._at + 1) / 20) * (1 - self._at / self._steps)
        for group, times in zip(self._optimizer.param_groups, self._times, strict=True):
            group["lr"] = rate * times
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._clipped, 1.0)
        self._optimizer.step()
        self._at += 1
        print(f"{self._at} of {self._steps}: loss {loss.item():.3f}", flush=True)


class _Logits(torch.nn.Module):  # type: ignore[misc]
    """Output of a cross-encoder in the format that sentence-transformers exports."""

    def __init__(self, model: CrossEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return self.model(*given).unsqueeze(-1)


def write(model: CrossEncoder, example: tuple[list[int], list[int]], out: Path) -> None:
    """Write ONNX with 8-bit weights. Needs onnx and onnxruntime."""
    # Training needs neither onnx nor onnxruntime.
    from onnxruntime.quantization import (  # type: ignore[import-untyped]  # noqa: PLC0415
        QuantType,
        quantize_dynamic,
    )

    model.eval()
    model.encoder.config._attn_implementation = "eager"
    ids, types = example
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
