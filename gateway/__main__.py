"""`python -m gateway`: the gateway in the foreground, configured by askdocs.toml and ASKDOCS_*."""

import asyncio
import os
import sys
from functools import partial

from gateway import lean, metrics, parts, renewal, server  # noqa: F401 -- lean first
from gateway.config import GatewaySettings
from gateway.errors import AskdocsError
from gateway.settings import environment, load


def main() -> None:
    given = dict(os.environ)
    try:
        settings = renewal.complete(load(GatewaySettings))
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
            metrics.share(renewal.home() / f"metrics-{settings.port}")
        server.serve("gateway.app:create", settings, partial(renewal.renew, given, settings))
    except AskdocsError as error:
        sys.exit(f"gateway: {error}")


if __name__ == "__main__":
    main()
