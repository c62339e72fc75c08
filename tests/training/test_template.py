"""Chat templates of current models: the prompt is the same on any day, and an answer follows it.

With the templates that TRL has of them, in the training environment.
"""

import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from askdocs import environments
from askdocs.models import model
from tests import starting
from tests.engines import gguf_variant
from tests.parts import require
from training.tuning import template

ROOT = Path(__file__).parents[2]
INSTALL = ".venv/bin/python -m askdocs.environments train --home .cache/train"
ASKED = [{"role": "system", "content": "Pages."}, {"role": "user", "content": "Why?"}]
ANSWERED = [*ASKED, {"role": "assistant", "content": "Because."}]


def stored(name: str) -> str:
    home = Path(os.environ.get("TEST_TRAIN_HOME", ROOT / ".cache" / "train"))
    python = environments.find(environments.trainer(), home)
    require(python is not None, INSTALL)
    assert python is not None
    (file,) = python.parent.parent.glob(f"lib/*/site-packages/trl/chat_templates/{name}.jinja")
    return file.read_text(encoding="utf-8")


def render(text: str, messages: list[dict[str, str]], day: str, **given: Any) -> str:
    """As transformers and vLLM render it."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["strftime_now"] = lambda _: day
    asks = messages[-1]["role"] == "user"
    given = {"add_generation_prompt": asks, "bos_token": "<s>", **given}
    return environment.from_string(text).render(messages=messages, **given)


@pytest.mark.slow  # it needs the environment, for TRL's files
@pytest.mark.parametrize(
    "name", ["llama3_1", "llama3_2", "qwen3", "qwen3_6", "qwen3_8", "nemotron_3_nano"]
)
def test_the_answer_follows_the_prompt_that_is_the_same_tomorrow(name: str) -> None:
    text = template.settled(stored(name))
    prompt = render(text, ASKED, "2 Dec 2026")
    assert prompt == render(text, ASKED, "3 Dec 2026", enable_thinking=True)
    assert render(text, ANSWERED, "3 Dec 2026").startswith(f"{prompt}Because.<|")
    assert template.settled(text) == text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama3_1", "llama3_2", "qwen3", "qwen3_6", "qwen3_8", "clock"])
def test_llama_cpp_renders_the_prompt_of_training(name: str, tmp_path: Path) -> None:
    clock = "{{ strftime_now('%d %B %Y') }} {{ messages[-1].content }}"
    text = template.settled(clock if name == "clock" else stored(name))
    shipped = Path(model.shipped().source)
    gguf = gguf_variant.make(shipped, tmp_path / "one.gguf", layers=1, template=text)
    with starting.engine(tmp_path, gguf=gguf) as engine:
        root = engine.url.removesuffix("/v1")
        messages = ASKED[1:] if name == "clock" else ASKED
        asked = httpx.post(f"{root}/apply-template", json={"messages": messages}, timeout=60)
    prompt = render(text, messages, "2 Dec 2026", bos_token="<|im_start|>")
    # llama.cpp leaves the token out, because it adds it itself.
    assert f"<|im_start|>{asked.json()['prompt']}".endswith(prompt)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama3_2", "qwen3"])
def test_without_it_the_prompt_changes_or_the_answer_does_not_follow(name: str) -> None:
    text = stored(name)
    prompt = render(text, ASKED, "2 Dec 2026")
    assert not render(text, ANSWERED, "3 Dec 2026").startswith(f"{prompt}Because.")


def test_a_template_without_date_and_thinking_is_not_changed() -> None:
    assert template.settled("{{ messages }}") == "{{ messages }}"


@pytest.mark.parametrize("kept", ["file", "settings", "named"])
def test_the_template_of_a_folder_is_settled(tmp_path: Path, kept: str) -> None:
    (tmp_path / "base").mkdir()
    text = "{{ strftime_now('%d') }}"
    if kept == "file":
        (tmp_path / "base" / template.FILE).write_text(text)
    else:
        value = (
            f'"{text}"' if kept == "settings" else f'[{{"name": "default", "template": "{text}"}}]'
        )
        (tmp_path / "base" / "tokenizer_config.json").write_text(f'{{"chat_template": {value}}}')
    template.write(tmp_path / "base", tmp_path)
    assert render((tmp_path / template.FILE).read_text(), ASKED, "today") == template.DATE
    served = model.settled_template(str(tmp_path / "base"), tmp_path / "models")
    assert served is not None
    assert served.read_text() == (tmp_path / template.FILE).read_text()


def test_a_folder_without_a_template_has_none(tmp_path: Path) -> None:
    assert template.of(tmp_path) is None
    assert model.settled_template(str(tmp_path), tmp_path) is None
