"""A made-up wiki of devices, questions about it, and a dataset built of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers

from training.data import build, card
from training.data.build import Built, Options
from training.data.tokens import Tokens
from wiki.index.embed import Embedder
from wiki.sources.spec import Spec

SITE = "https://wiki.example.com/"
DEVICES = [
    f"{first}{second}"
    for first in ("alpha", "bravo", "delta", "gamma", "omega", "sigma")
    for second in ("pump", "lamp", "fan", "drill")
]
PARTS = ("filter", "valve", "cable", "switch", "bearing", "sensor", "gasket", "spring")


def wiki(folder: Path) -> Path:
    """A page for each device, with a section for each part, in a folder under `folder`."""
    place = folder / "wiki"
    place.mkdir(parents=True)
    for number, device in enumerate(DEVICES):
        sections = [
            f"## The {part}\n\nReplace the {part} of the {device} every {number + 3} weeks. Use"
            f" grease {device[:2]}{part[:3]}{number} and a wrench.\n"
            for part in PARTS
        ]
        if number % 3 == 0:  # too long to stand beside another one in a small budget
            sections.append("## History\n\n" + f"It was the first {device} of its kind. " * 20)
        text = f"# The {device}\n\nHow to service the {device}.\n\n" + "\n".join(sections)
        (place / f"{device}.md").write_text(text)
    return place


def questions() -> list[dict[str, Any]]:
    """One for each part of each device, and some that no page answers."""
    found: list[dict[str, Any]] = [
        {
            "question": f"When do I replace the {part} of the {device}?",
            "answer": f"Every {number + 3} weeks, with grease {device[:2]}{part[:3]}{number}.",
            "context_doc": f"docs/{device}.md",
        }
        for number, device in enumerate(DEVICES)
        for part in PARTS
    ]
    found += [
        {"question": f"Who sells the {place} {thing} wrench?", "answerable": False}
        for place in ("northern", "southern", "eastern", "western", "central", "coastal")
        for thing in ("golden", "silver", "wooden", "rubber", "plastic", "paper", "glass", "stone")
    ]
    return found


def write(file: Path, rows: Sequence[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def tokenizer(folder: Path) -> Path:
    """A token for each word."""
    one = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    one.pre_tokenizer = pre_tokenizers.Whitespace()
    one.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def built(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    embedder: Embedder | None = None,
    counting: Path | None = None,
    **more: Any,
) -> Built:
    """Of the wiki that is in `folder`, or of a new one; without an embedder by words alone."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / "wiki"
    options = Options(
        **{
            "seed": 0,
            "budget": 3000,
            "refusals": 0.2,
            "closed_book": 0.0,
            "skip_unknown": False,
            **more,
        }
    )
    return build.build(
        write(folder / "qa_pairs.jsonl", rows),
        Spec.named(str(place if place.exists() else wiki(folder)), None, SITE),
        Tokens(counting or tokenizer(folder)),
        embedder,
        options,
        folder / "work",
        lambda step, done, total: None,
    )


def dataset(folder: Path, counting: Path | None = None) -> Path:
    """The folder of a dataset, as the command makes it, counted with a tokenizer.json."""
    counting = counting or tokenizer(folder)
    made = built(folder, questions()[::12], counting=counting)
    place = folder / "dataset"
    place.mkdir()
    facts = card.card(made, folder / "qa_pairs.jsonl", "wiki", Tokens(counting))
    facts["sha256"]["outputs"] = build.write(made, place)
    (place / "card.json").write_text(json.dumps(facts))
    return place
