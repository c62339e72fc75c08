"""The store of questions, answers and feedback.

Tables on the gateway's database (`core/migrations/versions/v0001_first.py`). All
methods are synchronous; async code calls them through `asyncio.to_thread`. Each is one transaction:
it stores everything, or raises `core.database.Unreachable` and stores nothing.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, get_args

import orjson
import sqlalchemy as sa

from core import audit
from core.database import Utc, metadata, reading, writing
from core.errors import AskdocsError
from wiki import rights
from wiki.rights import Reader

Channel = Literal["box", "slack", "mcp"]
State = Literal["asked", "answered", "refused", "failed", "stopped"]
Direction = Literal["up", "down", ""]
Reason = Literal["wrong", "incomplete", "outdated", "off-topic", "unclear"]
REASONS: tuple[Reason, ...] = get_args(Reason)

TURNS = 3  # earlier turns of a conversation sent with a new question

question_table = sa.Table(
    "questions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("conversation", sa.Text, nullable=False, index=True),
    sa.Column("at", Utc, nullable=False, index=True),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("alias", sa.Text, nullable=False),
    sa.Column("question", sa.Text, nullable=False),
    sa.Column("quote", sa.Text, nullable=False),
    sa.Column("page", sa.Text, nullable=False),
    sa.Column("visitor", sa.Text, nullable=False, index=True),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("team", sa.Text, nullable=False),
    sa.Column("lang", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("outcome", sa.JSON, nullable=False),
    sa.Column("confidence", sa.Float),
    sa.Column("verdict", sa.Text),
    sa.Column("first_token", sa.Float),
    sa.Column("duration", sa.Float),
    sa.Column("shared", sa.Text, unique=True),
    sa.Column("readers", sa.Text),
    sa.Column("readers_now", sa.Text),
    sa.Column("rights", sa.Text, index=True),
)
"""`readers`: the groups that the answer's pages required when it was made; `readers_now`: those
required now. `rights`: the gateway's revision of rights when that was last written; null: never
checked, see `narrowing.py`."""

vote_table = sa.Table(
    "votes",
    metadata,
    sa.Column("question", sa.ForeignKey(question_table.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("at", Utc, nullable=False),
    sa.Column("vote", sa.Text, nullable=False),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("visitor", sa.Text, nullable=False),
)

# As reported by the gateway, which knows the thresholds fitted for the wiki's embedder.
IS_UNSURE = question_table.c.outcome["caution"].as_boolean()
"""Does the widget show the answer with a caution?"""


# Built once: building a statement and finding it in SQLAlchemy's cache is a tenth of a write.
_ASK = question_table.insert()
_ANSWER = question_table.update().where(question_table.c.id == sa.bindparam("asked"))
_NARROW = _ANSWER.values(readers_now=sa.bindparam("readers_now"), rights=sa.bindparam("rights"))


class Unknown(AskdocsError):
    """The question is not stored."""


@dataclass(frozen=True)
class NewQuestion:
    """A question before it is answered."""

    id: str
    question: str
    conversation: str
    channel: Channel = "box"
    alias: str = "docs"
    quote: str = ""
    """Page text that the reader had selected."""
    page: str = ""
    """Address of the page that the reader was on."""
    visitor: str = ""
    """A pseudonym, for `forget`."""
    person: str = ""
    """The asker's name, if the team's sign-in provides it."""
    team: str = ""
    lang: str = ""


@dataclass(frozen=True)
class Answered:
    """The outcome of a question."""

    state: State
    answer: str = ""
    model: str = ""
    """The gateway's name for the model, such as docs@v7."""
    outcome: dict[str, Any] = field(default_factory=dict)
    """`sources` and `pages` as in widget.service.outcome.Outcome."""
    confidence: float | None = None
    first_token: float | None = None
    """Seconds until the first token."""
    duration: float | None = None
    """Seconds until the last token."""
    verdict: str | None = None
    """The gateway's worst verdict on its claims; None: not checked."""
    readers: str | None = None
    """The groups required to read the answer, from `wiki.rights.dump`; None: public."""


@dataclass(frozen=True)
class Vote:
    """A reader's vote on an answer. An empty `vote` withdraws an earlier one."""

    vote: Direction
    reasons: tuple[Reason, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class StoredQuestion:
    """A stored question with its outcome."""

    asked: NewQuestion
    answered: Answered
    at: datetime
    vote: Vote | None


class Turn(NamedTuple):
    """A question of a conversation with its answer."""

    question: str
    answered: Answered


class Standing(NamedTuple):
    """The pages that an answer is based on."""

    id: str
    pages: tuple[str, ...]
    """Addresses, including those of earlier turns, which the model also received. Text that a
    reader selected counts as its page."""
    asked_on: tuple[str, ...]
    """Other pages on which the questions were asked, inside or outside the wiki."""
    readers_now: str | None
    is_new: bool
    """Its current readers were never checked."""


class Store:
    """Questions and votes in a database."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    def asked(self, asked: NewQuestion, at: datetime | None = None) -> None:
        """Store a question. Raises Unreachable."""
        row = {**vars(asked), **vars(Answered("asked")), "at": at or datetime.now(UTC)}
        with writing(self.engine) as connection:
            connection.execute(_ASK, row)

    def answered(self, id: str, answered: Answered) -> None:
        """Store the outcome of a question. Raises Unreachable, Unknown."""
        c = question_table.c
        with writing(self.engine) as connection:
            # The model also received the earlier turns.
            same = sa.select(c.conversation).where(c.id == id).scalar_subquery()
            earlier = sa.select(c.readers).where(c.conversation == same, c.readers.is_not(None))
            for readers in connection.execute(earlier.distinct()).scalars().all():
                both = rights.both(rights.load(answered.readers), rights.load(readers))
                answered = replace(answered, readers=rights.dump(both))
            if not connection.execute(_ANSWER, {"asked": id, **vars(answered)}).rowcount:
                raise _unknown(id)

    def get(self, id: str) -> StoredQuestion:
        """Raises Unknown, Unreachable."""
        for stored in self._select(question_table.c.id == id):
            return stored
        raise _unknown(id)

    def vote(self, id: str, vote: Vote, visitor: str) -> StoredQuestion:
        """Store a vote, replacing an earlier one; returns the question as it was before.

        Raises Unknown, Unreachable.
        """
        with writing(self.engine) as connection:
            kept_row = connection.execute(_joined().where(question_table.c.id == id)).first()
            if kept_row is None:
                raise _unknown(id)
            connection.execute(vote_table.delete().where(vote_table.c.question == id))
            if vote.vote:
                row = {**asdict(vote), "reasons": list(vote.reasons)}
                at = datetime.now(UTC)
                connection.execute(
                    vote_table.insert(), {"question": id, "at": at, "visitor": visitor, **row}
                )
        return stored_question(kept_row._mapping)

    def history(self, conversation: str) -> list[Turn]:
        """The last questions of a conversation with their answers, oldest first.

        Omits refusals and failures, which a new question cannot refer to. Raises Unreachable.
        """
        c = question_table.c
        query = (
            _joined()
            .where(c.conversation == conversation, c.state == "answered")
            .order_by(c.at.desc())
            .limit(TURNS)
        )
        with reading(self.engine) as connection:
            stored = [stored_question(row._mapping) for row in connection.execute(query)]
        return [Turn(question.asked.question, question.answered) for question in stored][::-1]

    def share(self, id: str) -> str:
        """The token of the answer's link; always the same.

        Raises Unknown, Unreachable.
        """
        c = question_table.c
        with writing(self.engine) as connection:
            token = connection.execute(sa.select(c.shared).where(c.id == id)).first()
            if token is None:
                raise _unknown(id)
            if token[0]:
                return str(token[0])
            made = secrets.token_urlsafe(12)
            connection.execute(question_table.update().where(c.id == id).values(shared=made))
            return made

    def shared(self, token: str) -> StoredQuestion:
        """Raises Unknown, Unreachable."""
        for stored in self._select(question_table.c.shared == token):
            return stored
        raise Unknown("This answer is no longer kept, or the link is not complete.")

    def most_asked(self, count: int, since: datetime) -> list[str]:
        """The most frequently asked questions with good answers, grouped by wording.

        Only first questions of a conversation in the box: questions in Slack or by agents are
        private, and follow-up questions mean nothing alone. Raises Unreachable.
        """
        c = question_table.c
        # A question from a single visitor may identify that visitor.
        visitors = sa.func.count(c.visitor.distinct())
        doubtful = sa.or_(
            sa.func.coalesce(vote_table.c.vote, "") == "down",
            IS_UNSURE,
            sa.func.coalesce(c.verdict, "").in_(("unsupported", "contradicted")),
        )
        query = (
            sa.select(sa.func.min(c.question))
            .select_from(question_table.outerjoin(vote_table))
            .where(c.channel == "box", c.conversation == c.id, c.quote == "")
            .where(for_everybody())
            .where(c.state == "answered", c.at >= since, sa.func.length(c.question) <= 100)
            .group_by(sa.func.lower(c.question))
            .having(visitors > 1, sa.func.max(sa.case((doubtful, 1), else_=0)) == 0)
            .order_by(visitors.desc(), sa.func.lower(c.question))
            .limit(count)
        )
        with reading(self.engine) as connection:
            return [str(question) for question in connection.execute(query).scalars()]

    def conversations(self, after: str, count: int) -> list[str]:
        """The first conversations after `after`, in order. Raises Unreachable."""
        c = question_table.c
        query = sa.select(c.conversation).where(c.conversation > after).distinct()
        with reading(self.engine) as connection:
            rows = connection.execute(query.order_by(c.conversation).limit(count))
            return [str(conversation) for conversation in rows.scalars()]

    def unchecked(self, count: int) -> list[str]:
        """Conversations with answers whose current readers were never checked.

        Raises Unreachable.
        """
        c = question_table.c
        query = sa.select(c.conversation).where(c.rights.is_(None), c.state != "asked").distinct()
        with reading(self.engine) as connection:
            return [
                str(conversation)
                for conversation in connection.execute(query.limit(count)).scalars()
            ]

    def standings(self, conversations: Sequence[str]) -> list[Standing]:
        """The answers of conversations, with the pages of each. Raises Unreachable."""
        c = question_table.c
        # As text: the database's driver parses JSON more slowly.
        outcome = sa.cast(c.outcome, sa.Text)
        query = (
            sa.select(c.id, c.conversation, outcome, c.readers_now, c.rights, c.state)
            .add_columns(c.page, c.quote != "")
            .where(c.conversation.in_(conversations))
            .order_by(c.at, c.id)
        )
        of_talk: dict[str, dict[str, bool]] = {}
        standings = []
        with reading(self.engine) as connection:
            for row in connection.execute(query):
                id, conversation, text, readers_now, checked, state, page, has_quote = row
                pages = of_talk.setdefault(conversation, {})
                pages |= dict.fromkeys(urls_of(orjson.loads(text)), True)
                if page or has_quote:
                    page = page.partition("#")[0]
                    pages[page] = has_quote or pages.get(page, False)
                if state != "asked":
                    shown = tuple(url for url, is_shown in pages.items() if is_shown)
                    asked_on = tuple(url for url, is_shown in pages.items() if not is_shown)
                    standings.append(Standing(id, shown, asked_on, readers_now, checked is None))
        return standings

    def narrow(self, readers: Mapping[str, str | None], revision: str) -> None:
        """Store the groups now required to read some answers, by id. Raises Unreachable."""
        rows = [
            {"asked": id, "readers_now": needed, "rights": revision}
            for id, needed in readers.items()
        ]
        if rows:
            with writing(self.engine) as connection:
                connection.execute(_NARROW, rows)

    def forget(
        self,
        *,
        visitor: str | None = None,
        person: str | None = None,
        before: datetime | None = None,
        dry_run: bool = False,
        action: str = "questions.forget",
    ) -> int:
        """Delete the questions of a visitor, of a person, or before a time, votes included.

        All given conditions must hold; returns the number of questions. `action` is the name in the
        audit log. Raises Unreachable.
        """
        c = question_table.c
        conditions = [] if visitor is None else [c.visitor == visitor]
        conditions += [] if person is None else [c.person == person]
        conditions += [] if before is None else [c.at < before]
        if not conditions:
            raise ValueError("forget needs a condition")
        with writing(self.engine) as connection:
            counting = sa.select(sa.func.count()).select_from(question_table).where(*conditions)
            count = connection.execute(counting).scalar_one()
            if count and not dry_run:
                connection.execute(question_table.delete().where(*conditions))
                # Not the values: the log would keep what is to be forgotten.
                given = {"visitor": visitor, "person": person, "before": before}
                by = [name for name, value in given.items() if value is not None]
                audit.record(connection, action, f"{count:,}", by=by)
        return int(count)

    def _select(self, *conditions: sa.ColumnElement[bool]) -> Iterator[StoredQuestion]:
        with reading(self.engine) as connection:
            for row in connection.execute(_joined().where(*conditions)):
                yield stored_question(row._mapping)


_READERS = (question_table.c.readers, question_table.c.readers_now)


def for_everybody() -> sa.ColumnElement[bool]:
    """SQL condition for questions whose answers are based only on public pages."""
    return sa.and_(*(column.is_(None) for column in _READERS))


def open_to(connection: sa.Connection, reader: Reader) -> sa.ColumnElement[bool]:
    """SQL condition for questions whose answers are based only on pages that the reader may
    read."""
    if reader.groups is None:
        return sa.true()
    conditions = []
    for column in _READERS:
        every = connection.execute(sa.select(column).where(column.is_not(None)).distinct())
        allowed = [readers for readers in every.scalars() if reader.may_read(rights.load(readers))]
        conditions.append(sa.or_(column.is_(None), column.in_(allowed)))
    return sa.and_(*conditions)


def urls_of(outcome: Mapping[str, Any]) -> list[str]:
    """Addresses of the pages in a stored outcome."""
    pages = (*outcome.get("sources", ()), *outcome.get("pages", ()))
    return [url for page in pages if (url := str(page.get("url", "")).partition("#")[0])]


def _joined() -> sa.Select[Any]:
    votes = [vote_table.c[name] for name in ("vote", "reasons", "text")]
    return sa.select(question_table, *votes).outerjoin(vote_table)


def stored_question(row: Any) -> StoredQuestion:
    """Build a question with its vote from a row."""
    asked = {name: row[name] for name in NewQuestion.__dataclass_fields__}
    answered = {name: row[name] for name in Answered.__dataclass_fields__}
    if row["readers_now"] is not None:
        needed = rights.both(rights.load(row["readers"]), rights.load(row["readers_now"]))
        answered["readers"] = rights.dump(needed)
    vote = Vote(row["vote"], tuple(row["reasons"]), row["text"]) if row["vote"] else None
    return StoredQuestion(NewQuestion(**asked), Answered(**answered), row["at"], vote)


def _unknown(id: str) -> Unknown:
    return Unknown(f"no question {id[:80]!r} is stored")
