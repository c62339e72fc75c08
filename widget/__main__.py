"""`python -m widget`: runs the widget with the settings of `[widget]`."""

import gc
import logging
import socket
import sys

import uvicorn

from core.errors import AskdocsError
from core.process import prepare
from core.settings import load
from gateway.http.hosts import AllowedHosts, host_of
from gateway.runtime.protocol import Edge
from widget.app import create_app
from widget.service.pending import PendingQuestions
from widget.settings import WidgetSettings

GRACE = 3  # seconds that open requests get at shutdown


class Server(uvicorn.Server):
    """Ends open streams before it waits for them."""

    def __init__(self, config: uvicorn.Config, pending: PendingQuestions) -> None:
        super().__init__(config)
        self.pending = pending

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening."""
        prepare()
        await super().startup(sockets)
        # Modules live forever: exclude their objects from garbage collection.
        gc.collect()
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down. uvicorn alone would wait forever for open streams."""
        self.pending.close()
        await super().shutdown(sockets)


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    settings = load(WidgetSettings)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else a log line for every question
    app = create_app(settings)
    hosts = (settings.host, *host_of(settings.public_url), *settings.hosts)
    config = uvicorn.Config(
        AllowedHosts(app, hosts, "hosts of [widget]"),
        http=Edge,
        ws="none",
        host=settings.host,
        port=settings.port,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the app reads them, but only from trusted proxies
        timeout_graceful_shutdown=GRACE,
    )
    Server(config, app.state.pending).run()


if __name__ == "__main__":
    try:
        main()
    except AskdocsError as error:
        sys.exit(f"error: {error}")
