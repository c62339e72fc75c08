"""A question that readers were not helped with, and that a writer has answered."""

import sqlalchemy as sa

from widget.review.clusters import Sorter
from widget.review.reviews import Draft, Reviews
from widget.service.store import Answered, NewQuestion, Store


def approve(engine: sa.Engine, page: str) -> None:
    """wendy@example.com approves an answer that stands on `page`."""
    store = Store(engine)
    store.asked(NewQuestion("q1", "How do I print?", "c1"))
    store.answered("q1", Answered("refused"))
    Sorter(engine, load=lambda: None).sort()
    draft = Draft("How do I print?", "With the green button.", page)
    Reviews(engine).change(1, 0, "wendy@example.com", "approve", draft)
