"""`askdocs eval sweep`, as far as it comes without a gateway."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from askdocs.cli import app


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--split", "test"], "--split 'test': has rows of test"),
        (["--split", ""], "--split '': has rows of test"),
        (["--k", "ten"], "--k ten: write numbers with commas, such as 10,20"),
        (["--chunk-tokens", "512,100"], "chunk_tokens = 100 cannot be tried"),
        (["--rag", "none.toml"], "none.toml: cannot be read"),
    ],
)
def test_what_cannot_be_swept_is_one_line_before_anything_is_asked(
    options: list[str], told: str, tmp_path: Path
) -> None:
    rows = [{"question": f"{split}?", "answer": "Yes.", "split": split, "context_doc": "a.md"}
            for split in ("validation", "test")]  # fmt: skip
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    place = ["--url", "http://127.0.0.1:9/v1", "--key", "k"]
    sweep = ["eval", "sweep", "--questions", "q.jsonl", "--docs", ".", *place]
    done = CliRunner().invoke(app, [*sweep, *options])
    assert told in str(done.exception)
    assert "\n" not in str(done.exception)
