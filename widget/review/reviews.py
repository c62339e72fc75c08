"""Writers' decisions about a cluster: the answer, its page, and its approval.

Every change creates a new version, and names the version it is based on: if somebody else was
faster, it is refused and shows their text; nothing is overwritten.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from core.database import reading, writing
from core.errors import AskdocsError
from widget.review.tables import cluster_table, current_review, review_table
from widget.service.store import Unknown

State = Literal["open", "proposed", "approved", "dismissed"]
Action = Literal["save", "approve", "dismiss", "reopen", "undo"]

MAX_QUESTION = 1000
MAX_ANSWER = 4000  # characters; `askdocs dataset check` rejects answers of over 1,024 tokens


@dataclass(frozen=True)
class Draft:
    """A writer's draft."""

    question: str = ""
    answer: str = ""
    page: str = ""
    """Path in the wiki."""
    section: str = ""
    """A heading of the page."""
    answerable: bool = True


@dataclass(frozen=True)
class Review:
    """A version of a review."""

    cluster: int
    version: int
    """From 1; 0: nobody has worked on the cluster."""
    draft: Draft
    state: State = "open"
    who: str = ""
    action: Action = "save"
    at: datetime | None = None
    approved: tuple[str, ...] = ()
    """The people who approved it."""


class Unfit(AskdocsError):
    """The change is invalid; the message tells the writer why."""


class Conflict(AskdocsError):
    """Somebody else has changed the review since it was read."""

    def __init__(self, current: Review) -> None:
        super().__init__(f"{current.who} has changed this in the meantime.")
        self.current = current


class Reviews:
    """Reviews in a database."""

    def __init__(self, engine: sa.Engine, *, second_approval: bool = False) -> None:
        self._engine = engine
        self._second = second_approval

    def current(self, cluster: int) -> Review:
        """The current version. Raises Unknown, Unreachable."""
        with reading(self._engine) as connection:
            return _current(connection, cluster)

    def history(self, cluster: int) -> list[Review]:
        """All versions, newest first. Raises Unreachable."""
        c = review_table.c
        query = sa.select(review_table).where(c.cluster == cluster).order_by(c.version.desc())
        with reading(self._engine) as connection:
            return [read(row._mapping) for row in connection.execute(query)]

    def approved(self, since: datetime | None = None) -> list[Review]:
        """Approved reviews by cluster, optionally only those since a time. Raises Unreachable."""
        c = current_review.c
        query = sa.select(current_review).where(c.state == "approved").order_by(c.cluster)
        if since is not None:
            query = query.where(c.at >= since)
        with reading(self._engine) as connection:
            return [read(row._mapping) for row in connection.execute(query)]

    def change(
        self, cluster: int, version: int, who: str, action: Action, draft: Draft | None = None
    ) -> Review:
        """Write a new version. Without a draft, the text is unchanged.

        Raises:
            Unfit: it cannot be approved in this form.
            Conflict: `version` is not the current one.
            Unknown, Unreachable.
        """

        def next_of(current: Review) -> Review:
            new = replace(current, draft=clean(draft or current.draft))
            if action == "dismiss":
                return replace(new, state="dismissed", approved=())
            if action != "approve":
                return replace(new, state="open", approved=())
            if wrong := missing(new.draft):
                raise Unfit(wrong)
            if not self._second:
                return replace(new, state="approved", approved=(who,))
            if current.state != "proposed" or new.draft != current.draft:
                return replace(new, state="proposed", approved=(who,))
            if who in current.approved:
                raise Unfit("You have already approved this: another person must approve it, too.")
            return replace(new, state="approved", approved=(*current.approved, who))

        return self._write(cluster, version, who, action, next_of)

    def undo(self, cluster: int, version: int, who: str, to: int) -> Review:
        """Restore version `to` as a new version; 0 clears the review. Raises as `change`."""
        versions = [review for review in self.history(cluster) if review.version == to]
        if to and not versions:
            raise Unknown(f"cluster {cluster} has no version {to}")
        old = versions[0] if versions else Review(cluster, 0, Draft())
        if old.state == "approved" and self._second and len(old.approved) < 2:
            old = replace(old, state="proposed")
        return self._write(cluster, version, who, "undo", lambda current: old)

    def _write(
        self,
        cluster: int,
        version: int,
        who: str,
        action: Action,
        next_of: Callable[[Review], Review],
    ) -> Review:
        try:
            with writing(self._engine) as connection:
                current = _current(connection, cluster)
                if current.version != version:
                    raise Conflict(current)
                new = replace(
                    next_of(current),
                    version=version + 1,
                    who=who,
                    action=action,
                    at=datetime.now(UTC),
                )
                connection.execute(review_table.insert(), _row(new))
                return new
        except IntegrityError:  # in PostgreSQL two writers may have read the same version
            raise Conflict(self.current(cluster)) from None


def decided(engine: sa.Engine, since: datetime) -> list[Review]:
    """All versions of all clusters written since a time. Raises Unreachable."""
    query = sa.select(review_table).where(review_table.c.at >= since)
    with reading(engine) as connection:
        return [read(row._mapping) for row in connection.execute(query)]


def missing(draft: Draft) -> str:
    """What prevents approval; empty if nothing does."""
    if not draft.question:
        return "Write the question first."
    if len(draft.question) > MAX_QUESTION or len(draft.answer) > MAX_ANSWER:
        return (
            f"At most {MAX_QUESTION:,} characters for the question and {MAX_ANSWER:,} for the"
            f" answer; these have {len(draft.question):,} and {len(draft.answer):,}. Shorten them."
        )
    if not draft.answerable:
        return ""
    if not draft.answer:
        return "Write an answer first, or tick that the docs do not answer this."
    if not draft.page:
        return "Choose the page that supports the answer, or tick that the docs do not answer."
    return ""


def clean(draft: Draft) -> Draft:
    """Clean a draft for `askdocs dataset check`: NFC, no control characters, no trailing white
    space."""
    return replace(
        draft,
        question=cleaned(draft.question),
        answer=cleaned(draft.answer),
        page=" ".join(cleaned(draft.page).split()),
        section=" ".join(cleaned(draft.section).split()),
    )


def cleaned(text: str) -> str:
    """One text of `clean`."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = "".join(c for c in text if c == "\n" or unicodedata.category(c) not in ("Cc", "Cs"))
    return "\n".join(line.rstrip() for line in text.split("\n")).strip()


def read(row: Any) -> Review:
    """Build a review from a row of `review_table`."""
    draft = Draft(**{field.name: row[field.name] for field in fields(Draft)})
    names = ("cluster", "version", "state", "who", "action", "at")
    return Review(
        draft=draft, approved=tuple(row["approved"]), **{name: row[name] for name in names}
    )


def _row(review: Review) -> dict[str, Any]:
    row = asdict(review)
    return {**row, **row.pop("draft"), "approved": list(review.approved)}


def _current(connection: sa.Connection, cluster: int) -> Review:
    c = review_table.c
    query = sa.select(review_table).where(c.cluster == cluster).order_by(c.version.desc()).limit(1)
    if row := connection.execute(query).first():
        return read(row._mapping)
    there = sa.select(cluster_table.c.id).where(cluster_table.c.id == cluster)
    if connection.execute(there).first() is None:
        raise Unknown(f"no cluster {cluster}: its questions were deleted, or it never existed")
    return Review(cluster, 0, Draft())
