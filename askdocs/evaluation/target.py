"""Describes the gateway under evaluation: its models, its engine and its machine."""

import asyncio
import importlib.metadata
import platform
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import httpx
import psutil

from askdocs import environments
from askdocs.state.claim import commit
from askdocs.state.home import Home
from askdocs.supervision import status
from eval.running.run import Model, Provenance
from eval.systems.systems import Role
from gateway.api.endpoints import DESCRIPTION
from gateway.core.errors import AskdocsError
from gateway.core.gateway_settings import GatewaySettings
from gateway.core.settings import load
from gateway.routing.aliases import BASE, DOCS
from gateway.upstream.engine import Engine
from training.plan.machine import look

# Questions at the same time where the engine does not tell how many it takes.
AT_ONCE = 8
# Tokens of a prompt beside its pages: instructions, template, question, and what stands beside it.
BESIDE = 1000


class EvaluatedGateway(NamedTuple):
    """A gateway that answers, and what is known of the engine behind it."""

    url: str
    key: str
    engine: str | None
    """Base URL of an engine that can be asked without a key."""
    model: str
    """What the engine serves as `base`, for people."""
    processes: dict[str, int]
    """Of engines on this machine, by their model."""
    page_budget: int
    """Where the gateway does not tell."""
    is_of_home: bool
    """Its versions are those of the home's store."""


class Reads(NamedTuple):
    """How the product answers."""

    answers: Literal["write", "quote"] | None
    """None: the gateway does not tell."""
    page_budget: int
    prompt: str | None
    """The fingerprint of its prompt; None: the gateway does not tell."""


Listed = dict[str, dict[str, Any]]
"""A gateway's models by name, as /v1/models has them."""


def find(home: Home, url: str | None, key: str | None) -> EvaluatedGateway:
    """The gateway at `url`, else the one of `askdocs up`. Raises AskdocsError: none runs."""
    if url is not None:
        if key is None:
            raise AskdocsError("--url: the gateway wants a key: add --key")
        settings = load(GatewaySettings)
        budget = settings.page_budget
        return EvaluatedGateway(url.rstrip("/"), key, None, "", {}, budget, False)
    running = status.read(home)
    secret = key or home.existing_key()
    if secret is None:
        raise AskdocsError(f"{home.root}: has no key: start `askdocs up` again, or add --key")
    pids = {
        "base" if name == "engine" else name: pid
        for name, pid in running.processes.items()
        if pid and (name == "engine" or "@" in name)
    }
    # One that was not started here may want a key, which is the gateway's to know.
    engine = running.engine_url if "base" in pids else None
    budget = running.page_budget
    return EvaluatedGateway(running.gateway, secret, engine, running.model, pids, budget, True)


def listed(place: EvaluatedGateway) -> Listed:
    """What the gateway has. Raises AskdocsError: it cannot be reached, or refuses the key."""
    headers = {"Authorization": f"Bearer {place.key}"}
    try:
        with httpx.Client(trust_env=False, timeout=30) as http:
            reply = http.get(f"{place.url}/models", headers=headers)
        if reply.status_code != 200:
            raise AskdocsError(
                f"the gateway at {place.url} answers {reply.status_code}: correct --key or --url"
            )
        return {entry["id"]: entry for entry in reply.json()["data"]}
    except httpx.HTTPError as error:
        raise AskdocsError(
            f"no gateway answers at {place.url} ({error}): start `askdocs up`, or correct --url,"
            " which ends with /v1"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise AskdocsError(f"{place.url} is no gateway of askdocs: correct --url") from None


def alias(listed: Listed, wanted: str | None, tuned: str) -> str:
    """Whose product is asked: the alias that is wanted, else that of the tuned model, else `docs`.

    Raises AskdocsError: the wanted one does not answer from pages.
    """
    grounded = [name for name, entry in listed.items() if entry.get("grounding")]
    if wanted is not None and wanted not in grounded:
        raise AskdocsError(
            f"--alias {wanted}: the gateway has no such alias that answers from pages; it has"
            f" {', '.join(grounded)}"
        )
    own = tuned.partition("@")[0]
    return wanted or (own if own in grounded else DOCS)


def reads(place: EvaluatedGateway, listed: Listed, alias: str = DOCS) -> Reads:
    """As the gateway tells it; one of an earlier release does not."""
    grounding = listed.get(alias, {}).get("grounding") or {}
    return Reads(
        grounding.get("answers"),
        grounding.get("page_budget", place.page_budget),
        grounding.get("prompt"),
    )


def models(
    listed: Listed, named: Mapping[Role, str], to_come: Collection[str] = ()
) -> dict[str, Model]:
    """The models of these names, by role; those `to_come` need not be listed yet.

    Raises AskdocsError: the gateway has no such model.
    """
    models_found: dict[str, Model] = {}
    for role, name in named.items():
        if name not in listed and name in to_come:
            models_found[role] = Model(named=name, name=name, context=None)
            continue
        if name not in listed:
            raise AskdocsError(
                f"--{role} {name}: the gateway has no such model; it has {', '.join(listed)}"
            )
        entry = listed[name]
        models_found[role] = Model(
            named=name,
            name=entry.get("root") or name,
            context=entry.get("max_model_len"),
            serves=entry.get("serves"),
        )
    return models_found


def engine_facts(place: EvaluatedGateway) -> tuple[str, int]:
    """The kind of the engine, "" where it cannot be asked; and how many questions it takes at
    once."""

    async def asked(url: str) -> tuple[str, int]:
        engine = Engine(url)
        try:
            kind = await engine.kind()
            return kind, len(await engine.slots()) if kind == "llama.cpp" else AT_ONCE
        except (httpx.HTTPError, AskdocsError):
            return "", AT_ONCE
        finally:
            await engine.close()

    return asyncio.run(asked(place.engine)) if place.engine else ("", AT_ONCE)


def budget(page_budget: int, answer: int, models: Sequence[Model]) -> int:
    """Tokens of pages in a prompt, such that the answer has room beside them."""
    room = [model.context - answer - BESIDE for model in models if model.context is not None]
    return max(200, min([page_budget, *room]))


def provenance(place: EvaluatedGateway, listed: Listed, kind: str) -> Provenance:
    lock = (environments.requirements() / environments.EVAL.lock).read_text(encoding="utf-8")
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))
    versions = {"lancedb": pins["lancedb"]}
    own = {"python": platform.python_version(), "askdocs": importlib.metadata.version("askdocs")}
    return Provenance(
        made=datetime.now(UTC),
        commit=commit(),
        versions={**own, **versions, **_release(place)},
        engine=kind,
        engine_model=listed.get(BASE, {}).get("serves") or place.model,
        machine=_machine(),
    )


def _release(place: EvaluatedGateway) -> dict[str, str]:
    """The version of the gateway's askdocs."""
    try:
        reply = httpx.get(
            f"{place.url.removesuffix('/v1')}{DESCRIPTION}", trust_env=False, timeout=30
        )
        return {"gateway": str(reply.json()["info"]["version"])}
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return {}


def _machine() -> dict[str, str | int | list[str]]:
    machine = look()
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    named = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": named[1] if named else platform.machine(),
        "cores": machine.cores,
        "memory": psutil.virtual_memory().total,
        "gpus": [gpu.name for gpu in machine.gpus],
    }
