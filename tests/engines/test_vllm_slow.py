"""The real vLLM, in its real environment, beside the real llama.cpp."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jinja2
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from gateway.upstream.engines import vllm
from research.studies import parity
from tests.engines import gguf_variant
from tests.engines.messages import rendered
from tests.libraries import Libraries
from tests.vllm_serving import CONVERT, PARSES, ROOT, convert, serving_gguf
from training.artefacts.convert import llama3_table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def left(small_gguf: Path) -> Iterator[str]:
    with serving_gguf(small_gguf) as url:
        yield url


def test_every_option_is_known_to_vllms_own_parser(
    vllm_libraries: Libraries, vllm_python: Path, tmp_path: Path
) -> None:
    def options(gpu: bool) -> list[str]:
        launch = vllm.launch(
            vllm_python,
            str(tmp_path),
            port=1,
            served_name="base",
            context=2048,
            gpu=gpu,
            threads=1,
            adapters=4,
            traces="http://127.0.0.1:4318/v1/traces",
        )
        return launch.argv[3:]

    commands = [options(False), options(True), [*options(False), "--no-such-option"]]
    assert vllm_libraries.said(PARSES, commands=commands, names=["port"]) == [[1], [1], 2]


def test_the_converted_model_is_the_same_model(
    left: str, vllm_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parity.main(["--llamacpp", left, "--vllm", vllm_url, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["same"] is True
    assert result["differences"] == []
    assert result["tokens"] > 300
    assert result["ratio"] == pytest.approx(1, abs=parity.TOLERANCE)


def test_serving_training_and_both_engines_read_the_same_tokens_of_a_prompt(
    left: str, vllm_url: str, small_folder: Path
) -> None:
    """As training makes them: the model's own template and tokenizer files, nothing added."""
    tokenizer = Tokenizer.from_file(str(small_folder / "tokenizer.json"))
    template, named = chat_template(small_folder)
    start, end = (tokenizer.token_to_id(token) for token in ("<|im_start|>", "<|im_end|>"))
    for messages in rendered():
        text = template.render(messages=messages, add_generation_prompt=True, **named)
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        asked: dict[str, Any] = {"model": "base", "messages": messages}
        assert ids == httpx.post(f"{vllm_url}/tokenize", json=asked).json()["tokens"]
        prompt = httpx.post(f"{left}/apply-template", json=asked).json()["prompt"]
        asked = {"content": prompt, "add_special": True, "parse_special": True}
        assert ids == httpx.post(f"{left}/tokenize", json=asked).json()["tokens"]
        # No text of a page or a person became a control token, and no BOS was doubled.
        specials = [token for token in ids if token in control_tokens(tokenizer)]
        assert specials == [start, end] * len(messages) + [start]


def chat_template(folder: Path) -> tuple[jinja2.Template, dict[str, str]]:
    """The template of a model's folder, as transformers compiles it, and the tokens that it names.

    https://github.com/huggingface/transformers/blob/main/src/transformers/utils/chat_template_utils.py
    """
    config = json.loads((folder / "tokenizer_config.json").read_text())
    alone = folder / "chat_template.jinja"
    source = alone.read_text() if alone.exists() else config["chat_template"]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    named = {name: config[name] for name in ("bos_token", "eos_token") if config.get(name)}
    return environment.from_string(source), named


def control_tokens(tokenizer: Tokenizer) -> set[int]:
    added = tokenizer.get_added_tokens_decoder()
    return {number for number, token in added.items() if token.special}


def test_parity_says_what_cannot_be_compared(
    left: str, vllm_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parity.main(["--llamacpp", vllm_url, "--vllm", left]) == 2
    assert capsys.readouterr().err.startswith("error: http://127.0.0.1")


def test_parity_tells_another_model_apart(
    shallow: Path, vllm_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Runs of digits stay together.
    other = gguf_variant.make(shallow, tmp_path / "other.gguf", pre="gpt-2")
    with serving_gguf(other) as url:
        assert parity.main(["--llamacpp", url, "--vllm", vllm_url]) == 1
    assert "DIFFERENT TOKENS" in capsys.readouterr().out


def test_it_answers_and_ends_where_llama_cpp_ends(left: str, vllm_url: str) -> None:
    question = "Reply with one short greeting."
    for url in (left, vllm_url):
        body = {
            "model": "base",
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": 200,
        }
        reply = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=120).json()
        assert reply["choices"][0]["message"]["content"].strip()
        assert reply["choices"][0]["finish_reason"] == "stop"  # the end token is the right one
        assert reply["usage"]["prompt_tokens"] > 10


def test_a_second_conversion_does_nothing_and_a_touched_file_only_its_hash(
    vllm_python: Path, small_gguf: Path, small_folder: Path, tmp_path: Path
) -> None:
    weights = small_folder / "model.safetensors"
    before = weights.stat()
    convert(vllm_python, small_gguf, small_folder)
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(small_gguf.read_bytes())
    convert(vllm_python, copy, small_folder)
    assert weights.stat() == before
    assert not small_folder.with_name(small_folder.name + ".partial").exists()


def test_what_cannot_be_converted_is_refused_in_one_line(
    vllm_python: Path, vllm_libraries: Libraries, shallow: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(shallow.read_bytes()[:5_000])
    unknown = gguf_variant.make(shallow, tmp_path / "unknown.gguf", pre="tekken")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "letter.txt").touch()
    cases = [
        (tmp_path / "none.gguf", tmp_path / "out", "no such file"),
        (broken, tmp_path / "out", "not a readable GGUF file"),
        (unknown, tmp_path / "out", "tokenizer 'gpt2'/'tekken' is not supported"),
        (shallow, foreign, "not a folder made by this converter"),
    ]
    for source, out, words in cases:
        code, said = vllm_libraries.said(CONVERTS, words=[str(source), str(out)])
        assert code == 1
        assert words in said
        assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
    assert [path.name for path in foreign.iterdir()] == ["letter.txt"]
    source, out, _ = cases[0]
    run = subprocess.run([vllm_python, CONVERT, source, out], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (1, f"error: {source}: no such file; name a GGUF file\n")


def test_a_killed_conversion_leaves_nothing_that_counts(
    vllm_python: Path, shallow: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    child = subprocess.Popen([vllm_python, CONVERT, shallow, out])
    # After it torch is imported, and the weights are written.
    while not (tmp_path / "out.partial" / "tokenizer.json").exists():
        assert child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert not out.exists()
    convert(vllm_python, shallow, out)
    assert (out / "conversion.json").is_file()
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe", "qwen2"])
def test_other_tokenizers_give_llama_cpps_ids_too(
    vllm_libraries: Libraries, shallow: Path, tmp_path: Path, pre: str
) -> None:
    variant = gguf_variant.make(shallow, tmp_path / "variant.gguf", pre=pre)
    converted(vllm_libraries, variant, tmp_path / "folder")
    code = """
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(folder)
said = [tokenizer(text)["input_ids"] for text in texts]
"""
    texts = [*parity.TRICKY_TEXTS, parity.PROSE]
    ours = vllm_libraries.said(code, folder=str(tmp_path / "folder"), texts=texts)
    with serving_gguf(variant) as url, httpx.Client(base_url=url, timeout=60) as client:
        for text, ids in zip(texts, ours, strict=True):
            assert ids == parity.llamacpp_ids(client, text), text


# What the command does, without a process of its own.
CONVERTS = f"""
import contextlib, io, sys
sys.path.append({str(ROOT)!r})
from training.artefacts import convert
with contextlib.redirect_stderr(io.StringIO()) as errors:
    code = convert.main(words)
said = [code, errors.getvalue()]
"""


def converted(libraries: Libraries, gguf: Path, out: Path) -> None:
    assert libraries.said(CONVERTS, words=[str(gguf), str(out)]) == [0, ""]


def test_the_rope_scaling_of_llama_3_1_is_carried_over(
    vllm_libraries: Libraries, shallow: Path, tmp_path: Path
) -> None:
    table = llama3_table(1e5, 64, 8)
    scaled = gguf_variant.make(shallow, tmp_path / "scaled.gguf", table=table)
    converted(vllm_libraries, scaled, tmp_path / "folder")
    logprobs = []
    for file in (shallow, scaled):
        with serving_gguf(file) as url, httpx.Client(base_url=url, timeout=60) as client:
            ids = parity.llamacpp_ids(client, parity.PROSE)
            logprobs.append(parity.llamacpp_logprobs(client, ids))
    code = """
import torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
ids = torch.tensor([ids])
with torch.no_grad():
    logprobs = model(ids).logits[0, :-1].float().log_softmax(-1)
said = logprobs.gather(1, ids[0, 1:, None])[:, 0].tolist()
"""
    ours = vllm_libraries.said(code, folder=str(tmp_path / "folder"), ids=ids)
    # Nats of a token on average: 0.062 and 0.081. The perplexities are equal with and without the
    # scaling, so each token counts.
    assert distance(ours, logprobs[1]) < 0.85 * distance(ours, logprobs[0])


def distance(a: list[float], b: list[float]) -> float:
    """Mean absolute difference of log-probabilities, nats."""
    return sum(abs(x - y) for x, y in zip(a, b, strict=True)) / len(a)
