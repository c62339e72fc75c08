"""`askdocs dataset locate`: find the page of each row by its context."""

import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from askdocs.commands.feedback import refuse_existing, write_new
from askdocs.commands.options import JsonOption, WikiOption
from askdocs.terminal.bar import Bar
from eval.questions import rows as files
from gateway.core.gateway_settings import GatewaySettings
from gateway.core.settings import load
from training.data import locate as locating
from training.data.build import public, wiki_of


def locate(
    file: Annotated[Path, typer.Argument(help="Questions, answers and contexts: a .jsonl file.")],
    docs: WikiOption,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="New file, .jsonl; the original is unchanged.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Name the wiki's page of each row by the text in its context, where it names none."""
    refuse_existing(out)
    rows = files.read(file)
    wiki = wiki_of(docs, load(GatewaySettings))
    with (
        TemporaryDirectory() as place,
        Bar() as bar,
        public(wiki, Path(place), bar.show) as (view, _),
    ):
        found = locating.locate(rows, ((page.path, page.text) for page in view.pages()))
    lines = [
        json.dumps(locating.written(json.loads(line), located), ensure_ascii=False) + "\n"
        for (_, line), located in zip(files.lines(file), found, strict=True)
    ]
    write_new(out, "".join(lines))
    outcomes = Counter(located.outcome for located in found)
    missing = [
        row.line
        for row, located in zip(rows, found, strict=True)
        if located.outcome in ("not found", "on many pages")
    ]
    if as_json:
        print(json.dumps({"file": str(out), "outcomes": outcomes, "lines": missing}, indent=2))
        return
    for outcome, count in outcomes.most_common():
        print(f"{outcome:14} {count:,}")
    if missing:
        shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        print(f"without a page {file}: lines {shown}: their context stays in the row")
    print(f"next           askdocs dataset check {out} --docs {docs}")
