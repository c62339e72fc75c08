"""`askdocs dataset`: prepare the questions and answers that a model is trained on."""

import typer

from askdocs.commands import (
    dataset_build,
    dataset_check,
    dataset_draft,
    dataset_ground,
    dataset_prefer,
    dataset_pull,
)

app = typer.Typer(
    help="Check questions and answers, and build training data.",
    no_args_is_help=True,
)
app.command()(dataset_check.check)
app.command()(dataset_draft.draft)
app.command()(dataset_ground.ground)
app.command()(dataset_build.build)
app.command()(dataset_pull.pull)
app.command()(dataset_prefer.prefer)
