"""`askdocs up --autocomplete`: a code model beside the engine, and Continue's settings with it."""

from pathlib import Path

import httpx
import pytest
import yaml

from gateway.upstream.fim import FAMILIES
from tests import starting
from tests.end_to_end.running import refused, up
from tests.gateway.fim_model import with_markers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

NAME = "autocomplete-qwen-coder"


@pytest.fixture
def wiki(tmp_path: Path) -> Path:
    folder = tmp_path / "wiki"
    folder.mkdir()
    (folder / "coffee.md").write_text("# Coffee\n\nThe machine stands on floor 3.\n")
    return folder


def test_a_code_model_fills_in_the_middle_beside_the_engine(tmp_path: Path, wiki: Path) -> None:
    coder = tmp_path / "Qwen_Coder.gguf"
    coder.write_bytes(with_markers(starting.shipped().read_bytes(), FAMILIES[0].markers))
    with up(tmp_path / "home", wiki, "--autocomplete", str(coder)) as askdocs:
        status = askdocs.started
        url, key = status["parts"]["gateway"]["url"], status["key"]
        asked = {
            "model": NAME,
            "prompt": "def add(a, b):\n",
            "suffix": "\nprint()",
            "max_tokens": 4,
        }
        auth = {"authorization": f"Bearer {key}"}
        reply = httpx.post(f"{url}/completions", json=asked, headers=auth, timeout=60)
        assert reply.status_code == 200, reply.text
        assert "text" in reply.json()["choices"][0]
        file = tmp_path / "config.yaml"
        done = askdocs.cli("connect", "continue", "--write", "--file", str(file))
        assert done.returncode == 0, done.stderr
        models = {
            role: model["model"]
            for model in yaml.safe_load(file.read_text())["models"]
            for role in model["roles"]
        }
        assert models == {
            "chat": "docs",
            "edit": "base",
            "apply": "base",
            "autocomplete": NAME,
            "embed": "minilm",
            "rerank": "local",
        }


def test_a_model_that_cannot_fill_in_the_middle_is_refused(tmp_path: Path, wiki: Path) -> None:
    text = refused(tmp_path / "home", wiki, "--autocomplete", str(starting.shipped()))
    assert "cannot fill in the middle" in text
