"""`askdocs train`: what it says when something is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner, Result

from askdocs.cli import app
from askdocs.commands import train as command
from core.errors import AskdocsError
from tests.askdocs import conftest
from tests.askdocs.hub import Hub
from tests.askdocs.test_finetuning import gone
from tests.training import small
from tests.training.test_preflight import HERE, SMALL, SMOL, TOKENIZER, dataset
from tests.widget.stand_in import serve
from training.plan.preflight import preflight
from training.plan.shape import KNOWN


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, ["train", *words])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--recipe", "none", "--data", "."], "--recipe 'none': no such recipe: choose from"),
        (["--recipe", "smollm2-135m-smoke", "--data", "."], "--data .: has no card.json"),
        (["--recipe", "a.toml", "--data", "."], "a.toml: cannot be read"),
        (["--recipe", "b.toml", "--data", "."], "base_model 'x.gguf': is neither a GGUF file"),
        (
            ["--recipe", "c.toml", "--data", "."],
            "base_model 'a b': is neither a local file or folder",
        ),
        (
            ["--recipe", "smollm2-135m-smoke", "--data", ".", "--name", "a@b"],
            "a@b",
        ),
        (
            ["--recipe", "smollm2-135m-smoke", "--data", ".", "--preferences", "none"],
            "none/pairs.jsonl: is missing: name the folder that `askdocs dataset prefer` wrote",
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


def test_a_dry_run_prints_every_key_of_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    found = preflight(SMALL, SMOL, dataset([300]), TOKENIZER, HERE, 2**40)
    command._dry(SMALL, found, [], False)
    said = capsys.readouterr().out
    assert "  max_length = 2048\n" in said
    assert "  lora.r = 64\n" in said
    assert "  preference.beta = 0.1\n" in said
    assert "  lora = " not in said


@pytest.mark.slow
def test_of_a_model_on_the_hub_the_tokenizer_is_checked_before_the_weights_are_fetched(
    tmp_path: Path,
) -> None:
    dataset = small.dataset(tmp_path)
    llama = next(iter(KNOWN.values()))
    model = {"config.json": json.dumps(asdict(llama)).encode(), "model.safetensors": b"x"}
    tokenizers = {"owner/other": b"{}", "owner/same": (tmp_path / "tokenizer.json").read_bytes()}
    hub = Hub({name: {**model, "tokenizer.json": one} for name, one in tokenizers.items()})
    said = {}
    with serve(hub.app) as url:
        for name in hub.files:
            # With more in a batch than any machine holds: neither comes to the training itself.
            Path("recipe.toml").write_text(f'base_model = "{name}"\nbatch_size = 99999\n')
            done = subprocess.run(
                [conftest.COMMAND, "train", "--recipe", "recipe.toml", "--data", dataset],
                env=os.environ | {"HF_ENDPOINT": url, "HF_HOME": "hub", "NO_PROXY": "127.0.0.1"},
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert "it needs about" in done.stderr
            said[name] = done.stderr
    assert "with another tokenizer (tokenizer.json) than that of owner/other" in said["owner/other"]
    assert "tokenizer" not in said["owner/same"]
    assert hub.fetched == ["config.json", "tokenizer.json"] * 2


# Plays the process that trains: saves a step, and goes on for a minute.
PLAYER = """#!{python}
import json, time
with open("run/events.jsonl", "a") as kept:
    for said in ({{"event": "start", "steps": 9}}, {{"event": "saved", "step": 1}}):
        print(json.dumps(said), flush=True)
        kept.write(json.dumps(said) + "\\n")
print(json.dumps({{"event": "eval", "step": 1, "loss": 2.0}}), flush=True)
time.sleep(60)
"""
COMMAND = """
import typer
from pathlib import Path
from askdocs.models import training_run
from askdocs.commands import train
from training.data import dataset
from training.plan import recipe

def main() -> None:
    data = dataset.read(Path("dataset"))
    one = training_run.Run(Path("run"), recipe.load("smollm2-135m-smoke"), data, None)
    with one.claimed() as lock:
        train._train(Path("player").absolute(), one, "base", False, lock)

typer.run(main)
"""


@pytest.mark.slow
def test_ctrl_c_stops_it_and_says_from_where_it_goes_on(tmp_path: Path) -> None:
    small.dataset(tmp_path)
    (tmp_path / "player").write_text(PLAYER.format(python=sys.executable))
    (tmp_path / "player").chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND], stderr=subprocess.PIPE, cwd=tmp_path, text=True
    )
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "run" / "loss.png").exists():  # drawn after the evaluation
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        children = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "interrupted; run the same command with --resume to continue from step 1" in said
    assert "Traceback" not in said
    assert children
    assert all(gone(child.pid) for child in children)
