"""Two uses of one model, an adapter and an alias each, in a real vLLM behind a real gateway."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from askdocs import environments
from askdocs.capacity import random_adapter
from askdocs.state.home import Home
from askdocs.supervision.deployed import Deployed, Host
from core import database as gateway_database
from core.errors import AskdocsError
from gateway.routing import deployments
from gateway.upstream.engines import adapters
from gateway.upstream.engines.adapters import TOLERANCE
from gateway.upstream.engines.launch import Launch
from tests import starting
from tests.training.versions import FACTS
from tests.vllm_serving import PLACES
from tests.waiting import async_until
from training.versions.open import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

GPU = environments.has_gpu()
USES = {
    "hr": "You answer for the people team.",
    "it-triage": "You sort what people report to the IT desk by how urgent it is.",
}
QUESTION = {"role": "user", "content": "My laptop does not start."}


@dataclass(frozen=True)
class Uses:
    engine: str
    folder: Path
    """Of the adapters."""
    gateway: starting.Gateway

    @property
    def home(self) -> Home:
        return Home(self.gateway.home)


@pytest.fixture(scope="module")
def uses(
    vllm_url: str, small_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Uses]:
    folder = tmp_path_factory.mktemp("uses")
    for seed, use in enumerate((*USES, "third")):
        random_adapter.write(folder / use, small_folder, seed=seed)
    aliases = {
        use: {"targets": f"{use}@v1", "instructions": told, "fallback": ["base"]}
        for use, told in USES.items()
    }
    engine = f"{vllm_url}/v1"
    try:
        for use in USES:
            asyncio.run(adapters.load(engine, None, f"{use}@v1", folder / use, gpu=GPU))
        with starting.gateway(
            folder, gateway_engine_url=engine, gateway_aliases=json.dumps(aliases)
        ) as gateway:
            yield Uses(engine, folder, gateway)
    finally:
        for use in USES:
            asyncio.run(adapters.unload(engine, None, f"{use}@v1"))


async def asked(gateway: starting.Gateway, model: str) -> list[float]:
    """What the model thinks of one token, again and again behind the question."""
    served, logprobs = await answered(gateway, model)
    assert served == (model if model == "base" else f"{model}@v1")
    return logprobs


async def answered(gateway: starting.Gateway, model: str) -> tuple[str, list[float]]:
    """Which model answered, and its log-probabilities."""
    body = {
        "model": model,
        "messages": [QUESTION],
        "allowed_token_ids": [adapters.TOKEN],
        "ignore_eos": True,
        "max_tokens": 4,
        "temperature": 0,
        "logprobs": True,
    }
    headers = {"Authorization": f"Bearer {starting.KEY}"}
    async with httpx.AsyncClient(timeout=300) as client:
        reply = await client.post(f"{gateway.url}/chat/completions", json=body, headers=headers)
    assert reply.status_code == 200, reply.text
    tokens = reply.json()["choices"][0]["logprobs"]["content"]
    return reply.headers["x-askdocs-model"], [token["logprob"] for token in tokens]


async def test_sixteen_at_once_are_each_answered_by_the_model_of_their_use(uses: Uses) -> None:
    models = ["base", *USES]
    alone = {model: await asked(uses.gateway, model) for model in models}
    mixed = [models[number % len(models)] for number in range(16)]
    beside = await asyncio.gather(*(asked(uses.gateway, model) for model in mixed))
    for model, said in zip(mixed, beside, strict=True):
        far = {name: distance(own, said) for name, own in alone.items()}
        assert min(far, key=lambda name: far[name]) == model, far
        assert far[model] < TOLERANCE, far


def distance(one: list[float], other: list[float]) -> float:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


def test_models_are_listed_with_the_context_of_their_base(uses: Uses) -> None:
    headers = {"Authorization": f"Bearer {starting.KEY}"}
    models = httpx.get(f"{uses.gateway.url}/models", headers=headers).json()["data"]
    listed = {model["id"]: model["max_model_len"] for model in models}
    base = listed["base"]
    assert base
    for use in USES:
        assert listed[use] == listed[f"{use}@v1"] == base
    one = httpx.get(f"{uses.gateway.url}/models/hr", headers=headers).json()
    assert (one["root"], one["max_model_len"]) == ("hr@v1", base)


async def test_a_version_is_loaded_when_it_is_wanted_and_taken_away_when_it_is_not(
    uses: Uses, database: sa.Engine
) -> None:
    store = open_store(None, uses.home.root)
    shutil.copytree(uses.folder / "third", uses.folder / "run" / "adapter")
    version = store.add("docs", uses.folder / "run", FACTS)
    host = Host("adapter", uses.engine, None, GPU, launch=no_process, timeout=60)
    said: list[str] = []
    deployed = Deployed(
        database, host, uses.home, {}, lambda name, text: said.append(f"{name} {text}"), said.clear
    )
    following = asyncio.create_task(deployed.follow())
    try:
        deployments.want(database, version, str(store.place))
        await async_until(lambda: state(database, version) in ("ready", "failed"), 300)
        assert state(database, version) == "ready", said
        assert (await answered(uses.gateway, version))[0] == version
        deployments.stop(database, version)
        await async_until(lambda: state(database, version) is None, 300)
        async with httpx.AsyncClient() as client:
            while version in (await client.get(f"{uses.engine}/models", timeout=60)).text:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


@pytest.fixture
def database(uses: Uses) -> Iterator[sa.Engine]:
    engine = gateway_database.open(uses.gateway.database)
    yield engine
    engine.dispose()


async def no_process(name: str, model: Path, port: int) -> Launch:
    raise AssertionError(f"{name} needs no process")


def state(database: sa.Engine, version: str) -> str | None:
    one = deployments.find(database, version)
    return one.state if one else None


@pytest.mark.skipif(GPU, reason="a GPU frees a place when it unloads")
async def test_the_last_place_is_given_to_nobody(uses: Uses) -> None:
    assert len(USES) + 1 == PLACES
    taken = r"third@v1: .* has 3 adapter slots, .* docs@v1, hr@v1, it-triage@v1"
    with pytest.raises(AskdocsError, match=taken):
        await adapters.load(uses.engine, None, "third@v1", uses.folder / "third", gpu=GPU)


async def test_a_name_stands_for_one_adapter_for_ever(uses: Uses) -> None:
    await adapters.load(uses.engine, None, "hr@v1", uses.folder / "hr", gpu=GPU)
    with pytest.raises(AskdocsError, match=r"hr@v1: the engine serves it from .* already"):
        await adapters.load(uses.engine, None, "hr@v1", uses.folder / "third", gpu=GPU)
