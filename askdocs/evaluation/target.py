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
from core.errors import AskdocsError
from core.settings import load
from eval.running.run import Model, Provenance
from eval.systems.systems import Role
from gateway.api.endpoints import DESCRIPTION
from gateway.routing.aliases import BASE, DOCS
from gateway.settings import GatewaySettings
from gateway.upstream.engine import Engine
from training.plan.machine import look

# Default number of parallel questions if the engine does not report its limit.
AT_ONCE = 8
# Prompt tokens besides pages: instructions, template, question and the rest.
BESIDE = 1000


class EvaluatedGateway(NamedTuple):
    """A gateway, and what is known about its engine."""

    url: str
    key: str
    engine: str | None
    """Base URL of an engine that can be asked without a key."""
    model: str
    """What the engine serves as `base`, for people."""
    processes: dict[str, int]
    """Pids of local engines, by model."""
    page_budget: int
    """Fallback if the gateway does not report it."""
    is_of_home: bool
    """Does it serve versions from the home's store?"""


class Reads(NamedTuple):
    """The product's answer settings."""

    answers: Literal["write", "quote"] | None
    """None: the gateway does not report it."""
    page_budget: int
    prompt: str | None
    """Fingerprint of its prompt; None: the gateway does not report it."""


Listed = dict[str, dict[str, Any]]
"""A gateway's models by name, from /v1/models."""


def find(home: Home, url: str | None, key: str | None) -> EvaluatedGateway:
    """The gateway at `url`, or that of `askdocs up`. Raises AskdocsError: none runs."""
    if url is not None:
        if key is None:
            raise AskdocsError("--url: the gateway requires a key: add --key")
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
    # An external engine may require a key, which only the gateway knows.
    engine = running.engine_url if "base" in pids else None
    budget = running.page_budget
    return EvaluatedGateway(running.gateway, secret, engine, running.model, pids, budget, True)


def listed(place: EvaluatedGateway) -> Listed:
    """The gateway's models. Raises AskdocsError: it cannot be reached, or refuses the key."""
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
        raise AskdocsError(f"{place.url} is not a gateway of askdocs: correct --url") from None


def alias(listed: Listed, wanted: str | None, tuned: str) -> str:
    """The alias to evaluate: the wanted one, else the tuned model's, else `docs`.

    Raises AskdocsError: the wanted alias does not answer from pages.
    """
    grounded = [name for name, entry in listed.items() if entry.get("grounding")]
    if wanted is not None and wanted not in grounded:
        raise AskdocsError(
            f"--alias {wanted}: the gateway has no such grounded alias; it has"
            f" {', '.join(grounded)}"
        )
    own = tuned.partition("@")[0]
    return wanted or (own if own in grounded else DOCS)


def reads(place: EvaluatedGateway, listed: Listed, alias: str = DOCS) -> Reads:
    """The settings reported by the gateway; older releases do not report them."""
    grounding = listed.get(alias, {}).get("grounding") or {}
    return Reads(
        grounding.get("answers"),
        grounding.get("page_budget", place.page_budget),
        grounding.get("prompt"),
    )


def models(
    listed: Listed, named: Mapping[Role, str], to_come: Collection[str] = ()
) -> dict[str, Model]:
    """The named models, by role; those `to_come` need not be listed yet.

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
    """The engine's kind, "" if it cannot be asked, and how many questions it takes in parallel."""

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
    """Tokens of pages in a prompt that leave room for the answer."""
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
