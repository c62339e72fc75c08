"""A PostgreSQL whose connections lead nowhere, and nothing says so."""

import time

import pytest
import sqlalchemy as sa

from core import database
from tests.chaos.half_open import half_open
from tests.gateway.postgres import Postgres

pytestmark = pytest.mark.slow


def test_a_database_that_falls_silent_is_away_after_the_patience_and_comes_back(
    postgres: Postgres,
) -> None:
    url = sa.make_url(postgres.database())
    assert url.port is not None
    with half_open(url.port) as way:
        engine = database.open(
            url.set(port=way.port).render_as_string(hide_password=False), patience=1.0
        )
        reached(engine)
        way.freeze()
        began = time.monotonic()
        with pytest.raises(database.Unreachable):
            database.ping(engine)
        assert time.monotonic() - began > 0.9
        way.thaw()
        reached(engine)  # also on the connections that the pool had kept
        engine.dispose()


def reached(engine: sa.Engine) -> None:
    """A machine that is held up may need more tries than one."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return database.ping(engine)
        except database.Unreachable:
            assert time.monotonic() < deadline
