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

from eval.studies import parity
from gateway.upstream.engines import vllm
from tests.engines.messages import rendered
from tests.vllm_serving import CONVERT, ROOT, convert, serving_gguf

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

VARIANT = Path(__file__).with_name("gguf_variant.py")


@pytest.fixture(scope="module")
def left(small_gguf: Path) -> Iterator[str]:
    with serving_gguf(small_gguf) as url:
        yield url


def test_every_option_is_known_to_vllms_own_parser(vllm_python: Path, tmp_path: Path) -> None:
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

    code = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser
for options in json.loads(sys.argv[1]):
    parser = make_arg_parser(FlexibleArgumentParser())
    try:
        validate_parsed_serve_args(parser.parse_args(options))
        print("known")
    except SystemExit as refused:
        print(refused.code)
"""
    asked = json.dumps([options(False), options(True), [*options(False), "--no-such-option"]])
    said = subprocess.check_output([vllm_python, "-c", code, asked], text=True)
    assert said.split()[-3:] == ["known", "known", "2"]


def test_the_converted_model_is_the_same_model(left: str, vllm_url: str) -> None:
    result = parity.compare(left, vllm_url)
    assert result.differences == []
    assert result.tokens > 300
    assert result.ratio == pytest.approx(1, abs=parity.TOLERANCE)


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


def test_parity_says_so_in_its_exit_code(
    left: str, vllm_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parity.main(["--llamacpp", left, "--vllm", vllm_url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["same"] is True
    assert parity.main(["--llamacpp", vllm_url, "--vllm", left]) == 2
    assert capsys.readouterr().err.startswith("error: http://127.0.0.1")


def test_parity_tells_another_model_apart(
    vllm_python: Path,
    small_gguf: Path,
    vllm_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = tmp_path / "other.gguf"  # the same weights, but runs of digits stay together
    subprocess.run([vllm_python, VARIANT, small_gguf, other, "gpt-2"], check=True)
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
    vllm_python: Path, small_gguf: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(small_gguf.read_bytes()[:5_000])
    unknown = tmp_path / "unknown.gguf"
    subprocess.run([vllm_python, VARIANT, small_gguf, unknown, "tekken"], check=True)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "letter.txt").touch()
    cases = [
        (tmp_path / "none.gguf", tmp_path / "out", "no such file"),
        (broken, tmp_path / "out", "not a readable GGUF file"),
        (unknown, tmp_path / "out", "tokenizer 'gpt2'/'tekken' is not converted"),
        (small_gguf, foreign, "not a folder made by this converter"),
    ]
    for source, out, words in cases:
        run = subprocess.run([vllm_python, CONVERT, source, out], capture_output=True, text=True)
        assert run.returncode == 1
        assert words in run.stderr
        assert len(run.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
    assert [path.name for path in foreign.iterdir()] == ["letter.txt"]


def test_a_killed_conversion_leaves_nothing_that_counts(
    vllm_python: Path, small_gguf: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    child = subprocess.Popen([vllm_python, CONVERT, small_gguf, out])
    while not (tmp_path / "out.partial" / "tokenizer.json").exists():
        assert child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert not out.exists()
    convert(vllm_python, small_gguf, out)
    assert (out / "conversion.json").is_file()
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe", "qwen2"])
def test_other_tokenizers_give_llama_cpps_ids_too(
    vllm_python: Path, small_gguf: Path, tmp_path: Path, pre: str
) -> None:
    variant = tmp_path / "variant.gguf"
    subprocess.run([vllm_python, VARIANT, small_gguf, variant, pre], check=True)
    folder = convert(vllm_python, variant, tmp_path / "folder")
    code = """
import json, sys
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
print(json.dumps([tokenizer(text)["input_ids"] for text in json.load(sys.stdin)]))
"""
    texts = [*parity.TRICKY_TEXTS, parity.PROSE]
    ours = json.loads(
        subprocess.check_output(
            [vllm_python, "-c", code, folder], input=json.dumps(texts), text=True
        )
    )
    with serving_gguf(variant) as url, httpx.Client(base_url=url, timeout=60) as client:
        for text, ids in zip(texts, ours, strict=True):
            assert ids == parity.llamacpp_ids(client, text), text


def test_the_rope_scaling_of_llama_3_1_is_carried_over(
    vllm_python: Path, small_gguf: Path, left: str, tmp_path: Path
) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    code += "from training.artefacts.convert import llama3_table; print(*llama3_table(1e5, 64, 8))"
    table = subprocess.check_output([vllm_python, "-c", code], text=True).split()
    variant = tmp_path / "scaled.gguf"
    subprocess.run([vllm_python, VARIANT, small_gguf, variant, "smollm", *table], check=True)
    folder = convert(vllm_python, variant, tmp_path / "folder")
    with httpx.Client(base_url=left, timeout=60) as client:
        ids = parity.llamacpp_ids(client, parity.PROSE)
        plain = parity.llamacpp_logprobs(client, ids)
    with serving_gguf(variant) as url, httpx.Client(base_url=url, timeout=60) as client:
        scaled = parity.llamacpp_logprobs(client, ids)
    code = """
import json, sys, torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
ids = torch.tensor([json.load(sys.stdin)])
with torch.no_grad():
    logprobs = model(ids).logits[0, :-1].float().log_softmax(-1)
print(json.dumps(logprobs.gather(1, ids[0, 1:, None])[:, 0].tolist()))
"""
    run = [vllm_python, "-c", code, folder]
    ours = json.loads(subprocess.check_output(run, input=json.dumps(ids), text=True))
    # On so short a text the scaling moves a token by 0.065 nats on average, about as much as the
    # engines differ anyway: the perplexities are equal with and without it, so each token counts.
    assert distance(ours, scaled) < 0.85 * distance(ours, plain)


def distance(a: list[float], b: list[float]) -> float:
    """Mean absolute difference of log-probabilities, nats."""
    return sum(abs(x - y) for x, y in zip(a, b, strict=True)) / len(a)
