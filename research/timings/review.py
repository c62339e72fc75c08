"""How long the pages of the review take with many stored questions.

    .venv/bin/python -m research.timings.review [--questions 100000] [--url postgresql://...]

The questions are of 30 days and one in five is a concern; those are of 4,000 clusters, asked as
often as words are. The clusters are made up: how fast questions are embedded is not measured here.
The database must be empty.
"""

import argparse
import random
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

import sqlalchemy as sa
from starlette.testclient import TestClient

from core import database
from widget.app import create_app
from widget.review import access
from widget.review.tables import cluster_table, member_table
from widget.service.store import Answered, NewQuestion, State, question_table, vote_table
from widget.settings import WidgetSettings

CLUSTERS = 4000
TIMES = 7
PATHS = (
    *("", "?kind=down", "?words=of+topic+17", "?start=1000", "/1", "/gaps", "/gaps.csv"),
    *("/analytics?days=30", "/analytics.json?days=30"),
)

_STATES: tuple[State, ...] = ("answered", "refused", "failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=100_000)
    parser.add_argument("--url", help="an empty database (default: a SQLite file)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.url or f"sqlite:///{folder}/askdocs.db"
        engine = database.open(url)
        database.migrate(engine)
        fill(engine, options.questions)
        engine.dispose()
        settings = WidgetSettings(database_url=url, gateway_key="ask-bench")
        client = TestClient(create_app(settings))
        client.get("/review", params={"key": access.key(settings)})
        for path in PATHS:
            took, worked = [], []
            for _ in range(TIMES):
                began, busy = time.monotonic(), time.process_time()
                answer = client.get(f"/review{path}")
                took.append(time.monotonic() - began)
                worked.append(time.process_time() - busy)
                assert answer.status_code == 200, answer.text
            median, most = statistics.median(took) * 1000, max(took) * 1000
            cpu, size = statistics.median(worked) * 1000, len(answer.content) / 1000
            print(
                f"/review{path}: {median:.0f} ms, at most {most:.0f}; {cpu:.0f} ms of a core,"
                f" {size:.0f} kB"
            )


def fill(engine: sa.Engine, count: int) -> None:
    """Store the questions."""
    chance = random.Random(0)
    now = datetime.now(UTC)
    weights = list(accumulate(1 / place for place in range(1, CLUSTERS + 1)))
    clusters = range(1, CLUSTERS + 1)
    questions: list[dict[str, Any]] = []
    members, votes = [], []
    pages = [
        {"title": f"Page {n}", "url": f"https://wiki.example.com/{n}/#part"} for n in range(300)
    ]
    for number in range(count):
        id = f"question-{number}"
        topic = chance.choices(clusters, cum_weights=weights)[0]
        state = chance.choices(_STATES, [85, 10, 5])[0]
        unsure, down = chance.random() < 0.06, chance.random() < 0.06
        at = now - timedelta(days=30 * chance.random())
        asked = NewQuestion(
            id,
            f"What about the {chance.randrange(3)}. side of topic {topic}?",
            id,
            page=chance.choice(pages)["url"],
            channel=chance.choice(["box", "slack", "mcp"]),
            visitor=f"v{chance.randrange(5000)}",
        )
        answered = Answered(
            state,
            "An answer of some length. " * 20 if state == "answered" else "",
            "docs@v3",
            {"sources": chance.sample(pages, 2), "pages": chance.sample(pages, 3)},
            0.01 if unsure else 0.9,
            0.5,
            chance.expovariate(0.3),
        )
        questions.append({**vars(asked), **vars(answered), "at": at})
        if down:
            reasons = chance.sample(["wrong", "incomplete", "outdated"], 2)
            vote = {"question": id, "at": at, "vote": "down", "reasons": reasons}
            votes.append({**vote, "text": "No.", "visitor": "v"})
        if down or state == "refused" or (unsure and state == "answered"):
            members.append({"question": id, "cluster": topic})
    with database.writing(engine) as connection:
        made = [{"at": now, "model": "bench", "vector": b""} for _ in clusters]
        connection.execute(cluster_table.insert(), made)
        for table, rows in (
            (question_table, questions),
            (vote_table, votes),
            (member_table, members),
        ):
            connection.execute(table.insert(), rows)
    print(f"{count:,} questions, {len(members):,} of {CLUSTERS:,} clusters, {len(votes):,} votes")


if __name__ == "__main__":
    main()
