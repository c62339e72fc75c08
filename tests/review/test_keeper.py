"""When the review's work in the background is done."""

import pytest
import sqlalchemy as sa

from core.database import reading
from tests.review.conftest import ask, unindexed
from widget.review import clusters, keeper
from widget.review.tables import member_table
from widget.service.store import Store


def sorted_questions(store: Store) -> int:
    with reading(store.engine) as connection:
        count = sa.select(sa.func.count()).select_from(member_table)
        return int(connection.execute(count).scalar_one())


def test_a_busy_box_sorts_one_batch_after_a_rest(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "BATCH", 2)
    for number in range(5):
        ask(store, f"Question {number}?")
    busy = True
    keeping = keeper.Keeper(store.engine, unindexed(store), None, busy=lambda: busy)
    keeping.sorter = clusters.Sorter(store.engine, lambda: None)
    keeping._sort()
    assert sorted_questions(store) == 0
    keeping._rests_until = 0
    keeping._sort()
    assert sorted_questions(store) == 2
    keeping._sort()
    assert sorted_questions(store) == 2
    busy = False
    keeping._sort()
    assert sorted_questions(store) == 5
