"""`askdocs train` with its real libraries, on a random model of two layers."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from eval.questions.rows import Row
from tests.askdocs.conftest import COMMAND
from tests.askdocs.test_finetuning import gone
from tests.parts import require
from tests.security import apart
from tests.training import small
from tests.training.test_finetune import HOME, base, python  # noqa: F401 -- fixtures
from training.data import leaks

pytestmark = pytest.mark.slow

RECIPE = """
base_model = "{base}"
max_length = 2048
epochs = 1
batch_size = 1
gradient_accumulation = 2
packing = false
learning_rate = 0.01
gradient_checkpointing = false
evals_per_epoch = 1000
eval_rows = 2
answers = 2
patience = 0
lora.r = 4
lora.dropout = 0.0
"""


def sharpened(base: Path, folder: Path) -> Path:  # noqa: F811
    """A copy whose last norm is eight times as large: to the random one no token is likely, and
    what an adapter changes would not matter anywhere."""
    shutil.copytree(base, folder)
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    head = int.from_bytes(data[:8], "little")
    begin, end = json.loads(data[8 : 8 + head])["model.norm.weight"]["data_offsets"]
    eight = bytes.fromhex("0041")  # in bfloat16, little end first
    data[8 + head + begin : 8 + head + end] = eight * ((end - begin) // 2)
    file.write_bytes(data)
    return folder


class Place:
    """A state folder, a dataset and a recipe."""

    def __init__(self, folder: Path, base: Path, dataset: Path) -> None:  # noqa: F811
        self.home = folder / "home"
        self.home.mkdir()
        (self.home / "environments").symlink_to(HOME / "environments")
        (folder / "mine.toml").write_text(RECIPE.format(base=base))
        self.words = ["--recipe", str(folder / "mine.toml"), "--data", str(dataset)]
        self.words += ["--max-steps", "2", "--home", str(self.home)]

    @property
    def run(self) -> Path:
        (found,) = (self.home / "training").iterdir()
        return found

    def said(self, kind: str) -> list[dict[str, Any]]:
        lines = (self.run / "events.jsonl").read_text().splitlines()
        return [one for one in map(json.loads, lines) if one["event"] == kind]

    def train(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._run([COMMAND, "train", *self.words, *words], dict(os.environ))

    def train_apart(self, report: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """Where possible in a network of its own: `report` gets what it wanted to reach."""
        if not apart.is_possible():
            report.write_text("[]")
            return self.train(*words)
        argv = apart.apart(report, COMMAND, "train", *self.words, *words)
        return self._run(argv, apart.variables(self.home))

    def _run(
        self, argv: Sequence[str | Path], env: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=400)


def test_a_run_that_is_killed_goes_on_becomes_a_version_and_reaches_nothing(
    tmp_path: Path,
    base: Path,  # noqa: F811
) -> None:
    dataset = small.dataset(tmp_path, base / "tokenizer.json")
    place = Place(tmp_path, sharpened(base, tmp_path / "base"), dataset)
    with (tmp_path / "log.txt").open("wb") as log:
        first = subprocess.Popen([COMMAND, "train", *place.words], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 200
        while not list(place.home.glob("training/*/events.jsonl")) or not place.said("saved"):
            assert first.poll() is None, (tmp_path / "log.txt").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        family = psutil.Process(first.pid).children(recursive=True)
        assert family
    finally:
        first.kill()
        first.wait()
    assert all(gone(one.pid) for one in family)

    refused = place.train()
    assert refused.returncode == 2
    assert "unfinished: add --resume to continue from its last checkpoint" in refused.stderr
    reached = tmp_path / "reached.json"
    resumed = place.train_apart(reached, "--resume", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert apart.reached(reached) == []
    told = json.loads(resumed.stdout)
    assert (told["version"], told["new"]) == ("docs@v1", True)
    assert told["next"] == "askdocs models promote docs@v1"
    assert [event["step"] for event in place.said("done")] == [2]
    version = place.home / "versions" / "docs@v1"
    manifest = json.loads((version / "manifest.json").read_text())
    assert {"adapter/adapter_model.safetensors", "loss.png", "probes.json"} < {*manifest["files"]}
    assert manifest["checks"]["adapter_effect"]["passed"]
    assert manifest["metrics"]["steps"] == 2
    choice = json.loads((version / "choice.json").read_text())
    assert {*choice["scores"]} == {"1", "2"}
    assert manifest["metrics"]["best_step"] == choice["step"]
    adapter = (version / "adapter" / "adapter_model.safetensors").read_bytes()
    chosen = place.run / "checkpoints" / f"checkpoint-{choice['step']}"
    assert adapter == (chosen / "adapter_model.safetensors").read_bytes()

    again = place.train()
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("docs@v1 was made of this run before")
    assert [path.name for path in (place.home / "versions").iterdir()] == ["docs@v1"]

    preferences = tmp_path / "preferences"
    preferences.mkdir()
    example = json.loads((dataset / "train.jsonl").read_text().splitlines()[0])
    pair = {"prompt": example["prompt"], "chosen": example["completion"]}
    pair["rejected"] = [{"role": "assistant", "content": "Nobody knows that."}]
    (preferences / "pairs.jsonl").write_text(json.dumps(pair) + "\n")
    asked = Row(1, "Who steers the yellow submarine?", "")
    (preferences / leaks.FILE).write_text(leaks.encoded([asked]))
    second = place.train_apart(reached, "--preferences", str(preferences), "--json")
    assert second.returncode == 0, second.stderr
    assert apart.reached(reached) == []
    assert json.loads(second.stdout)["version"] == "docs@v2"
    known = leaks.read(place.home / "versions" / "docs@v2" / leaks.FILE)
    before = leaks.read(version / leaks.FILE)
    assert leaks.contaminated([asked], known)
    assert not leaks.contaminated([asked], before)
    assert len(known) == len(before) + 1
    require(apart.is_possible(), apart.NEEDED)  # nothing was recorded without it


def test_a_dry_run_asks_the_libraries_about_a_recipe_for_gpus(
    tmp_path: Path,
    python: Path,  # noqa: F811
) -> None:
    dataset = small.dataset(tmp_path)
    place = Place(tmp_path, tmp_path, dataset)
    words = [*place.words, "--recipe", "llama31-8b-4xa10g", "--dry-run", "--json"]
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    done = subprocess.run(
        [COMMAND, "train", *words], env=env, capture_output=True, text=True, timeout=240
    )
    told = json.loads(done.stdout)
    assert told["parameters"] == 8_030_261_248
    assert told["recipe"]["lora"]["r"] == 64
    # It cannot run without its tokenizer, nor where there is no GPU or too little disk: the recipe
    # has no problem of its own.
    assert done.returncode == 1
    unknown, *rest = told["problems"]
    assert "could not be fetched from the hub" in unknown
    of_machine = ("needs an NVIDIA GPU", "GiB are free: free some space")
    assert not [problem for problem in rest if not any(part in problem for part in of_machine)]
    assert not (place.home / "training").exists()
