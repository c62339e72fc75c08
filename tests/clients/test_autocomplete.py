"""Fill in the middle with the official SDK, through a gateway that is set up as the docs say."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from askdocs.checks import free_port
from gateway.fim import FAMILIES
from tests.clients import environments
from tests.clients.conftest import Client
from tests.clients.environments import Say
from tests.gateway.fim_model import serving_markers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

KEY = "ask-autocomplete"


@pytest.fixture
def coder(served: tuple[str, str, str, str], tmp_path: Path) -> Iterator[Client]:
    """A gateway whose `base` is the small model, with a code model beside it."""
    engine, site = served[2:]
    client = Client(f"http://127.0.0.1:{free_port()}/v1", KEY, engine, site, tmp_path)
    with serving_markers(tmp_path, FAMILIES[0].markers) as url:
        settings = client.doc("autocomplete", "How do I set up autocomplete?", "toml")
        (tmp_path / "askdocs.toml").write_text(settings.replace("http://127.0.0.1:8002/v1", url))
        port = re.findall(r":(\d+)/", client.url)[0]
        log = tmp_path / "gateway.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway"],
                cwd=tmp_path,
                env={
                    **{k: v for k, v in os.environ.items() if not k.startswith("ASKDOCS_")},
                    "ASKDOCS_GATEWAY_KEY": KEY,
                    "ASKDOCS_GATEWAY_PORT": port,
                    "ASKDOCS_GATEWAY_ENGINE_URL": engine,
                },
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            deadline = time.monotonic() + 120
            while not is_ready(client.url):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
            yield client
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def is_ready(url: str) -> bool:
    try:
        return httpx.get(url.removesuffix("/v1") + "/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_the_docs_code_is_completed_by_a_code_model_and_refused_by_another(
    coder: Client, say: Say
) -> None:
    python = environments.python("openai-3", say) / "python"
    code = coder.doc("autocomplete", "How do I try fill in the middle?", "python")
    done = coder.run(python, "-c", code + "print(reply.usage.prompt_tokens, reply.model)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(" qwen-coder")
    done = coder.run(python, "-c", code.replace("qwen-coder", "base"))
    assert done.returncode == 1
    assert "cannot fill in the middle" in done.stderr
