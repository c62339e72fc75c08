"""`askdocs eval`: how well versions of a model, and other ways to answer, do on questions."""

import typer

app = typer.Typer(
    help="Measure models and RAG on the same questions, and decide what may be promoted.",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    """Keeps a command one of its own while it is the only one."""
