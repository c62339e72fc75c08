"""Lists the effective aliases, and validates changes to them."""

from pathlib import Path

import sqlalchemy as sa

from askdocs.state import home
from askdocs.state.database import opened
from askdocs.supervision import status
from core.errors import AskdocsError
from core.settings import load
from gateway.routing import aliases, deployments
from gateway.routing.aliases import Problem, Table
from gateway.routing.registry import Fleet
from gateway.settings import Alias, GatewaySettings


def in_force(home_dir: Path | None) -> dict[str, Alias]:
    """All aliases: from the database, else the settings file, else the defaults."""
    with opened(home_dir) as database:
        return {
            **aliases.DEFAULT,
            **load(GatewaySettings).aliases,
            **aliases.stored(database),
        }


def effective(home_dir: Path | None) -> GatewaySettings:
    """The gateway's settings, with the engine of the local `askdocs up`, if it runs."""
    try:
        engine_url = status.read(home.find(home_dir)).engine_url
    except AskdocsError:
        engine_url = None
    return load(GatewaySettings, engine_url=engine_url)


async def problems_of(
    settings: GatewaySettings, database: sa.Engine, table: Table
) -> list[Problem]:
    """The gateway's objections to `table`; asks the engines about names missing from the file.

    Provider keys are not checked: whoever sets an alias need not have them.
    """
    env = {entry.key_env: "-" for entry in settings.models.values() if entry.key_env}
    fleet = Fleet(settings, env)
    fleet.follow(deployments.every(database))
    try:
        return await fleet.problems(table)
    finally:
        await fleet.close()


def shares(targets: dict[str, float]) -> str:
    """Models and their shares of all requests, for people."""
    total = sum(targets.values())
    return ", ".join(f"{name} {weight / total:.0%}" for name, weight in targets.items())
