"""One gateway with an engine, an embedder and providers behind it, for all tests here."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest

from tests import starting
from tests.conformance import providers as stand_in
from tests.conformance.providers import Providers

WIKI = """# Coffee

## Where is the coffee machine?

The coffee machine stands in the kitchen on the second floor.
"""
INSTRUCTIONS = "You answer for the people team. Say who can be asked about it."


@dataclass(frozen=True)
class Lane:
    """A gateway, and what is behind it."""

    gateway: starting.Gateway
    engine: starting.Engine
    providers: Providers
    client: openai.OpenAI


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[starting.Engine]:
    # At the engine the model has another name than at the gateway, as everywhere but here.
    with starting.engine(tmp_path_factory.mktemp("engine"), name="small-llama") as engine:
        yield engine


@pytest.fixture(scope="session")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[starting.Engine]:
    folder = tmp_path_factory.mktemp("embedder")
    with starting.engine(folder, name="small-embed", context=2048, embeddings=True) as engine:
        yield engine


@pytest.fixture(scope="session")
def providers() -> Iterator[Providers]:
    with stand_in.providers() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_PROVIDER_KEY", stand_in.KEY)
        patch.setenv("TEST_WRONG_KEY", "wrong")
        yield server


@pytest.fixture(scope="session")
def lane(
    tmp_path_factory: pytest.TempPathFactory,
    engine: starting.Engine,
    embedder: starting.Engine,
    providers: Providers,
) -> Iterator[Lane]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    docs = folder / "docs"
    docs.mkdir()
    (docs / "index.md").write_text(WIKI)
    with (
        starting.gateway(
            folder,
            gateway_engine_url=engine.url,
            gateway_docs=str(docs),
            gateway_models=json.dumps({"embed": {"url": embedder.url}, **providers.models}),
            gateway_aliases=json.dumps(
                {
                    "hr": {"targets": "base", "grounding": True, "instructions": INSTRUCTIONS},
                    "locked-else-base": {"targets": "claude-locked", "fallback": ["base"]},
                }
            ),
            gateway_cors_origins="https://wiki.example.com",
            gateway_access_log=str(folder / "access.log"),
        ) as gateway,
        openai.OpenAI(
            base_url=gateway.url, api_key=starting.KEY, max_retries=0, timeout=120
        ) as client,
    ):
        yield Lane(gateway, engine, providers, client)


@pytest.fixture
def client(lane: Lane) -> openai.OpenAI:
    return lane.client
