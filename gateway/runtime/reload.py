"""Loads the settings at start, and again for replacement workers on SIGHUP.

Not in `__main__`: processes that multiprocessing spawns cannot import from there.
"""

import asyncio
import os
import secrets
from collections.abc import Mapping
from multiprocessing.connection import Connection

from pydantic import SecretStr

from core.errors import AskdocsError
from core.settings import environment, home, load
from gateway.runtime import container
from gateway.settings import GatewaySettings


def renew(given: Mapping[str, str], before: GatewaySettings, answer: Connection) -> None:
    """Prepare new workers on SIGHUP: read their settings again, and prepare the database.

    `given` is the environment in which this gateway was started.

    Raises:
        AskdocsError: as at startup; or host, port or workers have changed.
    """
    os.environ.clear()
    os.environ.update(given)
    settings = complete(load(GatewaySettings), before.key)
    for name in ("host", "port", "workers"):
        was, now = getattr(before, name), getattr(settings, name)
        if was != now:
            raise AskdocsError(f"[gateway] {name} is {now!r} now and was {was!r}: restart it")
    os.environ.update(environment(settings))
    asyncio.run(container.prepare(settings))
    answer.send({name: text for name, text in os.environ.items() if name.startswith("ASKDOCS_")})


def complete(settings: GatewaySettings, key: SecretStr | None = None) -> GatewaySettings:
    """Fills in what every gateway needs: a database, and a key for its own requests."""
    missing: dict[str, SecretStr] = {}
    if settings.key is None:
        missing["key"] = key or SecretStr(f"ask-{secrets.token_urlsafe(32)}")
    if settings.database_url is None:
        folder = home()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise AskdocsError(
                f"{folder}: cannot be written ({error.strerror}): set ASKDOCS_HOME or"
                " ASKDOCS_DATABASE_URL"
            ) from None
        missing["database_url"] = SecretStr(f"sqlite:///{folder / 'askdocs.db'}")
    return settings.model_copy(update=missing)
