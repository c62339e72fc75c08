"""Has the running askdocs serve a version, and sends it a test question."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from askdocs.models import artefacts
from askdocs.models.artefacts import BITS
from askdocs.models.registry import opened_store
from askdocs.state import home
from askdocs.state.database import opened
from askdocs.supervision import status
from askdocs.supervision.deployed import derivatives, derived
from askdocs.terminal.bar import Bar
from core.errors import AskdocsError
from core.openai_client import say_hello
from core.settings import load
from gateway.routing import deployments, promotions
from gateway.settings import GatewaySettings
from training.artefacts import probe
from training.versions.name import is_version

if TYPE_CHECKING:
    import sqlalchemy as sa

    from training.versions.store import Store

LOOK = 0.2  # seconds between two polls of the table
PATIENCE = 10.0  # seconds until gateways know about served models
FOLLOWED = 3.0  # seconds until gateways no longer list stopped versions


def serve(
    database: "sa.Engine", name: str, home_dir: Path | None, say: Callable[[str], None] | None
) -> None:
    """Return when the running gateway serves the model of that name; `say` receives the steps.

    Raises:
        AskdocsError: askdocs does not run here, cannot serve the model, or ended meanwhile.
    """
    place = home.find(home_dir)
    running = status.read(place)
    deployment = deployments.find(database, name)

    is_served = deployment is None or deployment.state == "ready"
    if is_served and _lists(running.gateway, place.key(), name):
        if deployment is not None or not is_version(name):
            return  # it was served before, or is base
        # Either somebody else loaded it into an engine, or it was just stopped and the gateway does
        # not know yet.
        time.sleep(FOLLOWED)
        if _lists(running.gateway, place.key(), name):
            return
    store = opened_store(home_dir)
    if running.versions != "adapter" and not derivatives(store, name, running.versions):
        if say:
            say(f"{name}: preparing it for the engine")
        artefacts.make(name, running.versions, home_dir)
    deployments.want(database, name, str(store.place))
    message = ""
    while True:
        deployment = deployments.find(database, name)
        if deployment is None or deployment.state == "stopping":
            # The requester gave up, or askdocs up was restarted.
            raise AskdocsError(f"{name}: askdocs restarted meanwhile: try again")
        if deployment.state == "failed":
            raise AskdocsError(deployment.message)
        if deployment.state == "ready":
            break
        if not place.is_locked():
            raise AskdocsError(f"{name}: askdocs stopped meanwhile: start it, and try again")
        if say and deployment.message != message:
            message = deployment.message
            say(f"{name}: {message}")
        time.sleep(LOOK)
    _wait(running.gateway, place.key(), name)
    if say:
        say(f"{name}: is served, and answers its probes")
    if probe.FILE in store.manifest(name).files:
        probed(store, deployment, running.versions)
    say_hello(running.gateway, name, place.key())


def unserved(names: Iterable[str], home_dir: Path | None) -> list[str]:
    """The names that are versions in the store but not in the running gateway.

    Raises AskdocsError: no askdocs runs here, or its gateway does not answer.
    """
    place = home.find(home_dir)
    running = status.read(place)
    away = [
        name
        for name in dict.fromkeys(names)
        if is_version(name) and not _lists(running.gateway, place.key(), name)
    ]
    store = opened_store(home_dir) if away else None
    return [name for name in away if store and name in store.names()]


@contextmanager
def lent(
    names: Iterable[str], home_dir: Path | None, say: Callable[[str], None] | None
) -> Iterator[None]:
    """Serve versions during the block; a version that an alias uses at the end stays served.

    Raises AskdocsError: as `serve` does.
    """
    with opened(home_dir) as database:
        requested: list[str] = []
        try:
            for name in names:
                requested.append(name)
                serve(database, name, home_dir, say)
            yield
        finally:
            promotions.release(database, requested, load(GatewaySettings).aliases)


def probed(
    store: "Store", deployment: deployments.Deployment, kind: "deployments.ArtefactKind"
) -> None:
    """Raises AskdocsError: the served model does not behave like the version."""
    artefact = derived(store, deployment.name, kind)
    limits = probe.LIMITS[BITS[artefact] if artefact else 16]
    probes = probe.read(store.fetch(deployment.name) / probe.FILE)
    secret = load(GatewaySettings).engine_key
    key = secret.get_secret_value() if secret else None
    assert deployment.url is not None
    with Bar() as bar:
        result = probe.ask(
            deployment.url, deployment.model or deployment.name, probes, limits, bar.show, key
        )
    if not result.passed:
        raise AskdocsError(f"{deployment.name}: fails its probes: {'; '.join(result.problems)}")


def _wait(gateway: str, key: str, name: str) -> None:
    """Wait until the gateway knows the model. Raises AskdocsError."""
    began = time.monotonic()
    while not _lists(gateway, key, name):
        if time.monotonic() - began > PATIENCE:
            raise AskdocsError(f"{name}: the gateway at {gateway} does not list it: see its log")
        time.sleep(LOOK)


def _lists(gateway: str, key: str, name: str) -> bool:
    headers = {"Authorization": f"Bearer {key}"}
    try:
        reply = httpx.get(f"{gateway}/models/{name}", headers=headers, timeout=10)
    except httpx.HTTPError as error:
        raise AskdocsError(
            f"the gateway at {gateway} does not answer ({error!r}): see `askdocs status`"
        ) from None
    return reply.status_code == 200
