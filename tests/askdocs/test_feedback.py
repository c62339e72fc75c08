"""`askdocs feedback` and `askdocs dataset pull` as processes, with the real check of datasets."""

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from askdocs import environments
from core import audit, database
from tests.askdocs.conftest import ROOT, Done, RunHere
from tests.askdocs.test_dataset_check import HOME, INSTALL
from tests.parts import require
from tests.review.conftest import queue_of
from widget.review.clusters import Sorter
from widget.review.queue import Wanted
from widget.review.reviews import Draft, Reviews
from widget.service.store import Answered, NewQuestion, Store, Vote
from wiki.rights import EVERYTHING

# They ask the database as the gateway fills it, and start processes.
pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """The database of the home, with what readers asked."""
    (tmp_path / ".askdocs").mkdir()
    engine = database.open(f"sqlite:///{tmp_path}/.askdocs/askdocs.db")
    database.migrate(engine)
    store = Store(engine)
    now = datetime.now(UTC)
    pages = {"pages": [{"title": "Ports", "url": "https://wiki.example.com/ports/"}]}
    questions = (
        ("a", "imap vs pop3", "1", 0),
        ("b", "The difference between IMAP and POP3", "2", 0),
        ("c", "=1+1 where is the canteen?", "2", 0),
        ("d", "who wins the cup this year?", "3", 100),
        ("e", f"IMAP vs POP3 {'ghp_' + 'a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8'}", "3", 0),
    )
    for id, question, visitor, days in questions:
        asked = NewQuestion(f"question-{id}", question, id, visitor=visitor, person=f"p{visitor}")
        store.asked(asked, now - timedelta(days=days))
        store.answered(asked.id, Answered("refused", outcome=pages))
    store.vote("question-a", Vote("down", ("incomplete",), '=HYPERLINK("x")'), "1")
    yield store
    engine.dispose()


def approve(store: Store, words: str, draft: Draft) -> None:
    Sorter(store.engine).sort()
    items, _ = queue_of(store).items(Wanted(words=words), EVERYTHING)
    for item in items:
        Reviews(store.engine).change(item.cluster, 0, "ann@example.com", "approve", draft)


def said(done: Done) -> Any:
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def test_what_is_pulled_passes_the_check_and_builds_clusters(
    here: RunHere, store: Store, tmp_path: Path
) -> None:
    require(environments.find(environments.DATASET, HOME) is not None, INSTALL)
    answer = "With **IMAP** messages stay on the server; POP3 downloads them.\n\n- IMAP\n- POP3"
    approve(store, "difference", Draft("IMAP or POP3: which one?", answer, "mail.md", "Servers"))
    approve(store, "canteen", Draft("Where is the canteen?", "On the ground floor.", "office.md"))
    approve(store, "cup", Draft("Who wins the cup this year?", answerable=False))
    looked = said(here("dataset", "pull", "--dry-run", "--json"))
    assert looked["file"] is None
    done = said(here("dataset", "pull", "--out", "pulled.jsonl", "--json"))
    assert (done["rows"], done["clusters"]) == (looked["rows"], 3) == (6, 3)
    file = tmp_path / "pulled.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    wiki = tmp_path / "wiki"
    wiki.mkdir()
    for page in ("mail.md", "office.md"):
        (wiki / page).write_text(f"# About {page}\n\nText.\n")
    options = ("--docs", str(wiki), "--home", str(HOME), "--json")
    checked = said(here("dataset", "check", str(file), *options))
    assert (checked["errors"], checked["rows"]) == (0, 6)
    again = here("dataset", "pull", "--out", "pulled.jsonl")
    assert again.returncode == 2
    assert "already exists" in again.stderr
    nothing = here("dataset", "pull", "--out", "new.jsonl", "--since", "2999-01-01")
    assert "no approved answers" in nothing.stdout
    assert not (tmp_path / "new.jsonl").exists()


def test_exports_say_what_and_not_who_and_no_cell_is_a_formula(
    here: RunHere, store: Store, tmp_path: Path
) -> None:
    assert said(here("feedback", "export", "--out", "all.csv", "--json"))["questions"] == 5
    text = (tmp_path / "all.csv").read_text(encoding="utf-8-sig")
    cells = [cell for row in csv.reader(text.splitlines()) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert "'=1+1 where is the canteen?" in cells
    assert here("feedback", "export", "--out", "new.jsonl", "--since", "30d").returncode == 0
    rows = [json.loads(line) for line in (tmp_path / "new.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    assert rows[0]["comment"] == '=HYPERLINK("x")'
    assert not {"visitor", "person"} & rows[0].keys()
    wrong = here("feedback", "export", "--out", "all.txt")
    assert wrong.returncode == 2
    assert "ends with .jsonl or .csv" in wrong.stderr
    lost = here("feedback", "export", "--out", "no/all.csv")
    assert "does not exist: create it first" in lost.stderr
    done = [(one.action, one.target, one.details) for one in audit.lines(store.engine)]
    assert done == [
        ("questions.export", "all.csv", {"questions": 5}),
        ("questions.export", "new.jsonl", {"questions": 4}),
    ]


def test_gaps_and_the_digest_are_reported(here: RunHere, store: Store, tmp_path: Path) -> None:
    found = said(here("feedback", "gaps", "--json"))
    assert len(found["weeks"]) == 8
    counts = {gap["question"]: gap["asked"] for gap in found["gaps"]}
    assert counts["=1+1 where is the canteen?"] == 1
    assert counts["imap vs pop3"] == 3
    assert found["gaps"][0]["pages"][0]["title"] == "Ports"
    week = found["weeks"][-1]
    table = here("feedback", "gaps", "--week", week)
    assert "canteen" in table.stdout
    assert here("feedback", "gaps", "--out", "gaps.csv").returncode == 0
    assert "'=1+1 where" in (tmp_path / "gaps.csv").read_text(encoding="utf-8-sig")
    message = said(here("feedback", "gaps", "--send", "--dry-run", "--week", week, "--json"))
    assert "what the docs do not answer" in message["text"]
    assert message["sent"] is False
    unset = here("feedback", "gaps", "--send")
    assert unset.returncode == 2
    assert "ASKDOCS_WIDGET_DIGEST_WEBHOOK" in unset.stderr


def test_forgetting_asks_and_deletes_only_what_was_meant(here: RunHere, store: Store) -> None:
    assert here("feedback", "forget").returncode == 2
    looked = said(here("feedback", "forget", "--visitor", "2", "--dry-run", "--json"))
    assert looked == {"questions": 2, "changed": False}
    assert here("feedback", "forget", "--person", "p3").returncode == 1  # nobody said yes
    done = said(here("feedback", "forget", "--before", "30", "--yes", "--json"))
    assert done == {"questions": 1, "changed": True}
    here("feedback", "forget", "--person", "p2", "--yes")
    left = said(here("feedback", "export", "--out", "left.jsonl", "--json"))
    assert left["questions"] == 2


WRITER = """
import itertools, sys
from core import database
from widget.service.store import Answered, NewQuestion, Store, Vote

engine = database.open(sys.argv[1])
database.migrate(engine)
store = Store(engine)
for number in itertools.count():
    id = f"question-{number:06}"
    store.asked(NewQuestion(id, f"How? {number}", id, visitor="v"))
    store.answered(id, Answered("answered", f"So {number}."))
    store.vote(id, Vote("down", ("wrong",), f"No {number}."), "v")
    print(id, flush=True)
"""


def written_until_killed(url: str, seconds: float) -> list[str]:
    """The questions that a process has said are stored, before it is killed in the middle."""
    words = [sys.executable, "-c", WRITER, url]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        return [first.strip(), *process.stdout.read().split()]


def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path) -> None:
    for round, seconds in enumerate((0.3, 0.7, 1.1)):
        url = f"sqlite:///{tmp_path}/{round}.db"
        acknowledged = written_until_killed(url, seconds)
        assert len(acknowledged) > 5
        store = Store(database.open(url))
        for number, id in enumerate(acknowledged):
            kept = store.get(id)
            assert kept.answered.answer == f"So {number}."
            assert kept.vote == Vote("down", ("wrong",), f"No {number}.")
        with sqlite3.connect(tmp_path / f"{round}.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
        store.engine.dispose()


def test_a_backup_made_while_feedback_is_written_restores_to_a_consistent_state(
    here: RunHere, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/live.db"
    words = [sys.executable, "-c", WRITER, url]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(50)]
        # As docs/how-to/backup.md has it.
        backup = "import sqlite3, sys; a, b = map(sqlite3.connect, sys.argv[1:]); a.backup(b)"
        made = [sys.executable, "-c", backup, str(tmp_path / "live.db"), str(tmp_path / "copy.db")]
        subprocess.run(made, check=True)
        process.kill()
    home = tmp_path / "restored"
    home.mkdir()
    (tmp_path / "copy.db").rename(home / "askdocs.db")
    done = here("feedback", "export", "--out", "restored.jsonl", "--home", str(home), "--json")
    assert said(done)["questions"] >= 50
    rows = [json.loads(line) for line in (tmp_path / "restored.jsonl").read_text().splitlines()]
    assert set(acknowledged) <= {row["id"] for row in rows}
    # Each step of the writer is whole; only the very last question may lack its next one.
    assert all(row["vote"] == "down" for row in rows[:-1])
    with sqlite3.connect(home / "askdocs.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
