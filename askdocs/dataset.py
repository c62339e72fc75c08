"""`askdocs dataset`: the questions and answers that a model learns from."""

import typer

app = typer.Typer(
    help="Check questions and answers, and build what a model is trained on.",
    no_args_is_help=True,
)
