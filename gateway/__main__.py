"""`python -m gateway`: the gateway in the foreground, configured by askdocs.toml and ASKDOCS_*."""

import asyncio
import sys

import uvicorn

from gateway import app
from gateway.config import GatewaySettings
from gateway.errors import AskdocsError
from gateway.settings import load


async def serve() -> None:
    settings = load(GatewaySettings)
    config = uvicorn.Config(
        await app.create(settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    await uvicorn.Server(config).serve()


def main() -> None:
    try:
        asyncio.run(serve())
    except AskdocsError as error:
        sys.exit(f"gateway: {error}")


if __name__ == "__main__":
    main()
