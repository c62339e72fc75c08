"""A gateway with a mistake in its settings does not start, and says where the mistake is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from askdocs.supervision.checks import free_port
from tests.starting import REPO, link_litellm

pytestmark = pytest.mark.slow


def refusal(folder: Path, toml: str = "", **variables: str) -> str:
    """What it says when it does not start."""
    (folder / "askdocs.toml").write_text(toml)
    env = {name: value for name, value in os.environ.items() if not name.startswith("ASKDOCS_")}
    env |= {
        "PYTHONPATH": str(REPO),
        "ASKDOCS_GATEWAY_ENGINE_URL": f"http://127.0.0.1:{free_port()}/v1",
        "ASKDOCS_GATEWAY_PORT": str(free_port()),
    }
    env |= {f"ASKDOCS_{name.upper()}": value for name, value in variables.items()}
    done = subprocess.run(
        [sys.executable, "-m", "gateway"],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        (
            '[gateway.aliases.docs]\ntargets = "base"\nfallback = ["spare"]\n',
            "askdocs.toml:3: [gateway.aliases.docs] fallback: there is no model or alias 'spare'",
        ),
        (
            '[gateway]\n[gateway.aliases.docs]\ntargets = "docs@v7"\n',
            "askdocs.toml:3: [gateway.aliases.docs] targets: there is no model 'docs@v7'",
        ),
        (
            '[gateway.aliases]\na = { targets = "base", fallback = ["b"] }\n'
            'b = { targets = "base", fallback = ["a"] }\n',
            "askdocs.toml:2: [gateway.aliases.a] fallback: the fallback is circular",
        ),
        (
            "[gateway.aliases.docs]\ntargets = { base = -1 }\n",
            "askdocs.toml:2: [gateway.aliases.docs] targets: the weight of 'base'",
        ),
        (
            '[gateway.models.spare]\nurl = "ftp://x"\n',
            "askdocs.toml:1: [gateway.models] spare: url must begin with http",
        ),
        (
            '[gateway.models.cloud]\nlitellm = "openai/x"\nkey_env = "TEST_NO_SUCH_KEY"\n',
            "TEST_NO_SUCH_KEY, which is not set",
        ),
        ("[gateway]\nworkers = 0\n", "askdocs.toml:2: [gateway] workers"),
        ("[gateway]\nmax_body = -1\n", "askdocs.toml:2: [gateway] max_body"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, toml: str, words: str) -> None:
    if "litellm" in toml:
        link_litellm(tmp_path / ".askdocs")
    assert words in refusal(tmp_path, toml)


def test_a_database_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    url = f"postgresql://me:secret@127.0.0.1:{free_port()}/askdocs"
    said = refusal(tmp_path, database_url=url)
    assert "the database does not answer" in said
    assert "start PostgreSQL, or correct ASKDOCS_DATABASE_URL" in said
    assert "secret" not in said


def test_what_is_no_redis_is_named(tmp_path: Path) -> None:
    assert "redis" in refusal(tmp_path, redis_url="http://127.0.0.1:1").lower()


def test_a_wiki_without_a_page_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty" in refusal(tmp_path, gateway_docs=str(tmp_path / "empty"))
