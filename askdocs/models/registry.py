"""The store of model versions, and their use by aliases and engines."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from askdocs.state import home
from askdocs.state.database import opened
from core.settings import load
from gateway.routing import aliases, deployments
from gateway.settings import GatewaySettings
from training.settings import TrainingSettings
from training.versions.open import open_store
from training.versions.store import Store


def opened_store(home_dir: Path | None) -> Store:
    """The store from the settings. Raises AskdocsError."""
    return open_store(load(TrainingSettings).store, home.find(home_dir).root)


def targeted(home_dir: Path | None) -> dict[str, list[str]]:
    """The aliases that route requests to each model, by the model's name."""
    table = {**aliases.DEFAULT, **load(GatewaySettings).aliases}
    with _database(home_dir) as database:
        if database is not None:
            table |= aliases.stored(database)
    by_target: dict[str, list[str]] = {}
    for name, alias in sorted(table.items()):
        for target in (*alias.targets, *alias.fallback):
            by_target.setdefault(target, []).append(name)
    return by_target


def served(home_dir: Path | None) -> list[str]:
    """The versions that are served or being started, whether or not an alias uses them."""
    with _database(home_dir) as database:
        return (
            []
            if database is None
            else [deployment.name for deployment in deployments.every(database)]
        )


@contextmanager
def _database(home_dir: Path | None) -> Iterator[sa.Engine | None]:
    """The gateway's database if it exists; does not create it."""
    if load(GatewaySettings).database_url or home.find(home_dir).database.exists():
        with opened(home_dir) as database:
            yield database
    else:
        yield None
