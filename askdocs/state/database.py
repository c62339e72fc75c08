"""Opens the gateway's database for commands, whether or not a gateway runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from askdocs.state import home
from core import database
from core.settings import load
from gateway.settings import GatewaySettings


@contextmanager
def opened(home_dir: Path | None) -> Iterator[sa.Engine]:
    """The migrated gateway database at ASKDOCS_DATABASE_URL, else in the home.

    Raises AskdocsError: it cannot be reached, or was made by a newer askdocs.
    """
    url = load(GatewaySettings).database_url
    place = home.find(home_dir)
    if url is None:
        place.make()
    engine = database.open(url.get_secret_value() if url else f"sqlite:///{place.database}")
    try:
        database.migrate(engine)
        yield engine
    finally:
        engine.dispose()
