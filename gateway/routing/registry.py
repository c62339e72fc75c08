"""The registry of models that can answer, and their endpoints.

A model is served by our engine (`url`: vLLM, llama.cpp), by a provider (`litellm`), or in this
process (`gateway.upstream.local.models`) unless the settings give its name to another model. Other
models that an engine of ours lists, such as a manually loaded adapter `docs@v8`, are found by that
name on first use. Promoted versions come and go with the table of deployments.
"""

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from core.errors import AskdocsError
from gateway.routing.aliases import BASE, Problem, Table
from gateway.routing.breaker import Breaker
from gateway.routing.deployments import Deployment
from gateway.settings import GatewaySettings
from gateway.upstream.engine import Engine, PrefixCache
from gateway.upstream.fim import Fim
from gateway.upstream.http_client import EngineHttpClient
from gateway.upstream.litellm import LiteLLM
from gateway.upstream.local import embeddings, rerank
from gateway.upstream.local.models import EmbeddingThread, Local


@dataclass(frozen=True, slots=True)
class Served:
    """A model and its endpoint."""

    name: str
    """The gateway's name for the model."""
    engine: Engine | None = None
    fim: Fim | None = None
    client: EngineHttpClient | None = None
    local: Local | None = None
    """The model itself, if it runs in this process."""
    provider: LiteLLM | None = None
    """The proxy that reaches it, if it is a provider's."""
    breaker: Breaker = field(default_factory=Breaker)

    async def id(self) -> str:
        """The engine's name for the model. Raises AskdocsError if the engine cannot be asked."""
        return self.name if self.engine is None else (await self.engine.model()).id


class Fleet:
    """All models. Use it in one event loop, and `close` it there."""

    def __init__(
        self,
        settings: GatewaySettings,
        env: Mapping[str, str] | None = None,
        reader: EmbeddingThread | None = None,
        litellm: LiteLLM | None = None,
    ) -> None:
        """`reader` or `litellm` None: the models of this process, or of providers, are listed, but
        cannot be called.

        Raises AskdocsError for a key that is missing in the environment.
        """
        env = os.environ if env is None else env
        secret = settings.engine_key.get_secret_value() if settings.engine_key else None
        self._clients: dict[tuple[str, str | None], EngineHttpClient] = {}
        self._served: dict[str, Served] = {}
        self._engines: dict[tuple[tuple[str, str | None], str | None], Engine] = {}
        self._discovered: dict[str, Served] = {}
        reader = reader or EmbeddingThread(None)
        own = [embeddings.model(reader), rerank.model(reader)]
        self._local = {model.name: Served(model.name, local=model) for model in own}
        self._deployed: dict[str, tuple[Deployment, Served]] = {}
        self._left: list[Served] = []
        self._looked = 0.0
        self._looking = asyncio.Lock()
        self._heard: set[EngineHttpClient | None] = set()  # engines that have listed their models
        self._base = (settings.engine_url.rstrip("/"), secret)
        self._own(BASE, settings.engine_url, settings.engine_model, secret)
        for name, entry in settings.models.items():
            key = _key(name, entry.key_env, env)
            if entry.url is not None:
                self._own(name, entry.url, entry.model, key)
            else:
                self._served[name] = Served(name, provider=litellm)

    @property
    def configured(self) -> list[str]:
        """The names in the settings."""
        return list(self._served)

    @property
    def unheard(self) -> str | None:
        """A model whose engine has not answered yet, so that its other models are unknown."""
        own = (served for served in self._served.values() if served.engine)
        return next((served.name for served in own if served.client not in self._heard), None)

    @property
    def base(self) -> Served:
        return self._served[BASE]

    def get(self, name: str) -> Served | None:
        """A model that is already known."""
        if deployed := self._deployed.get(name):
            return deployed[1]
        return self._served.get(name) or self._discovered.get(name) or self._local.get(name)

    def follow(self, deployments: Iterable[Deployment]) -> None:
        """Serve the deployed versions."""
        new: dict[str, tuple[Deployment, Served]] = {}
        for deployment in deployments:
            if not deployment.is_served or deployment.name in self._served:
                continue  # settings take precedence
            assert deployment.url is not None
            known = self._deployed.pop(deployment.name, None)
            if known and (known[0].url, known[0].model) == (deployment.url, deployment.model):
                new[deployment.name] = (deployment, known[1])
                continue
            if known:
                self._left.append(known[1])
            # A deployed version's own engine has no key: its port is bound to this machine.
            url = deployment.url.rstrip("/")
            where = self._base if url == self._base[0] else (url, None)
            self._clients.setdefault(where, EngineHttpClient(*where))
            new[deployment.name] = (deployment, self._at(deployment.name, where, deployment.model))
        # Running answers still use the engines of dropped versions: close them at the end.
        self._left += [served for _, served in self._deployed.values()]
        self._deployed = new

    async def find(self, name: str) -> Served | None:
        """The model with that name; asks the engines if it is not known yet."""
        return self.get(name) or (await self._look()).get(name)

    async def names(self) -> list[str]:
        """All names: from the settings, the deployed versions, other models that the engines list
        now, and the models of this process."""
        versions = [
            name for name, (deployment, _) in self._deployed.items() if deployment.state == "ready"
        ]
        leaving = self._deployed.keys() - versions
        listed = [name for name in await self._look(fresh=True) if name not in leaving]
        return list(dict.fromkeys([*self._served, *versions, *listed, *self._local]))

    async def prefix_caches(self) -> dict[str, PrefixCache]:
        """The savings of each engine's prefix cache so far, by one of its models, if the engine
        reports them.

        Omits an engine that does not answer within a second.
        """

        async def cache_of(served: Served) -> tuple[str, PrefixCache | None]:
            assert served.engine is not None
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    return served.name, await served.engine.prefix_cache()
            return served.name, None

        caches = await asyncio.gather(*map(cache_of, self._one_each()))
        return {name: cache for name, cache in caches if cache is not None}

    async def ready(self) -> dict[str, bool]:
        """Whether each engine answers now, by one of its models.

        Engines have three seconds: a busy one is not down.
        """

        async def readiness_of(served: Served) -> tuple[str, bool]:
            assert served.engine is not None
            with suppress(TimeoutError):
                async with asyncio.timeout(3):
                    return served.name, await served.engine.is_ready()
            return served.name, False

        return dict(await asyncio.gather(*map(readiness_of, self._one_each())))

    def _one_each(self) -> Iterable[Served]:
        """One model per engine."""
        deployed = [served for _, served in self._deployed.values()]
        everywhere = (*deployed, *reversed(self._served.values()))
        return {s.engine.url: s for s in everywhere if s.engine}.values()

    async def problems(self, table: Table) -> list[Problem]:
        """Errors that make `table` unusable here."""
        return table.problems(self.configured) and table.problems(await self.names())

    async def close(self) -> None:
        deployed = [served for _, served in self._deployed.values()]
        for served in (*self._served.values(), *self._discovered.values(), *deployed, *self._left):
            if served.engine:
                await served.engine.close()
        for client in self._clients.values():
            await client.close()

    def _own(self, name: str, url: str, model: str | None, key: str | None) -> None:
        where = (url.rstrip("/"), key)
        self._clients.setdefault(where, EngineHttpClient(*where))
        # A fallback may use the same model under another name. Share its engine, which knows the
        # model already: the replica that answers such questions may be the one that is down.
        same = self._engines.get((where, model))
        self._served[name] = self._at(name, where, model, same)
        if engine := self._served[name].engine:
            self._engines[where, model] = engine

    def _at(
        self,
        name: str,
        where: tuple[str, str | None],
        model: str | None,
        engine: Engine | None = None,
    ) -> Served:
        engine = engine or Engine(*where, model)
        return Served(name, engine=engine, fim=Fim(engine), client=self._clients[where])

    async def _look(self, fresh: bool = False) -> dict[str, Served]:
        """The models that the engines list besides the configured names, refreshed at most once a
        second."""
        async with self._looking:
            if time.monotonic() - self._looked < (0.2 if fresh else 1):
                return self._discovered
            one_each = {s.client: s for s in self._served.values() if s.engine}
            answers = await asyncio.gather(*(_listed(s) for s in one_each.values()))
            discovered: dict[str, Served] = {}
            for client, listed in zip(one_each, answers, strict=True):
                where = next(where for where, known in self._clients.items() if known is client)
                if listed is not None:
                    self._heard.add(client)
                else:  # unavailable: its models stay known
                    discovered |= {n: s for n, s in self._discovered.items() if s.client is client}
                    continue
                for name in listed:
                    if name not in self._served and name not in discovered:
                        discovered[name] = self._discovered.get(name) or self._at(name, where, name)
            gone = [s for n, s in self._discovered.items() if n not in discovered and s.engine]
            self._discovered = discovered
            self._looked = time.monotonic()
            for served in gone:
                assert served.engine is not None
                await served.engine.close()
            return discovered


async def _listed(served: Served) -> list[str] | None:
    assert served.engine is not None
    try:
        return await served.engine.listed()
    except AskdocsError:
        return None


def _key(name: str, variable: str | None, env: Mapping[str, str]) -> str | None:
    if variable is None:
        return None
    if not env.get(variable):
        raise AskdocsError(
            f"the model {name!r} takes its key from {variable}, which is not set: export it, or"
            f" correct [gateway.models.{name}] key_env"
        )
    return env[variable]
