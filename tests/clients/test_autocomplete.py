"""Fill in the middle with the official SDK, through a gateway that is set up as the docs say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from askdocs.supervision.checks import free_port
from gateway.upstream.fim import FAMILIES
from tests import starting
from tests.clients import environments
from tests.clients.conftest import Client
from tests.clients.environments import Say
from tests.gateway.fim_model import serving_markers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]


@pytest.fixture
def coder(served: tuple[str, str, str, str, Path], tmp_path: Path) -> Iterator[Client]:
    """A gateway whose `base` is the small model, with a code model beside it."""
    engine, site, state = served[2:]
    port = free_port()
    client = Client(f"http://127.0.0.1:{port}/v1", starting.KEY, engine, site, state, tmp_path)
    with serving_markers(tmp_path, FAMILIES[0].markers) as url:
        settings = client.doc("editors", "Autocomplete", "toml")
        (tmp_path / "askdocs.toml").write_text(settings.replace("http://127.0.0.1:8002/v1", url))
        with starting.gateway(tmp_path, port=port, gateway_engine_url=engine):
            yield client


def test_the_docs_code_is_completed_by_a_code_model_and_refused_by_another(
    coder: Client, say: Say
) -> None:
    python = environments.python("openai-3", say) / "python"
    code = coder.doc("editors", "Autocomplete", "python")
    done = coder.run(python, "-c", code + "print(reply.usage.prompt_tokens, reply.model)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(" qwen-coder")
    done = coder.run(python, "-c", code.replace("qwen-coder", "base"))
    assert done.returncode == 1
    assert "cannot fill in the middle" in done.stderr
