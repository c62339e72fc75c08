"""Gateways for all tests here: one with llama.cpp, an embedder and providers, one with vLLM.

Both serve their engine twice: as `base` over the fast lane, and as a provider through LiteLLM.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openai
import pytest

from tests import starting
from tests.conformance import providers as stand_in
from tests.conformance.providers import Providers
from tests.conformance.vllm_metrics import Vllm

WIKI = """# Coffee

## Where is the coffee machine?

The coffee machine stands in the kitchen on the second floor.
"""
INSTRUCTIONS = "You answer for the people team. Say who can be asked about it."


LANES = ("llamacpp", "llamacpp-litellm", "vllm", "vllm-litellm")


@dataclass(frozen=True)
class Lane:
    """A gateway, and what is behind it."""

    gateway: starting.Gateway
    engine: starting.Engine | Vllm
    providers: Providers
    client: openai.OpenAI
    base: str = "base"
    docs: str = "docs"
    """The alias that grounds answers of `base`."""

    @property
    def calls_tools(self) -> bool:
        """The small model's chat template has no place for tools; vLLM binds a call without it."""
        return isinstance(self.engine, Vllm)


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
def llamacpp_lane(
    tmp_path_factory: pytest.TempPathFactory,
    engine: starting.Engine,
    embedder: starting.Engine,
    providers: Providers,
) -> Iterator[Lane]:
    folder = tmp_path_factory.mktemp("gateway")
    models = {"embed": {"url": embedder.url}, **providers.models}
    aliases = {
        "hr": {"targets": "base", "grounding": True, "instructions": INSTRUCTIONS},
        "locked-else-base": {"targets": "claude-locked", "fallback": ["base"]},
        "gpt-odd-else-base": {"targets": "gpt-odd", "fallback": ["base"]},
        "claude-odd-else-base": {"targets": "claude-odd", "fallback": ["base"]},
    }
    more = {"gateway_cors_origins": "https://wiki.example.com"}
    with _lane(folder, engine, "small-llama", providers, models, aliases, **more) as lane:
        yield lane


@pytest.fixture(scope="session")
def vllm_lane(
    tmp_path_factory: pytest.TempPathFactory, vllm_url: str, providers: Providers
) -> Iterator[Lane]:
    folder = tmp_path_factory.mktemp("gateway")
    with _lane(folder, Vllm(vllm_url), "base", providers, {}, {}) as lane:
        yield lane


@contextmanager
def _lane(
    folder: Path,
    engine: starting.Engine | Vllm,
    name: str,
    providers: Providers,
    models: dict[str, Any],
    aliases: dict[str, Any],
    **more: Any,
) -> Iterator[Lane]:
    """`name`: the engine's own name for its model."""
    docs = folder / "docs"
    docs.mkdir()
    (docs / "index.md").write_text(WIKI)
    through = {"litellm": f"openai/{name}", "api_base": engine.url, "key_env": "TEST_PROVIDER_KEY"}
    aliases |= {"docs-litellm": {"targets": "base-litellm", "grounding": True}}
    with (
        starting.gateway(
            folder,
            gateway_engine_url=engine.url,
            gateway_docs=str(docs),
            gateway_models=json.dumps({**models, "base-litellm": through}),
            gateway_aliases=json.dumps(aliases),
            gateway_access_log=str(folder / "access.log"),
            **more,
        ) as gateway,
        openai.OpenAI(
            base_url=gateway.url, api_key=starting.KEY, max_retries=0, timeout=240
        ) as client,
    ):
        yield Lane(gateway, engine, providers, client)


@pytest.fixture(scope="session")
def lane(llamacpp_lane: Lane) -> Lane:
    return llamacpp_lane


VLLM_STARTS = pytest.mark.timeout(600)


def _params(engine: str = "") -> list[Any]:
    return [
        pytest.param(name, marks=[VLLM_STARTS] if name.startswith("vllm") else [])
        for name in LANES
        if name.startswith(engine)
    ]


@pytest.fixture(params=_params())
def each(request: pytest.FixtureRequest) -> Lane:
    """llama.cpp and vLLM, over the fast lane and over LiteLLM."""
    return _named(request)


@pytest.fixture(params=_params()[:-1])
def most(request: pytest.FixtureRequest) -> Lane:
    """As `each`, with one engine over LiteLLM: for what does not depend on a provider's words."""
    return _named(request)


@pytest.fixture(params=_params("llamacpp"))
def llamacpp(request: pytest.FixtureRequest) -> Lane:
    return _named(request)


def _named(request: pytest.FixtureRequest) -> Lane:
    name, _, through = request.param.partition("-")
    found: Lane = request.getfixturevalue(f"{name}_lane")
    return replace(found, base="base-litellm", docs="docs-litellm") if through else found


@pytest.fixture
def client(lane: Lane) -> openai.OpenAI:
    return lane.client
