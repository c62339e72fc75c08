"""The study of short questions: what is right, what is shown, and the questions that are stored."""

from pathlib import Path

import pytest

from core.errors import AskdocsError
from research.studies.passages import build, measure, read, table

QUESTIONS = Path(__file__).parents[1] / "answers" / "search"
PAGES = {
    "ports.md": "# Ports\n\n## Default\n\nThe default port is 4000.\n\n## Change\n\nSet `port`.",
    "backup.md": "# Backup\n\nMake a backup of the server every night.",
}


def written(folder: Path, *lines: str) -> Path:
    file = folder / "questions.jsonl"
    file.write_text("\n".join(lines))
    return file


def test_what_is_found_and_shown_is_measured(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, text in PAGES.items():
        (docs / name).write_text(text)
    asked = read(
        written(
            tmp_path,
            '{"question": "default port", "words": ["port is **4000**"]}',
            '{"question": "backup of the server", "context_docs": ["docs/how-to/backup.md"]}',
            '{"question": "bake bread in an oven", "answerable": false}',
        )
    )
    build(docs, tmp_path / "index.db", None)
    found = measure("wiki", tmp_path / "index.db", asked, None)
    assert (found.pages, found.questions, found.unanswerable) == (2, 2, 1)
    for shares in (found.recall, found.section, found.shown, found.read, found.prompt):
        assert {share.value for share in shares.values()} == {1.0}
    assert (found.kept.value, found.refused.value, found.missed) == (1.0, 1.0, ())
    *_, row = table([found])
    assert row.startswith("| wiki | 2 + 1 | 100 (34-100) |")


def test_a_right_page_without_the_right_words_is_missed(tmp_path: Path) -> None:
    (tmp_path / "ports.md").write_text(PAGES["ports.md"])
    asked = read(written(tmp_path, '{"question": "default port", "words": ["4000", "9"]}'))
    build(tmp_path, tmp_path / "index.db", None)
    assert measure("wiki", tmp_path / "index.db", asked, None).missed == ()
    wrong = read(written(tmp_path, '{"question": "default port", "words": ["five"]}'))
    with pytest.raises(AskdocsError, match="default port: no page has its words"):
        measure("wiki", tmp_path / "index.db", wrong, None)


@pytest.mark.parametrize("line", ["x", "[]", '{"question": "a"}', '{"words": ["a"]}'])
def test_a_line_that_is_no_question_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(AskdocsError, match=r"questions\.jsonl:1: is not a JSON object"):
        read(written(tmp_path, line))


def test_only_the_split_that_is_named_is_read(tmp_path: Path) -> None:
    rows = (f'{{"question": "{n}", "words": ["a"], "split": "{n}"}}' for n in ("train", "test"))
    assert [one.text for one in read(written(tmp_path, *rows), "test")] == ["test"]


@pytest.mark.parametrize("file", sorted(QUESTIONS.glob("*.jsonl")), ids=lambda file: file.stem)
def test_stored_questions_are_different_and_their_documentation_is_named(file: Path) -> None:
    asked = [one.text for one in read(file)]
    assert len(set(asked)) == len(asked)
    named = (QUESTIONS.parent / "README.md").read_text("utf-8")
    assert f"| `search/{file.name}` |" in named


@pytest.mark.parametrize("name", ["borg", "flask", "npm"])
def test_the_stored_questions_are_short_and_different(name: str) -> None:
    asked = read(QUESTIONS / f"{name}.jsonl")
    answerable = [one for one in asked if one.words]
    assert len(answerable) >= 100
    assert len(asked) - len(answerable) == 15
    assert len({one.text for one in asked}) == len(asked)
    assert all(len(one.text.split()) <= 14 for one in asked)
