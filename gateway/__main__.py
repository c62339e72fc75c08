"""`python -m gateway`: the gateway in the foreground, configured by askdocs.toml and ASKDOCS_*."""

import asyncio
import os
import secrets
import sys
from collections.abc import Mapping
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from pydantic import SecretStr

from gateway import metrics, parts, server
from gateway.config import GatewaySettings
from gateway.errors import AskdocsError
from gateway.settings import environment, load


def main() -> None:
    given = dict(os.environ)
    try:
        settings = _complete(load(GatewaySettings))
        # The workers load the same settings again, from the environment.
        os.environ.update(environment(settings))
        asyncio.run(parts.prepare(settings))
        if settings.workers > 1:
            if settings.redis_url is None:
                print(
                    f"gateway: each of {settings.workers} workers counts limits alone:"
                    " set ASKDOCS_REDIS_URL for limits that hold across them",
                    file=sys.stderr,
                )
            metrics.share(_home() / f"metrics-{settings.port}")
        server.serve("gateway.app:create", settings, partial(_renew, given, settings))
    except AskdocsError as error:
        sys.exit(f"gateway: {error}")


def _renew(given: Mapping[str, str], before: GatewaySettings, answer: Connection) -> None:
    """Prepare new workers: their settings, read again, and the database. At SIGHUP.

    `given` is the environment as this gateway was started in.

    Raises:
        AskdocsError: as at a start; or the address is another one.
    """
    os.environ.clear()
    os.environ.update(given)
    settings = _complete(load(GatewaySettings), before.key)
    for name in ("host", "port", "workers"):
        was, now = getattr(before, name), getattr(settings, name)
        if was != now:
            raise AskdocsError(f"[gateway] {name} is {now!r} now and was {was!r}: start it anew")
    os.environ.update(environment(settings))
    asyncio.run(parts.prepare(settings))
    answer.send({name: text for name, text in os.environ.items() if name.startswith("ASKDOCS_")})


def _complete(settings: GatewaySettings, key: SecretStr | None = None) -> GatewaySettings:
    """What every gateway needs: a database, and a key for what it asks of itself."""
    missing: dict[str, SecretStr] = {}
    if settings.key is None:
        missing["key"] = key or SecretStr(f"ask-{secrets.token_urlsafe(32)}")
    if settings.database_url is None:
        home = _home()
        try:
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise AskdocsError(
                f"{home}: cannot be written ({error.strerror}): set ASKDOCS_HOME or"
                " ASKDOCS_DATABASE_URL"
            ) from None
        missing["database_url"] = SecretStr(f"sqlite:///{home / 'askdocs.db'}")
    return settings.model_copy(update=missing)


def _home() -> Path:
    return Path(os.environ.get("ASKDOCS_HOME") or ".askdocs").absolute()


if __name__ == "__main__":
    main()
