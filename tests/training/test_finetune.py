"""training/finetune.py with its real libraries, on a random model of two layers.

Their environment is looked for in `.cache/train`, or where TEST_TRAIN_HOME says.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from askdocs import environments
from tests import starting
from tests.engines import messages
from tests.libraries import Libraries, libraries
from tests.parts import require
from tests.training import tiny
from training.artefacts import convert
from training.plan import recipe as recipes
from training.tuning import checkpoints, encode, options

pytestmark = pytest.mark.slow

HOME = Path(os.environ.get("TEST_TRAIN_HOME", starting.REPO / ".cache" / "train"))
INSTALL = ".venv/bin/python -m askdocs.environments train --home .cache/train"
SCRIPT = starting.REPO / "training" / "finetune.py"
# Dropout, so that a resumed run needs the same random numbers.
RECIPE = {
    "refusals": 0.0,
    "epochs": 1.0,
    "max_steps": None,
    "gradient_accumulation": 4,
    "learning_rate": 0.01,
    "schedule": "linear",
    "evals_per_epoch": 3,  # of an epoch of six steps: every second one
    "eval_rows": 3,
    "patience": 5,
    "lora": {
        "r": 4,
        "alpha": 8,
        "rslora": False,
        "dropout": 0.1,
        "target_modules": ["q_proj", "down_proj"],
    },
}


class Run(NamedTuple):
    code: int
    events: list[dict[str, Any]]
    out: Path

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == kind]


@pytest.fixture(scope="module")
def python() -> Path:
    found = environments.find(environments.trainer(), HOME)
    require(found is not None, INSTALL)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that has everything of the small one but its size."""
    folder = tmp_path_factory.mktemp("base")
    gguf = starting.shipped()
    fields = convert.reader(gguf).fields
    (folder / "tokenizer.json").write_text(convert.tokenizer_files(gguf)["tokenizer.json"])
    (folder / "chat_template.jinja").write_text(fields["tokenizer.chat_template"].contents())
    end = fields["tokenizer.ggml.eos_token_id"].contents()
    files = {
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": fields["tokenizer.ggml.tokens"].contents(end),
            "pad_token": fields["tokenizer.ggml.tokens"].contents(end),
        },
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "vocab_size": len(fields["tokenizer.ggml.tokens"].data),
            "tie_word_embeddings": True,
            "max_position_embeddings": 2048,
            "eos_token_id": end,
            "pad_token_id": end,
            "dtype": "bfloat16",
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    tiny.write_weights(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose prompts have all that could come between training and serving."""
    folder = tmp_path_factory.mktemp("data")
    prompts = [
        *messages.rendered()[:4],
        *([{"role": "user", "content": f"When is pump {at} replaced?"}] for at in range(23)),
    ]
    rows = [
        json.dumps(
            {
                "prompt": prompt,
                "completion": [{"role": "assistant", "content": f"Every {at + 3} weeks, 你好 é."}],
                "meta": {"kind": "grounded"},
            }
        )
        for at, prompt in enumerate(prompts)
    ]
    surplus = json.dumps({**json.loads(rows[5]), "meta": {"kind": "refusal-unanswerable"}})
    (folder / "train.jsonl").write_text("".join(f"{row}\n" for row in [surplus, *rows[:22]]))
    (folder / "validation.jsonl").write_text("".join(f"{row}\n" for row in rows[22:]))
    return folder


def job(folder: Path, base: Path, data: Path, resume: bool = False, **more: Any) -> Path:
    """Writes it; `more` are keys of the recipe."""
    recipe = recipes.load("smollm2-135m-smoke").model_dump(mode="json")
    file = folder / "job.json"
    content = {"recipe": {**recipe, **RECIPE, **more}, "base": str(base), "data": str(data)}
    content |= {"out": str(folder / "out"), "resume": resume, "max_steps": None}
    file.write_text(json.dumps(content))
    return file


def started(python: Path, *argv: object) -> "subprocess.Popen[str]":
    file = Path(str(argv[-1]))
    with file.with_name("log.txt").open("ab") as log:
        return subprocess.Popen(
            [python, "-I", *map(str, argv)], stdout=subprocess.PIPE, stderr=log, text=True
        )


def ended(process: "subprocess.Popen[str]", folder: Path) -> Run:
    said, _ = process.communicate(timeout=250)
    events = [json.loads(line) for line in said.splitlines()]  # and nothing else
    return Run(process.returncode, events, folder / "out")


@pytest.fixture(scope="module")
def run(python: Path, base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run from its beginning to its end."""
    folder = tmp_path_factory.mktemp("run")
    finished = ended(started(python, SCRIPT, job(folder, base, data)), folder)
    assert finished.code == 0, (folder / "log.txt").read_text()[-3000:]
    return finished


def test_a_run_tells_how_it_goes_and_leaves_an_adapter(run: Run, base: Path) -> None:
    (start,), steps, (done,) = run.of("start"), run.of("step"), run.of("done")
    assert [step["step"] for step in steps] == [1, 2, 3, 4, 5, 6] == [*range(1, start["steps"] + 1)]
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert steps[-1]["tokens"] == start["train_tokens"] == done["tokens"]
    assert [one["step"] for one in run.of("eval")] == [0, 2, 4, 6]
    assert [one["step"] for one in run.of("saved")] == [2, 4, 6]
    best = min(run.of("eval"), key=lambda one: float(one["loss"]))
    assert (done["best_step"], done["best_loss"]) == (best["step"], best["loss"])
    assert done["stopped"] == "end"
    kept = map(json.loads, (run.out / "events.jsonl").read_text().splitlines())
    assert list(kept) == run.events

    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (run.out / "adapter" / name).read_bytes() == (base / name).read_bytes()
    settings = json.loads((run.out / "adapter" / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"]) == (4, 8)
    assert str(base) not in json.dumps(settings)
    best_weights = run.out / "checkpoints" / f"checkpoint-{best['step']}"
    assert weights(run.out / "adapter") == weights(best_weights)


def weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


def test_training_reads_the_tokens_that_the_engine_reads(
    run: Run, data: Path, tmp_path: Path
) -> None:
    facts = json.loads((run.out / "training.json").read_text())
    encoded = []
    with starting.engine(tmp_path) as engine, httpx.Client() as client:
        root = engine.url.removesuffix("/v1")

        def ids(text: str) -> list[int]:
            asked = {"content": text, "add_special": False, "parse_special": True}
            return list(
                client.post(f"{root}/tokenize", json=asked).raise_for_status().json()["tokens"]
            )

        _surplus, *lines = (data / "train.jsonl").read_text().splitlines()
        for row in map(json.loads, lines):
            asked = client.post(f"{root}/apply-template", json={"messages": row["prompt"]})
            prompt = ids(asked.raise_for_status().json()["prompt"])
            answer = row["completion"][0]["content"]
            encoded.append(encode.Encoded(prompt, ids(f"{answer}<|im_end|>"), "grounded"))
    assert facts["token_ids_sha256"] == encode.digest(encoded)


def test_a_run_that_was_killed_ends_with_the_same_adapter(
    run: Run, python: Path, base: Path, data: Path, tmp_path: Path
) -> None:
    process = started(python, SCRIPT, job(tmp_path, base, data))
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("step") == 3:
            break
    process.kill()
    process.communicate()
    out = tmp_path / "out"
    # As a kill in the middle of saving leaves it.
    half = shutil.copytree(out / "checkpoints" / "checkpoint-2", out / "checkpoints/checkpoint-4")
    (half / checkpoints.MARKER).unlink()
    (half / "optimizer.pt").write_bytes(b"")

    resumed = ended(started(python, SCRIPT, job(tmp_path, base, data, resume=True)), tmp_path)

    assert resumed.code == 0, (tmp_path / "log.txt").read_text()[-3000:]
    assert [step["step"] for step in resumed.of("step")] == [3, 4, 5, 6]
    assert weights(out / "adapter") == weights(run.out / "adapter")
    facts = [json.loads((one / "training.json").read_text()) for one in (out, run.out)]
    same = ("losses", "eval_losses", "best_step", "tokens", "token_ids_sha256", "versions")
    assert [facts[0][key] for key in same] == [facts[1][key] for key in same]


def test_two_processes_take_the_same_steps_and_one_speaks(
    run: Run, python: Path, base: Path, data: Path, tmp_path: Path
) -> None:
    file = job(tmp_path, base, data, gradient_accumulation=2, processes=2, log_to="tensorboard")
    launch = ["-m", "accelerate.commands.launch", *options.launch(2)]
    both = ended(started(python, *launch, SCRIPT, file), tmp_path)
    assert both.code == 0, (tmp_path / "log.txt").read_text()[-3000:]
    assert [one["step"] for one in both.of("step")] == [1, 2, 3, 4, 5, 6]
    # An adapter begins at nothing, so that dropout does not touch the first loss.
    assert both.of("step")[0]["loss"] == pytest.approx(run.of("step")[0]["loss"], rel=1e-4)
    assert both.of("step")[-1]["loss"] == pytest.approx(run.of("step")[-1]["loss"], rel=0.02)
    assert both.of("done")[0]["tokens"] == run.of("done")[0]["tokens"]
    assert list((tmp_path / "out" / "tensorboard").iterdir())


# Importing Unsloth takes 5 s of a core, so two tests use the same process.
IMPORTED = """
import os, sys, types
sys.modules["training"] = types.ModuleType("training")
sys.modules["training"].__path__ = [scripts]
from training import finetune
finetune.set_environment(job)
"""
# The first batch as the loss gets it.
COLLATED = f"""{IMPORTED}
from pathlib import Path
from training.tuning import encode, train
tokenizer = train.template.tokenizer(Path(job["base"]))
_surplus, *rows = encode.encode(Path(job["data"]) / "train.jsonl", tokenizer, 2048)
trainer = train.make_trainer(job["recipe"], Path(job["base"]), Path(job["out"]), rows, rows)
batch = next(iter(trainer.get_train_dataloader()))
answers = [tokenizer.decode(one[one != encode.IGNORED]) for one in batch["labels"]]
said = [answers, [tokenizer.decode(one) for one in batch["input_ids"]]]
"""
# A whole run, whose standard output goes to a file.
RUN = f"""{IMPORTED}
output = os.open(events, os.O_WRONLY | os.O_CREAT)
os.dup2(output, 1)
os.close(output)
said = finetune.main([file])
"""


@pytest.fixture(scope="module")
def trainer(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Libraries]:
    """A process of the environment that keeps the libraries of training."""
    with libraries(python, tmp_path_factory.mktemp("trainer") / "log") as asked:
        yield asked


def told(trainer: Libraries, code: str, file: Path, **given: str) -> Any:
    facts = {"scripts": str(SCRIPT.parent), "job": json.loads(file.read_text())}
    return trainer.said(code, file=str(file), **facts, **given)


def test_the_loss_counts_the_answer_and_the_end_of_the_turn_alone(
    trainer: Libraries, base: Path, data: Path, tmp_path: Path
) -> None:
    answers, texts = told(trainer, COLLATED, job(tmp_path, base, data, batch_size=22))
    assert sorted(answers) == sorted(f"Every {at + 3} weeks, 你好 é.<|im_end|>" for at in range(22))
    for answer, text in zip(answers, texts, strict=True):
        assert f"<|im_start|>assistant\n{answer}" in text


def test_a_run_that_was_killed_at_its_end_takes_no_further_step(
    run: Run, trainer: Libraries, base: Path, data: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(run.out, tmp_path / "out"))
    (out / "training.json").unlink()
    (out / "adapter" / "adapter_model.safetensors").write_bytes(b"")
    file = job(tmp_path, base, data, resume=True)
    events = tmp_path / "events"
    assert told(trainer, RUN, file, events=str(events)) == 0
    assert [json.loads(line)["event"] for line in events.read_text().splitlines()] == ["done"]
    assert weights(out / "adapter") == weights(run.out / "adapter")
    facts = [json.loads((one / "training.json").read_text()) for one in (out, run.out)]
    same = ("losses", "eval_losses", "best_step", "step", "stopped", "tokens", "token_ids_sha256")
    assert [facts[0][key] for key in same] == [facts[1][key] for key in same]


def checked(python: Path, folder: Path, recipe: dict[str, Any], base: str) -> Run:
    content = {"recipe": recipe, "base": base, "data": "none", "out": str(folder / "out")}
    (folder / "job.json").write_text(json.dumps({**content, "resume": False, "max_steps": None}))
    return ended(started(python, SCRIPT, "--check", folder / "job.json"), folder)


def test_every_option_that_a_library_refuses_is_named(
    python: Path, base: Path, tmp_path: Path
) -> None:
    recipe = recipes.load("llama31-8b-4xa10g").model_dump(mode="json")
    recipe |= {"optimizer": "adamw_9bit"}
    recipe["lora"] |= {"r": 0, "target_modules": ["q_proj", "gate_projj"]}
    done = checked(python, tmp_path, recipe, str(base))
    assert done.code == 1
    said = [one["message"] for one in done.of("problem")]
    assert [len([one for one in said if word in one]) for word in ("9bit", "gate_projj")] == [1, 1]


# A job that is refused, and one that is not, in a process that imports the libraries once.
BOTH = """
import os, sys, types
sys.modules["training"] = types.ModuleType("training")
sys.modules["training"].__path__ = [sys.argv[1]]
from training import finetune
output = os.dup(1)
refused = finetune.main([sys.argv[2]])
os.dup2(output, 1)
sys.exit(finetune.main([sys.argv[3]]) or refused != 1)
"""


def test_a_second_stage_learns_which_answers_people_prefer(
    python: Path, base: Path, data: Path, run: Run, tmp_path: Path
) -> None:
    """DPO by TRL's real trainer. It begins with the first stage's adapter, which stays as it is."""
    rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()[4:12]]
    pairs = [
        {
            "prompt": row["prompt"],
            "chosen": [{"role": "assistant", "content": f"It says\u2028{at} here."}],
            "rejected": row["completion"],
        }
        for at, row in enumerate(rows)
    ]
    (tmp_path / "preferences").mkdir()
    file = tmp_path / "preferences" / "pairs.jsonl"
    # As `dataset prefer` writes it.
    file.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in pairs))
    before = (run.out / "adapter" / "adapter_model.safetensors").read_bytes()
    asked = job(tmp_path, base, data, preference={"beta": 0.1, "learning_rate": 0.02, "epochs": 3})
    more = {"first": str(run.out), "preferences": str(tmp_path / "preferences")}
    asked.write_text(json.dumps({**json.loads(asked.read_text()), **more}))
    long = tmp_path / "long"
    long.mkdir()
    text = [{"role": "assistant", "content": "a " * 9000}]
    (long / "pairs.jsonl").write_text(json.dumps({**pairs[0], "chosen": text}))
    more = {"out": str(long / "out"), "preferences": str(long)}
    (long / "job.json").write_text(json.dumps({**json.loads(asked.read_text()), **more}))
    argv = ["-c", BOTH, SCRIPT.parent, long / "job.json", asked]
    second = ended(started(python, *argv), tmp_path)
    assert second.code == 0, (tmp_path / "log.txt").read_text()[-3000:]
    (problem,) = second.of("problem")
    assert "pairs.jsonl:1: has" in problem["message"]
    steps = second.of("step")
    assert steps[0]["loss"] == pytest.approx(0.693, abs=0.01)  # ln 2: as likely as before
    assert steps[-1]["loss"] < 0.6
    facts = json.loads((second.out / "training.json").read_text())
    first = json.loads((run.out / "training.json").read_text())
    assert facts["preferred"][-1][1] == second.of("done")[0]["preferred"] == 1.0
    assert facts["token_ids_sha256"] == first["token_ids_sha256"]
    assert (run.out / "adapter" / "adapter_model.safetensors").read_bytes() == before
    assert (second.out / "adapter" / "adapter_model.safetensors").read_bytes() != before
    assert not (second.out / "adapter" / "ref").exists()  # TRL's copy of the first stage
