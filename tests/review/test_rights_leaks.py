"""No door of the widget shows a stored answer to who may not read the pages that it stands on.

For random answers, groups, conversations, votes and drafts; what may be shown is worked out here
from its definition, apart from the queries that apply it. The doors of the gateway are in
`tests/gateway/test_rights_leaks.py`.
"""

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from core import database
from tests.gateway.conftest import page
from widget.review import analytics, digest, gaps, judged, rows, weeks
from widget.review.clusters import Sorter
from widget.review.queue import Queue, Wanted
from widget.review.reviews import Draft, Reviews
from widget.review.wiki import ReviewIndex
from widget.service.gateway import Gateway
from widget.service.store import Answered, NewQuestion, Store, Vote
from widget.settings import WidgetSettings
from wiki.index.writer import writing
from wiki.rights import PUBLIC, Groups, Reader, dump

NAMES = ("hr", "board", "eng")
DRAFTS: dict[str, Groups] = {"": (), "tea.md": (), "pay.md": (frozenset({"hr"}),)}


class Past(NamedTuple):
    """A question of the past."""

    topic: str
    conversation: int
    then: Groups
    """What its answer needed when it was made, apart from the turns before it."""
    now: Groups
    """What it needs today."""
    state: str
    vote: str
    draft: str | None
    """The page that a writer's answer for its cluster names; None: nobody has reviewed it."""


sets = st.frozensets(st.sampled_from(NAMES), max_size=2)
needs = st.just(()) | st.lists(sets, max_size=2).map(tuple)
pasts = st.lists(
    st.builds(
        Past,
        st.sampled_from(["printer", "salary", "badge"]),
        st.integers(0, 3),
        needs,
        needs,
        st.sampled_from(["answered", "refused"]),
        st.sampled_from(["", "up", "down"]),
        st.none() | st.sampled_from(sorted(DRAFTS)),
    ),
    min_size=1,
    max_size=6,
)


def mark(number: int) -> str:
    """A word of one question and its answer."""
    return f"zq{number}zq"


def drafted(cluster: int) -> str:
    """A word of a writer's answer."""
    return f"zd{cluster}zd"


def stored(groups: Groups) -> str | None:
    return dump(groups) if groups else None


def shown(store: Store, wiki: ReviewIndex, reader: Reader) -> Iterator[str]:
    """All that the review shows to a reader."""
    queue, week = Queue(store.engine, wiki), weeks.monday(datetime.now(UTC).date())
    items, _ = queue.items(Wanted(state="all"), reader)
    yield repr(items)
    found = gaps.find(store.engine, week, 2, reader, wiki)
    yield repr(found) + gaps.sheet_of(found)
    today = datetime.now(UTC).date()
    measured = analytics.measure(store.engine, today - timedelta(days=2), today, reader)
    yield json.dumps(analytics.facts(measured))
    for cluster in range(1, 8):
        if queue.may_open(cluster, reader):
            questions = queue.questions(cluster)
            yield repr(questions) + repr(Reviews(store.engine).history(cluster))
            yield repr(queue.asked_again(questions[0], reader))


def told(store: Store, wiki: ReviewIndex) -> Iterator[str]:
    """All that goes to whoever it may be: messages, training data and suggested questions."""
    week = weeks.monday(datetime.now(UTC).date())
    found = gaps.find(store.engine, week, 2, PUBLIC, wiki)
    yield json.dumps(digest.message(found, "https://hook.example.com/"))
    yield from (repr(row) for row in rows.pull(store.engine, wiki) if isinstance(row, dict))
    yield from map(repr, judged.judged(store.engine, wiki))
    yield from store.most_asked(9, datetime.now(UTC) - timedelta(days=2))


def check(store: Store, wiki: ReviewIndex, questions: list[Past], reader: Reader) -> None:
    ids = [f"question-{number}" for number in range(len(questions))]
    needed: list[Groups] = []
    links = []
    for number, (id, past) in enumerate(zip(ids, questions, strict=True)):
        text = f"Where is the {past.topic} {mark(number)}?"
        of = f"https://wiki.example.com/{mark(number)}/"
        # Two visitors: what only one has asked is suggested to nobody.
        for visitor in ("", "-again"):
            talk = f"question-{past.conversation}{visitor}"
            store.asked(NewQuestion(id + visitor, text, talk, page=of, visitor=id + visitor))
            outcome = {"pages": [{"url": of, "title": mark(number)}]}
            answer = Answered(past.state, f"{text} There.", outcome=outcome)  # type: ignore[arg-type]
            store.answered(id + visitor, replace(answer, readers=stored(past.then)))
        if past.vote:
            store.vote(id, Vote(past.vote), "v")  # type: ignore[arg-type]
        links.append(store.share(id))
        before = [
            one for other, one in zip(questions, needed, strict=False)
            if other.conversation == past.conversation
        ]  # fmt: skip
        needed.append((*past.then, *(some for one in before for some in one)))
    now = {
        id + visitor: stored(past.now)
        for id, past in zip(ids, questions, strict=True)
        for visitor in ("", "-again")
    }
    store.narrow(now, "1")
    Sorter(store.engine).sort()
    every = [(*one, *(past.now)) for one, past in zip(needed, questions, strict=True)]
    for cluster, past in enumerate(questions, start=1):
        if past.draft is not None and Queue(store.engine, wiki).usual_question(cluster):
            answerable = past.draft != ""
            draft = Draft(f"Is it {drafted(cluster)}?", "Yes.", past.draft, answerable=answerable)
            Reviews(store.engine).change(cluster, 0, "ada", "approve", draft)
    for who, all_shown in ((reader, shown(store, wiki, reader)), (PUBLIC, told(store, wiki))):
        text = "\n".join(all_shown)
        for number, one in enumerate(every):
            assert who.may_read(one) or mark(number) not in text
        for cluster, past in enumerate(questions, start=1):
            assert who.may_read(DRAFTS[past.draft or ""]) or drafted(cluster) not in text

    async def opened() -> list[bool]:
        gateway = Gateway(WidgetSettings(gateway_key="ask-test"))
        # Without pages: the gateway answers for these in `tests/security/test_rights_attacks.py`.
        answers = [replace(store.shared(link).answered, outcome={}) for link in links]
        return [await gateway.may_open(one, reader.groups or frozenset()) for one in answers]

    assert asyncio.run(opened()) == [reader.may_read(one) for one in every]


def test_no_door_of_the_widget_shows_an_answer_to_who_may_not_read_its_pages(
    tmp_path: Path,
) -> None:
    index, empty = tmp_path / "index.db", tmp_path / "empty.db"
    with writing(index) as writer:
        writer.put("a", page("tea.md", "# Tea\n\nAt four.\n"), "1", ())
        writer.put("a", page("pay.md", "# Pay\n\n98,765.\n"), "1", DRAFTS["pay.md"])
    engine = database.open(f"sqlite:///{empty}")
    database.migrate(engine)
    engine.dispose()

    @given(pasts, st.frozensets(st.sampled_from(NAMES)).map(Reader))
    @settings(max_examples=6, phases=[Phase.generate])  # shrinking takes minutes
    def run(questions: list[Past], reader: Reader) -> None:
        shutil.copy(empty, tmp_path / "askdocs.db")
        engine = database.open(f"sqlite:///{tmp_path / 'askdocs.db'}")
        try:
            with closing(ReviewIndex(index, engine)) as wiki:
                check(Store(engine), wiki, questions, reader)
        finally:
            engine.dispose()

    run()
