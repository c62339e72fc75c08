"""The effective aliases, and validation of changes to them."""

from pathlib import Path

import sqlalchemy as sa

from askdocs.state import home
from askdocs.state.database import opened
from askdocs.supervision import status
from gateway.core.errors import AskdocsError
from gateway.core.gateway_settings import Alias, GatewaySettings
from gateway.core.settings import load
from gateway.routing import aliases, deployments
from gateway.routing.aliases import Problem, Table
from gateway.routing.registry import Fleet


def in_force(home_dir: Path | None) -> dict[str, Alias]:
    """Every alias: from the database, else the settings' file, else the default."""
    with opened(home_dir) as database:
        return {
            **aliases.DEFAULT,
            **load(GatewaySettings).aliases,
            **aliases.stored(database),
        }


def effective(home_dir: Path | None) -> GatewaySettings:
    """The gateway's settings, with the engine of the `askdocs up` that runs here, if one does."""
    try:
        engine_url = status.read(home.find(home_dir)).engine_url
    except AskdocsError:
        engine_url = None
    return load(GatewaySettings, engine_url=engine_url)


async def problems_of(
    settings: GatewaySettings, database: sa.Engine, table: Table
) -> list[Problem]:
    """What the gateway would refuse about `table`; the engines are asked for names not in the file.

    A provider's key is the gateway's affair: the one who sets an alias need not have it.
    """
    env = {entry.key_env: "-" for entry in settings.models.values() if entry.key_env}
    fleet = Fleet(settings, env)
    fleet.follow(deployments.every(database))
    try:
        return await fleet.problems(table)
    finally:
        await fleet.close()


def shares(targets: dict[str, float]) -> str:
    """Models and their parts of all requests, for people."""
    total = sum(targets.values())
    return ", ".join(f"{name} {weight / total:.0%}" for name, weight in targets.items())
