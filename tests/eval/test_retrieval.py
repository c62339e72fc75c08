"""The measure of finding the page: right on a wiki where the answer is known."""

import json
from pathlib import Path

import numpy as np
import pytest

from eval.studies.retrieval import (
    BASELINE,
    USED,
    measure,
    prepare,
    read,
    share,
)
from gateway.core.errors import AskdocsError

PAGES = {
    "refunds": "# Refunds\n\nMoney is paid back within five days. See [keys](keys.md).",
    "keys": "# Keys\n\nA key opens the gateway.",
    "limits": "# Limits\n\nA key may ask ten times a minute.",
}
ROWS = [
    {"question": "When is money paid back?", "context_doc": "docs/refunds.md"},
    {"question": "What opens the gateway?", "context_docs": ["keys.md", "limits.md"]},
    {"question": "zebra", "context_doc": "limits.md"},
    {"question": "unrelated", "answerable": False},
]


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name, text in PAGES.items():
        (folder / f"{name}.md").write_text(text)
    return folder


@pytest.fixture
def file(docs: Path, tmp_path: Path) -> Path:
    prepare(docs, tmp_path / "index.db", None)
    return tmp_path / "index.db"


def test_a_question_counts_when_one_of_its_pages_is_found(file: Path) -> None:
    report = measure(file, ROWS, None)
    assert [one.name for one in report.rankers] == [BASELINE, USED]
    assert report.questions == 3
    for one in report.rankers:
        assert one.recall[1].value == pytest.approx(2 / 3)
        assert one.mrr.value == pytest.approx(2 / 3)


def test_the_interval_of_a_share_holds_it_and_is_narrow_for_many() -> None:
    few, many = share([0, 1, 1, 0]), share([0, 1, 1, 0] * 200)
    assert few.low <= few.value == many.value == 0.5 <= few.high
    assert many.high - many.low < few.high - few.low


def test_what_is_always_found_may_still_be_missed_once() -> None:
    every = share(np.array([True] * 20))
    assert (every.value, every.high) == (1.0, 1.0)
    assert 0.8 < every.low < 0.9


@pytest.mark.parametrize("line", ["{", "[]", '{"question": 1}', '{"question": "q"}'])
def test_a_broken_row_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(ROWS[0]) + "\n" + line)
    with pytest.raises(AskdocsError, match=r"rows\.jsonl:2: "):
        list(read(file, None))
