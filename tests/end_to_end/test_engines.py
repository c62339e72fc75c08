"""Engines other than the default: one that runs already, and another model file."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from askdocs.supervision.checks import free_port
from tests import starting
from tests.end_to_end.running import COMMAND, up

pytestmark = pytest.mark.slow


@pytest.fixture
def elsewhere(tmp_path: Path, shallow: Path) -> Iterator[str]:
    """The base URL of an OpenAI-compatible server that somebody else has started."""
    with starting.engine(tmp_path, gguf=shallow, name="their-model") as engine:
        yield engine.url


def test_a_server_that_runs_already_answers_and_is_left_running(
    tmp_path: Path, wiki: Path, elsewhere: str
) -> None:
    with up(tmp_path / "home", wiki, "--engine-url", elsewhere) as askdocs:
        status = askdocs.status()
        assert status["model"] == "their-model"
        assert status["engine"] == "elsewhere"
        assert status["parts"]["engine"]["pid"] is None
        assert "its cache" not in askdocs.text()
        headers = {"authorization": f"Bearer {status['key']}"}
        body = {
            "model": "docs",
            "messages": [{"role": "user", "content": "How do I book a train?"}],
        }
        url = f"{status['parts']['gateway']['url']}/chat/completions"
        reply = httpx.post(url, json=body, headers=headers, timeout=120).json()
        assert reply["askdocs"]["model"] == "their-model"
        assert reply["askdocs"]["mode"] == "generative"
        assert reply["askdocs"]["pages"][0]["title"] == "Travel"
    assert httpx.get(f"{elsewhere}/models").status_code == 200


def test_a_model_that_the_server_lacks_is_one_line_with_those_it_has(
    tmp_path: Path, wiki: Path, elsewhere: str
) -> None:
    ports = [str(free_port()) for _ in range(3)]
    done = subprocess.run(
        [
            *(COMMAND, "up", "--docs", wiki, "--home", tmp_path / "home"),
            *("--gateway-port", ports[0], "--widget-port", ports[1], "--site-port", ports[2]),
            *("--engine-url", elsewhere, "--model", "gpt-9"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "'gpt-9'" in line
    assert "their-model" in line


def test_another_model_file_is_served_under_its_name(
    tmp_path: Path, wiki: Path, shallow: Path
) -> None:
    file = tmp_path / "Another-Model.Q4_1.gguf"
    shutil.copy(shallow, file)
    with up(tmp_path / "home", wiki, "--model", str(file)) as askdocs:
        status = askdocs.status()
        assert status["model"] == "Another-Model.Q4_1"
        assert status["ready"] is True
        assert "A larger model" not in askdocs.text()
