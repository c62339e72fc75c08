"""`askdocs dataset build`: build training data from questions and a wiki."""

import json
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from askdocs.commands.options import JsonOption, WikiOption
from askdocs.models import model
from askdocs.state import home
from askdocs.state import instructions as telling
from askdocs.terminal.bar import Bar
from core.settings import load
from gateway.settings import GatewaySettings
from training.data import build as building
from training.data import card
from training.data.tokens import Tokens
from training.output import output
from wiki.index import embed


def build(
    file: Annotated[Path, typer.Argument(help="Questions and answers: a qa_pairs.jsonl.")],
    docs: WikiOption,
    out: Annotated[Path, typer.Option(help="New or empty folder for the dataset.")],
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    budget: Annotated[
        int | None,
        typer.Option(min=200, help="Tokens of pages in a prompt (default: gateway.page_budget)."),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="tokenizer.json or GGUF of the model to train (default: bundled)."),
    ] = None,
    refusals: Annotated[
        float,
        typer.Option(
            min=0, max=0.5, help="Share of examples without the page that contains the answer."
        ),
    ] = 0.2,
    closed_book: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of answerable rows without pages in the prompt."),
    ] = 0.0,
    instructions: Annotated[
        Path | None,
        typer.Option(help="The alias's instructions file, as for `aliases set`."),
    ] = None,
    as_served: Annotated[
        bool,
        typer.Option(
            "--as-served",
            help="Use the pages that the gateway finds for each question; what they support "
            "decides: answer, part of it, or refusal.",
        ),
    ] = False,
    quote: Annotated[
        bool,
        typer.Option("--quote", help="Begin answers with the sentences that support them."),
    ] = False,
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Skip rows whose pages do not exist.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the contents of the folder.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build everything, and write nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Build a dataset from questions and a wiki: prompts as the gateway sends them, and answers."""
    settings = load(GatewaySettings)
    wiki = building.wiki_of(docs, settings)
    options = building.Options(
        seed=seed,
        budget=budget or settings.page_budget,
        refusals=refusals,
        closed_book=closed_book,
        skip_unknown=skip_unknown,
        instructions=telling.read(instructions) if instructions else "",
        quotes=quote,
        as_served=as_served,
    )
    with nullcontext() if dry_run else output(out, force) as folder, Bar() as bar:
        tokens = Tokens(tokenizer or Path(model.shipped().source))
        with TemporaryDirectory(dir=folder) as work:
            built = building.build(file, wiki, tokens, embed.load(), options, Path(work), bar.show)
        facts = card.card(built, file, docs, tokens)
        if folder:
            facts["sha256"]["outputs"] = building.write(built, folder)
            (folder / "card.md").write_text(card.markdown(facts), encoding="utf-8")
            home.write_json(folder / "card.json", facts)
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        _show(facts, None if dry_run else out)


def _show(facts: dict[str, Any], out: Path | None) -> None:
    for name, part in facts["splits"].items():
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in part["kinds"].items() if count)
        print(f"{name:11} {part['examples']:,} examples: {kinds}")
    left = {name.replace("_", " "): n for name, n in facts["left_out"].items() if n}
    if left:
        print(f"left out    {', '.join(f'{count:,} {name}' for name, count in left.items())}")
    print(f"{out / 'card.md'} says more" if out else "dry run: nothing was written")
