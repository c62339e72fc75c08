"""`askdocs train`: what it says when something is wrong."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from askdocs.cli import app
from gateway.errors import AskdocsError


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, ["train", *words])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--recipe", "none", "--data", "."], "--recipe 'none': no recipe of that name: choose of"),
        (["--recipe", "smollm2-135m-smoke", "--data", "."], "--data .: has no card.json"),
        (["--recipe", "a.toml", "--data", "."], "a.toml: cannot be read"),
        (["--recipe", "b.toml", "--data", "."], "base_model 'x.gguf': no such GGUF file"),
        (["--recipe", "c.toml", "--data", "."], "base_model 'a b': is no file and no folder here"),
        (
            ["--recipe", "smollm2-135m-smoke", "--data", ".", "--name", "a@b"],
            "a@b",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(
    tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "b.toml").write_text('base_model = "x.gguf"\n')
    (tmp_path / "c.toml").write_text('base_model = "a b"\n')
    before = sorted(tmp_path.iterdir())
    done = invoke(*words)
    assert isinstance(done.exception, AskdocsError)
    assert said in str(done.exception)
    assert sorted(tmp_path.iterdir()) == before
