"""A widget and a stand-in gateway, both served on ports of their own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.widget.stand_in import Reply, StandIn, serve
from widget.app import create_app
from widget.settings import WidgetSettings

WIKI = "https://wiki.example.com"


class Box:
    """A widget in front of a stand-in."""

    def __init__(self, url: str, gateway: StandIn) -> None:
        self.url = url
        self.gateway = gateway


@pytest.fixture
def box() -> Iterator[Callable[..., Box]]:
    """Start a widget whose gateway gives these replies."""
    with ExitStack() as stack:

        def start(*replies: Reply, origins: tuple[str, ...] = (WIKI,)) -> Box:
            gateway = StandIn(*replies)
            url = stack.enter_context(serve(gateway.app)) + "/v1"
            settings = WidgetSettings(gateway_url=url, gateway_key="ask-test", origins=origins)
            return Box(stack.enter_context(serve(create_app(settings))), gateway)

        yield start
