"""`askdocs eval label`: people label a random sample of a run's answers, in the browser."""

import getpass
import json
import math
import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer

from askdocs.commands.eval_report import RunArgument, SystemOption, run_folder
from askdocs.commands.options import HomeOption, JsonOption
from askdocs.evaluation import reports
from askdocs.evaluation.plan import pages_of
from askdocs.terminal.bar import Bar
from askdocs.wikis.index import index_file
from core.errors import AskdocsError
from eval.label import sample, server
from eval.running import run as runs


def label(
    run: RunArgument,
    system: SystemOption = None,
    against: Annotated[
        str | None, typer.Option(help="The system beside it (default: the same of the base model).")
    ] = None,
    questions: Annotated[
        int, typer.Option(min=1, help="Number of questions, drawn at random.")
    ] = 50,
    seed: Annotated[int, typer.Option(help="Random seed: two people need the same.")] = 0,
    by: Annotated[str | None, typer.Option(help="Your name (default: the user's).")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any.")] = 0,
    summary: Annotated[
        bool, typer.Option("--summary", help="Only show what the labels say so far.")
    ] = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Label answers in the browser with one key each, without seeing the system.

    Writes labels.jsonl into the run, for `eval report --labels`. Ends with Ctrl-C, and shows the
    agreement of two people and the difference of the two systems, corrected by the labels.
    """
    run = run_folder(run, home_dir)
    with Bar() as bar:
        scored = reports.stored_scores(run, reports.judge_of(run), False, bar.show)
    first = scored.subject(system)
    second = against or first.replace("tuned-", "base-")
    names = [first, *([second] if second != first and second in scored.fair else [])]
    if against and against not in names:
        raise AskdocsError(f"{run}: has no answers of {against}: {', '.join(scored.fair)} have")
    sides, file = [scored.fair[name] for name in names], run / sample.FILE
    if not summary:
        items = sample.draw(sides, questions, seed)
        pages = pages_of(index_file(home_dir), runs.read(run).wiki)
        texts = {page.path: page.text for page in pages}
        labelling = server.Labelling(items, file, by or getpass.getuser(), texts)
        try:
            served, address = server.bound(labelling, port)
        except OSError as error:
            raise AskdocsError(f"--port {port}: {error.strerror}: name another") from None
        typer.echo(f"open {address} (Ctrl-C ends)", err=True)
        webbrowser.open(address)
        with served:
            try:
                served.serve_forever()
            except KeyboardInterrupt:
                typer.echo("", err=True)
    _tell(sample.summary(sides, sample.read(file)), names, file, as_json)


def _tell(said: sample.Summary, names: list[str], file: Path, as_json: bool) -> None:
    difference, agreed = said.difference, said.agreement
    if as_json:
        facts: dict[str, Any] = {"file": str(file), "labels": said.labels, "systems": names}
        facts["agreement"] = None
        if agreed:
            facts["agreement"] = {
                key: value if value is None or math.isfinite(value) else None
                for key, value in agreed._asdict().items()
            }
        facts["difference"] = difference and difference._asdict()
        print(json.dumps(facts, indent=2))
        return
    counts = ", ".join(f"{name or 'unnamed'} {count:,}" for name, count in said.labels.items())
    print(f"labels      {counts or 'none'} in {file}")
    if agreed:
        kappa = "no kappa" if agreed.kappa is None else f"kappa {agreed.kappa:.2f}"
        print(f"agreement   {agreed.share:.0%} of {agreed.size:,} labels of two people ({kappa})")
    if difference:
        low, high = 100 * difference.low, 100 * difference.high
        print(
            f"difference  {names[0]} minus {names[1]}: {100 * difference.value:+.1f} points"
            f" ({low:+.1f} to {high:+.1f}), corrected by the labels"
        )
    print(f"next        askdocs eval report {file.parent} --labels {file}")
