"""Serves the app with uvicorn."""

import uvicorn

from gateway.config import GatewaySettings


def serve(factory: str, settings: GatewaySettings) -> None:
    uvicorn.run(
        factory,
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=3,
        loop="uvloop",
        http="httptools",
    )
