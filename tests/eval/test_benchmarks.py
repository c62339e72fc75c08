"""Public benchmarks in their documented form, as a wiki and rows."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from eval.questions import benchmarks, rows
from eval.questions.benchmarks import BENCHMARKS, convert, main
from gateway.core.errors import AskdocsError

ANSWER = "Turn the brass wheel."
NOTE = "Title: Tide gate\n\nText:\nA wheel."
WIX = {"id": "a/../b", "url": "https://x.example", "title": "Tide gate", "contents": "A wheel."}
CASES: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]] | None]] = {
    "repliqa": (
        [
            {"document_id": "d1", "document_topic": "t", "document_extracted": "Gate\nA wheel.",
             "question_id": "d1-q1", "question": "How?", "answer": ANSWER, "long_answer": "x"},
            {"document_id": "d1", "document_topic": "t", "document_extracted": "Gate\nA wheel.",
             "question_id": "d1-q2", "question": "Who?",
             "answer": "The answer is not found in the document."},
        ],
        None,
    ),
    "wixqa": (
        [{"question": "How?", "answer": ANSWER, "article_ids": ["a/../b"]}],
        [WIX, {**WIX, "id": "other"}],
    ),
    "techqa": (
        [
            {"id": "t1", "question": "How?", "answer": ANSWER, "is_impossible": False,
             "contexts": [{"filename": "swg1.txt", "text": NOTE}]},
            {"id": "t2", "question": "Who?", "answer": "", "is_impossible": True, "contexts": []},
            {"id": "t3", "question": "Why?", "answer": " ", "is_impossible": False,
             "contexts": [{"filename": "swg1.txt", "text": NOTE}]},
        ],
        None,
    ),
    "freshstack": (
        [{"query_id": "7", "query_title": "Gate", "query_text": "How?", "answer_text": ANSWER,
          "nuggets": [{"_id": "7_0", "text": "n", "relevant_corpus_ids": ["repo/a.py_0_9"],
                       "non_relevant_corpus_ids": []}]}],
        [{"_id": "repo/a.py_0_9", "text": "A wheel."}],
    ),
    "enterprise": (
        [
            {"question_id": "qst_1", "question_type": "basic", "source_types": ["jira"],
             "question": "How?", "expected_doc_ids": ["dsid_1"], "gold_answer": ANSWER,
             "answer_facts": [ANSWER]},
            {"question_id": "qst_2", "question_type": "info_not_found", "source_types": [],
             "question": "Who?", "expected_doc_ids": [], "answer_facts": [],
             "gold_answer": "The user query is not answerable from the documents."},
            {"question_id": "qst_3", "question_type": "high_level", "source_types": [],
             "question": "Why?", "expected_doc_ids": [], "answer_facts": [], "gold_answer": "So."},
        ],
        [{"doc_id": "dsid_1", "source_type": "jira", "title": "Gate", "content": "A wheel."}],
    ),
}  # fmt: skip


def lines(file: Path, found: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in found))
    return file


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_becomes_a_wiki_and_rows(name: str, tmp_path: Path) -> None:
    questions, corpus = CASES[name]
    file = lines(tmp_path / "q.jsonl", questions)
    if name == "techqa":
        file.write_text(json.dumps(questions))  # its file is a list
    documents = None if corpus is None else lines(tmp_path / "c.jsonl", corpus)
    out = tmp_path / "out"
    pages, answerable, unanswerable = convert(name, file, documents, out)
    assert (answerable, unanswerable) == (
        1,
        sum(row.get("question") == "Who?" for row in questions),
    )
    files = sorted((out / "docs").iterdir())
    assert len(files) == pages == (2 if name == "wixqa" else 1)
    found = rows.read(out / "qa_pairs.jsonl")
    (row,) = (row for row in found if row.answerable)
    assert row.answer == ANSWER
    assert row.split == "test"
    assert row.source == BENCHMARKS[name].source
    assert f"({BENCHMARKS[name].licence}), https://huggingface.co/datasets/" in row.source
    assert "A wheel." in (out / row.pages[0]).read_text()
    assert (out / row.pages[0]).read_text().startswith("# ")
    assert all((out / "docs") in file.resolve().parents for file in files)
    with pytest.raises(AskdocsError, match="is not empty"):
        convert(name, file, documents, out)


def archive(file: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, text in members.items():
            made.writestr(name, text)
    return file


def techqa(folder: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says of an archive."""
    questions = folder / "train.json"
    questions.write_text(json.dumps(CASES["techqa"][0]))
    words = ["techqa", "--questions", str(questions), "--out", str(folder / "out")]
    code = main([*words, "--corpus", str(corpus)])
    told = capsys.readouterr()
    assert bool(code) == bool(told.err)
    return told.err or told.out


def test_the_corpus_of_techqa_is_the_wiki(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = "Title: Another\ngate \n\nText:\nIt has no wheel.\n\nText:\n12 turns."
    members = {
        "corpus/swg1.txt": NOTE,
        "corpus/swg2.txt": other,
        "../../../swg3.txt": "No head.",
        "corpus/": "",
        "corpus/notes.pdf": "PDF",
        "__MACOSX/corpus/._swg1.txt": "a",
    }
    told = techqa(tmp_path, archive(tmp_path / "corpus.zip", members), capsys)
    assert told.startswith("3 pages, 1 answerable and 1 unanswerable questions\n")
    assert "TechQA-RAG-Eval (Apache-2.0), https://huggingface.co/datasets/nvidia/" in told
    docs = tmp_path / "out" / "docs"
    pages = [page.read_text() for page in sorted(docs.iterdir())]
    assert pages == [
        "# Tide gate\n\nA wheel.\n",
        "# Another gate\n\nIt has no wheel.\n\nText:\n12 turns.\n",
        "# No head.\n\nNo head.\n",
    ]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["corpus.zip", "out", "train.json"]


def test_an_archive_that_is_too_large_is_never_unpacked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "corpus.zip"
    monkeypatch.setattr(benchmarks, "LARGEST", 1500)
    told = techqa(tmp_path, archive(file, {"a.txt": "a" * 800, "b.txt": "b" * 800}), capsys)
    assert "MiB unpacked" in told
    monkeypatch.setattr(benchmarks, "MEMBERS", 1)
    assert "holds more than 1 files" in techqa(
        tmp_path, archive(file, {"a.txt": "a", "b.pdf": "b"}), capsys
    )
    monkeypatch.undo()
    assert "two texts with the same name" in techqa(
        tmp_path, archive(file, {"a.txt": "a", "b/a.txt": "b"}), capsys
    )
    lie = archive(file, {"a.txt": "a" * 5000})
    data = lie.read_bytes().replace((5000).to_bytes(4, "little"), (5).to_bytes(4, "little"))
    lie.write_bytes(data)
    assert "cannot be unpacked" in techqa(tmp_path, lie, capsys)
    secret = archive(file, {"a.txt": "a"})
    data = bytearray(secret.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    secret.write_bytes(data)
    assert "has a password" in techqa(tmp_path, secret, capsys)
    damaged = bytearray(archive(file, {"a.txt": "a wheel " * 1000}).read_bytes())
    damaged[40:50] = b"\xff" * 10
    file.write_bytes(damaged)
    assert "cannot be unpacked" in techqa(tmp_path, file, capsys)
    file.write_text("no archive")
    assert "cannot be unpacked" in techqa(tmp_path, file, capsys)
    assert "No such file" in techqa(tmp_path, tmp_path / "gone.zip", capsys)
    assert not (tmp_path / "out").exists()


def test_what_is_no_such_benchmark_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = lines(tmp_path / "q.jsonl", [{"question": "How?"}])
    out = ["--out", str(tmp_path / "out")]
    assert main(["techqa", "--questions", str(file), *out]) == 2
    assert "row 1: lacks 'contexts'" in capsys.readouterr().err
    assert main(["wixqa", "--questions", str(file), *out]) == 2
    assert "wixqa has a corpus: add --corpus FILE" in capsys.readouterr().err
    file.write_text("{")
    assert main(["repliqa", "--questions", str(file), *out]) == 2
    assert "neither JSON lines nor a JSON list" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    gone = lines(tmp_path / "c.jsonl", [WIX])
    asked = lines(file, [{"question": "How?", "answer": ANSWER, "article_ids": ["gone"]}])
    assert main(["wixqa", "--questions", str(asked), "--corpus", str(gone), *out]) == 2
    assert "its documents are not in the corpus" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions, _ = CASES["repliqa"]
    file = lines(tmp_path / "q.jsonl", questions)
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert main(["repliqa", "--questions", str(file), "--out", str(out)]) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"{out}: cannot be written (")
        assert "--out DIR" in told
