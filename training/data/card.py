"""The dataset card, as data and as Markdown."""

import hashlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gateway.answering.grounding.prompt import fingerprint
from training.data.build import Built
from training.data.examples import CLOSED, GROUNDED, KINDS, PARTIAL, REMOVED, Example
from training.data.shortcut import Openings, openings, shortcuts
from training.data.support import SUPPORTS
from training.data.tokens import Tokens

QUANTILES = (50, 90, 99, 100)


def card(built: Built, file: Path, wiki: str, tokens: Tokens) -> dict[str, Any]:
    """All facts except the hashes of the written files. Deterministic."""
    everything = [example for examples in built.parts.values() for example in examples]
    used_kinds = (GROUNDED, PARTIAL, REMOVED) if built.options.as_served else (GROUNDED,)
    used = sorted({path for example in everything for path in example.pages if path})
    return {
        "file": file.name,
        "wiki": wiki,
        "options": asdict(built.options),
        "splits": {name: _split(examples) for name, examples in built.parts.items()},
        "validation": {
            "share": _share(len(built.split.validation), built.split.train),
            "on_pages_of_train": _on_pages_of_train(built),
        },
        "left_out": {
            "unknown_page": len(built.skipped),
            "cut": sum(len(mixed.answerable) for mixed in built.mixed.values())
            - sum(example.kind in used_kinds for example in everything),
            "no_page": sum(len(mixed.pageless) for mixed in built.mixed.values()),
            "unanswerable": sum(len(mixed.surplus) for mixed in built.mixed.values()),
        },
        "wanted_removed": {name: mixed.removed for name, mixed in built.mixed.items()},
        "shortcuts": {name: result._asdict() for name, result in shortcuts(everything).items()},
        "openings": openings(built.parts["train"])._asdict(),
        "lengths": {
            "prompt": _quantiles([example.tokens for example in everything]),
            "answer": _quantiles([example.answer_tokens for example in everything]),
        },
        "distractors": built.embedded or "words only",
        "tokenizer": {"name": tokens.name, "sha256": tokens.sha256},
        "prompt_fingerprint": fingerprint(built.options.instructions),
        "unread": [f"{page.path}: {page.why}" for page in built.broken],
        "versions": {
            "python": ".".join(map(str, sys.version_info[:3])),
            **{name: version(name) for name in ("askdocs", "tokenizers", "onnxruntime")},
        },
        "sha256": {
            "input": hashlib.sha256(file.read_bytes()).hexdigest(),
            "pages": {
                path: hashlib.sha256(built.pages[path].text.encode()).hexdigest() for path in used
            },
        },
    }


def markdown(card: dict[str, Any]) -> str:
    """Render the card as Markdown."""
    return "\n".join(_lines(card)) + "\n"


def _split(examples: Sequence[Example]) -> dict[str, Any]:
    open_book = [example for example in examples if example.kind != CLOSED]
    grounded = [example for example in open_book if example.kind in (GROUNDED, PARTIAL)]
    kinds = Counter(example.kind for example in examples)
    positions = Counter((len(e.pages), e.position) for e in grounded if e.position)
    supports = Counter(example.support for example in grounded)
    claiming = supports["supported"] + supports["unsupported"]
    return {
        "examples": len(examples),
        "kinds": {kind: kinds[kind] for kind in KINDS},
        "gold_present": round(len(grounded) / max(1, len(open_book)), 4),
        "refusals": round(1 - len(grounded) / max(1, len(open_book)), 4) if open_book else 0.0,
        "pages": {str(k): n for k, n in sorted(Counter(len(e.pages) for e in open_book).items())},
        "positions": {f"{at} of {of}": positions[of, at] for of, at in sorted(positions)},
        "limited": sum(example.is_limited for example in grounded),
        "cut": sum(not example.is_whole for example in grounded),
        "support": {name: supports[name] for name in SUPPORTS},
        "supported": round(supports["supported"] / max(1, claiming), 4),
        "several_golds": sum(len(example.golds) > 1 for example in grounded),
    }


def _share(part: int, rest: Sequence[object]) -> float:
    return round(part / (part + len(rest)), 4)


def _on_pages_of_train(built: Built) -> int:
    """Number of validation rows about a page that train rows are about, too."""
    known = {page for row in built.split.train for page in row.pages}
    return sum(not known.isdisjoint(row.pages) for row in built.split.validation)


def _quantiles(values: Sequence[int]) -> dict[str, int]:
    ordered = sorted(values)
    return {f"p{q}": ordered[(len(ordered) - 1) * q // 100] for q in QUANTILES}


def _lines(card: dict[str, Any]) -> Iterator[str]:
    splits, left = card["splits"], card["left_out"]
    options = {name: value for name, value in card["options"].items() if name != "instructions"}
    yield f"# Dataset of {card['file']}"
    yield (
        f"\nMade by `askdocs dataset build` from {card['file']} and {card['wiki']}, by the prompt"
        f" contract {card['prompt_fingerprint']}. The columns are `prompt`, `completion` and"
        " `meta`; the lengths are drawn in lengths.png."
    )
    if instructions := card["options"]["instructions"]:
        yield "\n## Instructions\n"
        yield "Every prompt begins with these instructions, as the gateway's alias has them:\n"
        yield from (f"    {line}" for line in instructions.splitlines())
    yield "\n## Examples\n"
    names = list(splits)
    yield from _table(
        ["", *names],
        [[kind, *(splits[name]["kinds"][kind] for name in names)] for kind in KINDS]
        + [
            ["all", *(splits[name]["examples"] for name in names)],
            ["with the page that answers", *(f"{splits[n]['gold_present']:.1%}" for n in names)],
            ["refusals", *(f"{splits[n]['refusals']:.1%}" for n in names)],
            ["answer is supported by its pages", *(f"{splits[n]['supported']:.1%}" for n in names)],
            ["several pages answer", *(splits[n]["several_golds"] for n in names)],
            ["page that answers is cut to fit", *(splits[n]["cut"] for n in names)],
            ["wiki had too few pages for any position", *(splits[n]["limited"] for n in names)],
            ["rows also used without their page", *(card["wanted_removed"][n] for n in names)],
        ],
    )
    yield (
        f"\nValidation has {card['validation']['share']:.1%} of the rows;"
        f" {card['validation']['on_pages_of_train']:,} of them are about a page that train has rows"
        " about, too. Shares are of the examples with pages in front."
    )
    yield (
        "\nAn answer counts as supported if the gateway's check marks no sentence of it; answers "
        "without a claim are not counted. A model that learns unsupported answers learns to"
        " write what no page says; `askdocs dataset ground` rewrites them."
    )
    yield (
        f"\nLeft out: {left['unknown_page']:,} rows whose page the wiki does not have,"
        f" {left['cut']:,} whose page lost the answer when it was cut to fit,"
        f" {left['no_page']:,} without a page or text, {left['unanswerable']:,} unanswerable beyond"
        " half of the refusals."
    )
    yield "\n## Pages in a prompt\n"
    numbers = sorted({number for name in names for number in splits[name]["pages"]}, key=int)
    yield from _counts("pages", numbers, names, {n: splits[n]["pages"] for n in names})
    yield "\n## Position of the page that answers\n"
    places = sorted({place for name in names for place in splits[name]["positions"]}, key=_place)
    yield from _counts("position", places, names, {n: splits[n]["positions"] for n in names})
    yield "\n## Score of a reader who ignores the question\n"
    yield (
        "Mean token F1 of the answers against the first two sentences of a page, where several are"
        " in front. Position gives answers away if, overall, the first page scores above any page "
        "by more than twice the error.\n"
    )
    yield from _table(
        ["position", "examples", "first page", "any page", "error", "page that answers"],
        [
            [
                name,
                result["examples"],
                *(f"{result[k]:.3f}" for k in ("first", "any", "error", "gold")),
            ]
            for name, result in card["shortcuts"].items()
        ],
    )
    first = Openings(**card["openings"])
    yield (
        f"\nOf the train split's answers, {first.refusal:.1%} are refusals with the same first "
        "words;"
        f" {first.answer:.1%} are answers that begin with `{first.word}`, and none begins more"
        " often."
    )
    if first.refuses_always:
        yield (
            "A model that cannot tell which questions the pages answer refuses them all by greedy"
            " decoding. Small ones need a recipe whose `refusals` is lower."
        )
    yield "\n## Lengths in tokens\n"
    yield from _table(
        ["", *(f"{q} %" for q in QUANTILES)],
        [[name, *map(_number, lengths.values())] for name, lengths in card["lengths"].items()],
    )
    yield (
        f"\nCounted with {card['tokenizer']['name']}, without the chat template. Half of"
        " the prompts have at most the tokens of the first column, and so on."
    )
    yield "\n## Made with\n"
    yield from _table(
        ["", ""],
        [
            *options.items(),
            ("distractors found by", card["distractors"]),
            *card["versions"].items(),
        ],
    )
    if card["unread"]:
        yield "\nFiles of the wiki that could not be read:\n"
        yield from (f"- {path}" for path in card["unread"])
    yield "\n## SHA-256\n"
    hashes = card["sha256"]
    yield from _table(
        ["", ""],
        [
            (card["file"], hashes["input"]),
            ("tokenizer.json", card["tokenizer"]["sha256"]),
            *hashes["outputs"].items(),
            *hashes["pages"].items(),
        ],
    )


def _counts(
    what: str, rows: Sequence[str], names: Sequence[str], counts: dict[str, dict[str, int]]
) -> Iterator[str]:
    yield from _table(
        [what, *names], [[row, *(counts[name].get(row, 0) for name in names)] for row in rows]
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(_number(cell) for cell in row)} |"


def _number(cell: object) -> str:
    is_count = isinstance(cell, int) and not isinstance(cell, bool)
    return f"{cell:,}" if is_count else str(cell).replace("|", "\\|")


def _place(place: str) -> tuple[int, int]:
    at, _, of = place.partition(" of ")
    return int(of), int(at)
