"""`askdocs eval sweep`, as far as it comes without a gateway."""

import pytest
from typer.testing import CliRunner

from askdocs.cli import app


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--split", "test"], "add --force"),
        (["--k", "ten"], "--k ten: write numbers with commas, such as 10,20"),
        (["--chunk-tokens", "512,100"], "chunk_tokens = 100 cannot be tried"),
        (["--rag", "none.toml"], "none.toml: cannot be read"),
    ],
)
def test_what_cannot_be_swept_is_one_line_before_anything_is_asked(
    options: list[str], told: str
) -> None:
    place = ["--url", "http://127.0.0.1:9/v1", "--key", "k"]
    sweep = ["eval", "sweep", "--questions", "q.jsonl", "--docs", ".", *place]
    done = CliRunner().invoke(app, [*sweep, *options])
    assert told in str(done.exception)
    assert "\n" not in str(done.exception)
