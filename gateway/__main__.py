"""`python -m gateway`: run the gateway in the foreground, with askdocs.toml and ASKDOCS_*."""

import asyncio
import os
import sys
from functools import partial

from core import process  # noqa: F401 -- first, see there
from core.errors import AskdocsError
from core.settings import environment, home, load
from gateway.runtime import container, reload, server
from gateway.settings import GatewaySettings
from gateway.telemetry import metrics


def main() -> None:
    given = dict(os.environ)
    try:
        settings = reload.complete(load(GatewaySettings))
        # The workers load the same settings from the environment.
        os.environ.update(environment(settings))
        asyncio.run(container.prepare(settings))
        if settings.workers > 1:
            if settings.redis_url is None:
                print(
                    f"gateway: each of {settings.workers} workers counts limits separately: set "
                    "ASKDOCS_REDIS_URL to share the counts",
                    file=sys.stderr,
                )
            metrics.share(home() / f"metrics-{settings.port}")
        server.serve("gateway.runtime.app:create", settings, partial(reload.renew, given, settings))
    except AskdocsError as error:
        sys.exit(f"gateway: {error}")


if __name__ == "__main__":
    main()
