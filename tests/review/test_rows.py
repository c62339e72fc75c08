"""Approved answers as rows, and what readers said as sheets."""

import csv
import io

import pytest

from tests.review.conftest import ask, queue_of, unindexed
from widget.review import csv_export
from widget.review.clusters import Sorter
from widget.review.export import COLUMNS, everything
from widget.review.queue import Wanted
from widget.review.reviews import Draft, Reviews
from widget.review.rows import LeftOut, pull
from widget.service.store import Store
from wiki.rights import EVERYTHING


def approve(store: Store, words: str, draft: Draft) -> int:
    """Approve the answer to the cluster that has these words."""
    Sorter(store.engine).sort()
    items, _ = queue_of(store).items(Wanted(words=words), EVERYTHING)
    Reviews(store.engine).change(items[0].cluster, 0, "ann", "approve", draft)
    return items[0].cluster


def test_wordings_of_a_cluster_are_rows_of_a_cluster(store: Store) -> None:
    first = ask(store, "imap vs pop3")
    second = ask(store, "The difference between IMAP and POP3")
    ask(store, "IMAP  vs POP3")
    draft = Draft("What is the difference between IMAP and POP3?", "IMAP stays.", "mail.md", "IMAP")
    cluster = approve(store, "imap", draft)
    ask(store, "Who will win?")
    approve(store, "win", Draft("Who will win?", "", "", "", answerable=False))
    rows = list(pull(store.engine, unindexed(store)))
    shared = {
        "answer": "IMAP stays.",
        "context_doc": "mail.md",
        "section": "IMAP",
        "answerable": True,
        "cluster": f"review-{cluster}",
        "source": "askdocs-review",
        "validated_by": "ann",
    }
    said = {
        "": draft.question,
        f"-{first}": "imap vs pop3",
        f"-{second}": "The difference between IMAP and POP3",
    }
    assert rows[:3] == [
        {"id": f"review-{cluster}{suffix}", "question": question, **shared}
        for suffix, question in said.items()
    ]
    assert (rows[3]["question"], rows[3]["answer"], rows[3]["answerable"]) == (
        *("Who will win?", ""),
        False,
    )
    assert "context_doc" not in rows[3]
    assert len(rows) == 4


@pytest.mark.parametrize(
    "private",
    [
        "How do I print? mail jo@corp.example",
        "How do I print? https://intra.corp/x?id=1",
        "How do I print? " + "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
        "How do I print? password: hunter2",
        "How do I print? api_key = x",
        "How do I print? " + "blah " * 100,
    ],
)
def test_what_may_be_private_is_left_out_and_told(store: Store, private: str) -> None:
    id = ask(store, private)
    cluster = approve(store, "print", Draft("How do I print?", "Press it.", "print.md"))
    rows = list(pull(store.engine, unindexed(store)))
    assert [row["question"] for row in rows if isinstance(row, dict)] == ["How do I print?"]
    assert [row.cluster for row in rows if isinstance(row, LeftOut)] == [cluster]
    assert id


def test_a_question_is_not_answered_twice(store: Store) -> None:
    ask(store, "How do I print?")
    ask(store, "Where is the canteen?")
    approve(store, "print", Draft("How do I print?", "Press it.", "print.md"))
    approve(store, "canteen", Draft("how do I  PRINT?", "Pull it.", "print.md"))
    found = list(pull(store.engine, unindexed(store)))
    assert [row["answer"] for row in found if isinstance(row, dict)] == ["Press it."]
    (left,) = [row for row in found if isinstance(row, LeftOut)]
    assert "cluster 1 has an answer to the same question" in left.why


def test_no_cell_of_a_sheet_is_a_formula() -> None:
    evil = ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", '"=1"', '=1"\n,x']
    text = csv_export.write(["a"], [[cell] for cell in evil])
    cells = [row[0] for row in csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))][1:]
    assert cells == [cell if cell.startswith('"') else f"'{cell}" for cell in evil]
    assert (
        csv_export.write(["n"], [[-1.5], [None], ["plain"]])
        == '\ufeff"n"\r\n"-1.5"\r\n""\r\n"plain"\r\n'
    )


def test_everything_is_exported_but_who_it_was(store: Store) -> None:
    ask(
        store, "a", person="jo", visitor="v1", team="red", vote="down", reasons=("wrong",), text="t"
    )
    ask(store, "b", state="answered", answer="yes", days=3)
    rows = list(everything(store.engine))
    assert [row["question"] for row in rows] == ["b", "a"]
    assert tuple(rows[0]) == COLUMNS
    assert (rows[1]["vote"], rows[1]["reasons"], rows[1]["comment"]) == ("down", ["wrong"], "t")
    assert "jo" not in rows[1].values()
    assert "v1" not in rows[1].values()
