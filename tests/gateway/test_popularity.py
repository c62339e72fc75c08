"""Which pages are hot: counted once, in all workers, for long."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from core import database
from gateway.upstream.prefill.popularity import HALF_LIFE, PagePopularity
from tests.gateway.postgres import url

__all__ = ["url"]  # a fixture

NOW = datetime(2026, 11, 24, tzinfo=UTC)


async def test_the_page_that_answers_stand_on_most_is_the_hottest(stored: sa.Engine) -> None:
    popularity = PagePopularity(stored)
    popularity.stood_on(["/a", "/b"], NOW)
    popularity.stood_on(["/b"], NOW)
    popularity.stood_on(["/c"], NOW - timedelta(days=1))
    assert await popularity.hottest(10) == ["/b", "/a", "/c"]
    assert await popularity.hottest(1) == ["/b"]


async def test_an_answer_counts_half_after_its_half_life(stored: sa.Engine) -> None:
    popularity = PagePopularity(stored)
    for _ in range(3):
        popularity.stood_on(["/old"], NOW - 2 * HALF_LIFE)
    popularity.stood_on(["/new"], NOW)
    assert await popularity.hottest(2) == ["/new", "/old"]
    for _ in range(2):
        popularity.stood_on(["/old"], NOW - 2 * HALF_LIFE)
    assert await popularity.hottest(2) == ["/old", "/new"]  # 5 quarters against 1


@pytest.mark.slow
async def test_workers_add_up_and_a_restart_forgets_nothing(url: str) -> None:
    stored = database.open(url)
    database.migrate(stored)
    one, other = PagePopularity(stored), PagePopularity(stored)
    one.stood_on(["/a"], NOW)
    other.stood_on(["/b"], NOW)
    await one.flush()
    await other.flush()
    other.stood_on(["/b"], NOW)
    await other.flush()
    assert await PagePopularity(stored).hottest(10) == ["/b", "/a"]
    stored.dispose()


async def test_with_the_database_away_popularity_is_kept_until_it_is_back(tmp_path: Path) -> None:
    file = tmp_path / "askdocs.db"
    engine = database.open(f"sqlite:///{file}")
    database.migrate(engine)
    popularity = PagePopularity(engine)
    engine.dispose()
    away = file.rename(tmp_path / "away.db")
    file.mkdir()
    popularity.stood_on(["/a"], NOW)
    assert await popularity.hottest(10) == []
    file.rmdir()
    away.rename(file)
    assert await popularity.hottest(10) == ["/a"]
    engine.dispose()


async def test_weights_stay_finite_for_many_years(stored: sa.Engine) -> None:
    popularity = PagePopularity(stored)
    popularity.stood_on(["/a"], datetime(2045, 1, 1, tzinfo=UTC))
    popularity.stood_on(["/b"], NOW)
    assert await popularity.hottest(2) == ["/a", "/b"]
