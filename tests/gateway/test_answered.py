"""Reading files of answered questions."""

import json
from pathlib import Path

import pytest

from gateway.core.errors import AskdocsError
from gateway.knowledge.search.answered import MemoryMatch, Paths, read_answers


def written(tmp_path: Path, *lines: str) -> Path:
    file = tmp_path / "qa.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_rows_name_their_pages_in_either_field(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        '{"question": "one", "context_doc": "a.md"}',
        "",
        '{"question": "two", "context_doc": "a.md", "context_docs": ["b.md", "c.md", "b.md"]}',
    )
    assert read_answers(file) == [
        MemoryMatch(f"{file}:1", "one", ("a.md",)),
        MemoryMatch(f"{file}:3", "two", ("b.md", "c.md")),
    ]


def test_a_row_without_an_answer_has_no_pages(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        '{"question": "one", "context_doc": "a.md", "answerable": false}',
        '{"question": "two", "context_doc": null, "context_docs": [], "answer": "yes"}',
    )
    assert [row.pages for row in read_answers(file)] == [(), ()]


def test_rows_of_the_split_test_are_held_out(tmp_path: Path) -> None:
    splits = ("train", "validation", "test", None)
    rows = [json.dumps({"question": "one", "split": split}) for split in splits]
    read = read_answers(written(tmp_path, *rows))
    assert [row.held_out for row in read] == [False, False, True, False]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ('{"question": "a"', "is not JSON"),
        ('["a"]', "is a JSON list"),
        ('{"context_doc": "a.md"}', "question is null"),
        ('{"question": "  "}', 'question is "  "'),
        ('{"question": "a", "answerable": "no"}', 'answerable is "no"'),
        ('{"question": "a", "context_docs": [1]}', r"context_docs is \[1\]"),
        ('{"question": "a", "context_doc": {"path": "a"}}', "context_docs is {"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(tmp_path: Path, row: str, why: str) -> None:
    file = written(tmp_path, '{"question": "fine", "context_doc": "a.md"}', row)
    with pytest.raises(AskdocsError, match=f"qa.jsonl:2: {why}"):
        read_answers(file)


def test_all_broken_rows_are_reported_at_once_but_not_hundreds(tmp_path: Path) -> None:
    file = written(tmp_path, *["no JSON"] * 30)
    with pytest.raises(AskdocsError) as raised:
        read_answers(file)
    lines = str(raised.value).splitlines()
    assert len(lines) == 11
    assert lines[9].startswith(f"{file}:10: ")
    assert lines[10] == "and 20 more rows like that"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(AskdocsError, match=r"none\.jsonl: cannot be read"):
        read_answers(tmp_path / "none.jsonl")
    (tmp_path / "latin.jsonl").write_bytes('{"question": "é"}'.encode("latin-1"))
    with pytest.raises(AskdocsError, match=r"latin\.jsonl: cannot be read"):
        read_answers(tmp_path / "latin.jsonl")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("guide/mail.md", "guide/mail.md"),
        ("docs/guide/mail.md", "guide/mail.md"),
        ("./guide/mail.md", "guide/mail.md"),
        ("/guide/mail.md#send", "guide/mail.md"),
        ("setup.md", "deep/setup.md"),
        ("docs/setup.md", "deep/setup.md"),
        ("kb/backup.md", "backup.html"),
        ("install.md", None),  # there are two
        ("mac/install.md", "mac/install.md"),
        ("other.md", None),
        ("", None),
        ("/", None),
    ],
)
def test_a_page_is_found_by_a_name_that_means_only_it(name: str, path: str | None) -> None:
    paths = ["guide/mail.md", "deep/setup.md", "backup.html", "mac/install.md", "win/install.md"]
    assert Paths(paths).find(name) == path
