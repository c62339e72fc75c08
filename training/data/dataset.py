"""Reads a folder made by `askdocs dataset build` for a training run."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import AskdocsError
from training.plan.recipe import Recipe
from training.tuning.thin import thin

CARD = "card.json"
SPLITS = ("train", "validation")
# Maximum tokens that the chat template adds to an example. ChatML adds 16; Llama 3.1 adds 43: 5 for
# each of three messages, the beginning of the text, and two dates in the system prompt.
TEMPLATE = 48
AGAIN = "build the dataset again"


@dataclass(frozen=True)
class Dataset:
    """The card's facts and the lengths of the rows."""

    folder: Path
    card: dict[str, Any]
    lengths: dict[str, list[int]]
    """Tokens of each row of each split in file order, chat template included."""
    kinds: list[str]
    """The kind of each train row."""
    digest: str
    """SHA-256 of the card, which contains the splits' hashes."""

    @property
    def longest(self) -> int:
        return max(max(lengths) for lengths in self.lengths.values())

    def trained(self, recipe: Recipe) -> list[int]:
        """Tokens of each example that a run trains on."""
        lengths = self.lengths["train"]
        return [lengths[place] for place in thin(self.kinds, recipe.refusals, recipe.seed)]


def read(folder: Path) -> Dataset:
    """Read the dataset and verify the splits against the card.

    Raises:
        AskdocsError: the folder is not a dataset, or a split is empty or was edited.
    """
    try:
        data = (folder / CARD).read_bytes()
        card = json.loads(data)
        hashes = card["sha256"]["outputs"]
    except (OSError, ValueError, KeyError, TypeError):
        raise AskdocsError(
            f"--data {folder}: has no {CARD}: name a folder that `askdocs dataset build` wrote"
        ) from None
    metas = {name: _metas(folder / f"{name}.jsonl", hashes) for name in SPLITS}
    lengths = {
        name: [row["tokens"] + row["answer_tokens"] + TEMPLATE for row in rows]
        for name, rows in metas.items()
    }
    kinds = [row["kind"] for row in metas["train"]]
    return Dataset(folder, card, lengths, kinds, hashlib.sha256(data).hexdigest())


def _metas(file: Path, hashes: dict[str, str]) -> list[dict[str, Any]]:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise AskdocsError(f"{file}: cannot be read ({error.strerror}): {AGAIN}") from None
    if hashlib.sha256(data).hexdigest() != hashes.get(file.name):
        raise AskdocsError(
            f"{file}: differs from {CARD}, because it was changed after the build: change the "
            f"source rows instead, and {AGAIN}"
        )
    rows = [json.loads(line)["meta"] for line in data.splitlines()]
    if not rows:
        raise AskdocsError(f"{file}: is empty: {AGAIN} from more rows")
    return rows
