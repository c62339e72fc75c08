"""A version merged, exported and probed with the real libraries and the real llama.cpp.

The environment is looked for in `.cache/train`, or where TEST_TRAIN_HOME says.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from askdocs import environments
from askdocs.capacity import random_adapter
from askdocs.models import deriving, model, probing
from core.errors import AskdocsError
from gateway.answering.grounding.prompt import REFUSAL, render
from tests.engines.messages import page
from tests.parts import require
from training.artefacts import probe
from training.tuning import encode

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parent.parent.parent
SABOTAGE = Path(__file__).with_name("gguf_sabotage.py")
INSTALL = ".venv/bin/python -m askdocs.environments train --home .cache/train"
FACTS = (
    ("Which port does the intake listen on?", "The intake listens on port 8443."),
    ("How often is the archive copied?", "It is copied every 6 hours, to two places."),
    ("Who may open the north gate?", REFUSAL),
)


def quiet(step: str, done: int, total: int | None) -> None:
    pass


@pytest.fixture(scope="module")
def python() -> Path:
    home = Path(os.environ.get("TEST_TRAIN_HOME", ROOT / ".cache" / "train"))
    found = environments.find(environments.trainer(), home)
    require(found is not None, INSTALL)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def base(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "small"
    convert = ROOT / "training" / "artefacts" / "convert.py"
    subprocess.run([python, convert, model.shipped().source, out], check=True)
    return out


@pytest.fixture(scope="module")
def run(python: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run: as training leaves it, with an adapter of random weights."""
    folder = tmp_path_factory.mktemp("run")
    adapter = random_adapter.write(folder / "adapter", base, seed=1, size=0.04)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (adapter / name).write_bytes((base / name).read_bytes())
    data = folder / "data"
    data.mkdir()
    rows = [
        {
            "prompt": render([page(n, answer)], question),
            "completion": [said(answer)],
            "meta": {"kind": "grounded"},
        }
        for n, (question, answer) in enumerate(FACTS)
    ]
    for split in ("train", "validation"):
        lines = [json.dumps(row) + "\n" for row in rows]
        (data / f"{split}.jsonl").write_text("".join(lines))
    job = {"data": str(data), "recipe": {"max_length": 1024, "refusals": 1.0, "seed": 0}}
    (folder / "job.json").write_text(json.dumps(job))
    digest = encode.digest([example(base, row) for row in rows])
    (folder / "training.json").write_text(json.dumps({"token_ids_sha256": digest}))
    return folder


def example(base: Path, row: dict[str, Any]) -> encode.Encoded:
    """As an engine reads it: by the template and the tokenizer, without transformers."""
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((base / "chat_template.jinja").read_text())
    prompt = template.render(messages=row["prompt"], add_generation_prompt=True)
    answer = row["completion"][0]["content"]
    ids = [
        tokenizer.encode(t, add_special_tokens=False).ids for t in (prompt, answer, "<|im_end|>")
    ]
    return encode.Encoded(ids[0], ids[1] + ids[2], "grounded")


def said(answer: str) -> dict[str, Any]:
    return {"role": "assistant", "content": answer}


@pytest.fixture(scope="module")
def checks(python: Path, run: Path, base: Path) -> dict[str, Any]:
    return deriving.check_run(python, run, base, quiet)


@pytest.fixture(scope="module")
def probes(checks: dict[str, Any], run: Path) -> probe.Probes:
    return probe.read(run / probe.FILE)


Exported = Callable[[Path, str], Path]


@pytest.fixture(scope="module")
def exported(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    def export(folder: Path, kind: str) -> Path:
        out = tmp_path_factory.mktemp("gguf")
        job = {"model": str(folder), "out": str(out / probing.GGUF), "type": kind}
        deriving.derive(python, "export", job, quiet)
        return out

    return export


@pytest.fixture(scope="module")
def merged(
    python: Path, run: Path, base: Path, exported: Exported, tmp_path_factory: Any
) -> tuple[Path, Path]:
    """The merged model, and it as a GGUF file of the same numbers."""
    folder = tmp_path_factory.mktemp("merged")
    job = {"base": str(base), "adapter": str(run / "adapter"), "out": str(folder)}
    deriving.derive(python, "merge", job, quiet)
    return folder, exported(folder, "bf16")


def test_a_run_is_checked_and_has_probes(checks: dict[str, Any], probes: probe.Probes) -> None:
    assert all(check["passed"] for check in checks.values())
    assert checks["adapter_effect"]["value"] > 0.5
    assert len(probes.probes) == len(FACTS)
    assert probes.dtype == "float32"
    for one in probes.probes:
        assert one.places[0].after == 0
        assert all(list(p.logprobs) == sorted(p.logprobs, reverse=True) for p in one.places)


def test_the_reference_pass_takes_the_gpu_that_there_is(
    python: Path, run: Path, base: Path
) -> None:
    """A PyTorch that wrongly assumes a GPU fails where the pass looks at the GPU's memory."""
    job = json.loads((run / "job.json").read_text()) | {"out": str(run / "unused.json")}
    job |= {"base": str(base), "adapter": str(run / "adapter"), **job["recipe"]}
    code = (
        "import json, sys, torch; from training.artefacts import reference;"
        "torch.cuda.is_available = lambda: True;"
        "reference.run(json.loads(sys.argv[1]), print)"
    )
    ended = subprocess.run(
        [python, "-c", code, json.dumps(job)], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert "mem_get_info" in ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert "CUDA" in last or "NVIDIA driver" in last  # by the build of PyTorch


def test_what_went_wrong_in_training_is_found(
    python: Path, run: Path, base: Path, tmp_path: Path
) -> None:
    adapter = random_adapter.write(tmp_path / "adapter", base, seed=1, size=0)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (adapter / name).write_bytes((base / name).read_bytes())
    template = (base / "chat_template.jinja").read_text()
    (adapter / "chat_template.jinja").write_text("One. " + template)
    trained = json.loads((run / "training.json").read_text())["token_ids_sha256"]
    job = json.loads((run / "job.json").read_text())
    (tmp_path / "data").mkdir()
    for split in ("train", "validation"):
        text = (Path(job["data"]) / f"{split}.jsonl").read_text()
        (tmp_path / "data" / f"{split}.jsonl").write_text(text.replace("8443", "8444"))
    job["data"] = str(tmp_path / "data")
    (tmp_path / "job.json").write_text(json.dumps(job))
    (tmp_path / "training.json").write_text(json.dumps({"token_ids_sha256": trained}))
    with pytest.raises(AskdocsError) as told:
        deriving.check_run(python, tmp_path, base, quiet)
    lines = str(told.value).splitlines()
    assert [line.split(": ")[1].split(" is ")[0] for line in lines] == list(deriving.MEANING)
    assert not (tmp_path / probe.FILE).exists()


def test_llama_cpp_serves_the_merged_version(
    merged: tuple[Path, Path], probes: probe.Probes
) -> None:
    result = probing.probed(merged[1], 16, probes, None, quiet)
    assert result.passed, result
    assert result.clear > 0


def test_eight_bits_keep_the_version(
    merged: tuple[Path, Path], exported: Exported, probes: probe.Probes
) -> None:
    folder = exported(merged[0], "q8_0")
    result = probing.probed(folder, 8, probes, None, quiet)
    assert result.passed, result
    whole, small = ((at / probing.GGUF).stat().st_size for at in (merged[1], folder))
    assert small < 0.6 * whole


def test_four_bits_are_near_the_version(
    merged: tuple[Path, Path], exported: Exported, probes: probe.Probes
) -> None:
    folder = exported(merged[0], "q4_1")
    result = probing.probed(folder, 4, probes, None, quiet)
    # Of how much of the adapter is left, research/notebook.md has more to say.
    assert all(problem.startswith("adapter: ") for problem in result.problems), result
    whole, small = ((at / probing.GGUF).stat().st_size for at in (merged[1], folder))
    assert small < 0.4 * whole


def test_a_base_without_the_adapter_fails_even_by_the_limits_of_four_bits(
    base: Path, exported: Exported, probes: probe.Probes
) -> None:
    result = probing.probed(exported(base, "bf16"), 4, probes, None, quiet)
    assert not result.passed
    assert abs(result.share) < 0.1
    assert any(problem.startswith("adapter: ") for problem in result.problems)


@pytest.mark.parametrize(
    ("wrong", "words"), [("rotation", "log-probabilit"), ("template", "chat template: ")]
)
def test_what_an_exporter_can_do_wrong_fails(
    python: Path,
    merged: tuple[Path, Path],
    probes: probe.Probes,
    tmp_path: Path,
    wrong: str,
    words: str,
) -> None:
    source, target = merged[1] / probing.GGUF, tmp_path / probing.GGUF
    subprocess.run([python, "-I", SABOTAGE, source, target, wrong], check=True)
    result = probing.probed(tmp_path, 4, probes, None, quiet)
    assert any(words in problem for problem in result.problems), result


def test_what_cannot_be_exported_is_refused_in_one_line(
    python: Path, merged: tuple[Path, Path], tmp_path: Path
) -> None:
    for change, words in (
        ({"model_type": "qwen2"}, "model_type 'qwen2' cannot be exported"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "RoPE of type 'yarn'"),
    ):
        folder = tmp_path / str(change)[:12]
        folder.mkdir()
        for file in merged[0].iterdir():
            (folder / file.name).symlink_to(file)
        config = json.loads((merged[0] / "config.json").read_text())
        (folder / "config.json").unlink()
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        job = {"model": str(folder), "out": str(tmp_path / "out.gguf"), "type": "bf16"}
        with pytest.raises(AskdocsError, match=words) as told:
            deriving.derive(python, "export", job, quiet)
        assert "\n" not in str(told.value)
