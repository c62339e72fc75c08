"""Public benchmarks as a wiki and a questions file, to measure systems on them.

    python -m research.benchmarks wixqa --questions test.jsonl --corpus wix_kb_corpus.jsonl \\
        --out DIR

Download the files yourself; they are subject to each benchmark's licence. DIR gets `docs/`, with a
page for each document, and `qa_pairs.jsonl`, whose rows are in the split test:

    repliqa     CC BY 4.0. Rows of document_id, document_extracted, question_id, question, answer
                (JSON lines). Questions that the document does not answer are unanswerable.
    wixqa       MIT. Questions: question, answer, article_ids; corpus: id, title, contents.
    techqa      Apache-2.0 (TechQA-RAG-Eval). train.json, a JSON list of id, question, answer,
                is_impossible, contexts (filename, text); corpus.zip, a text for each document,
                of which a question's contexts are some.
    freshstack  CC BY-SA 4.0. Questions: query_id, query_title, query_text, answer_text, nuggets
                (relevant_corpus_ids); corpus: _id, text.
    enterprise  MIT (EnterpriseRAG-Bench). Questions: question_id, question_type, question,
                gold_answer, expected_doc_ids; corpus: doc_id, title, content. Questions about
                the company as a whole (`high_level`) name no document and are left out.

Rows are JSON Lines or a JSON list. `repliqa` has its documents in the questions file. So does
`techqa`, but only gold documents: without corpus.zip, a search has only these to choose from.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from core.errors import AskdocsError
from wiki.sources.documents.archive import Archive

NOT_FOUND = "the answer is not found in the document"
"""The beginning of RepLiQA's answers to unanswerable questions."""
# Limits of an archive: members, and unpacked bytes of all texts. TechQA's corpus has 46 MB packed.
MEMBERS, LARGEST = 200_000, 2**30
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,80}")


class Document(NamedTuple):
    """A page."""

    id: str
    title: str
    text: str


class BenchmarkQuestion(NamedTuple):
    """A question."""

    id: str
    text: str
    answer: str
    """Empty if no document answers it."""
    documents: tuple[str, ...]
    """Ids, the best first."""


class Benchmark(NamedTuple):
    """How to read a benchmark's rows."""

    title: str
    licence: str
    url: str
    """Where its authors publish it."""
    asked: Callable[[dict[str, Any]], BenchmarkQuestion | None]
    """Parses a question; None: it has an answer but names no document."""
    documents: Callable[[dict[str, Any]], Iterator[Document]]
    """Parses a row of the corpus, or of the questions if there is no corpus."""
    has_corpus: bool
    zipped: Callable[[str, str], Document] | None = None
    """Parses a name and text from its corpus as a ZIP archive, which is optional."""

    @property
    def source(self) -> str:
        """The source that each row states, which the report prints."""
        return f"{self.title} ({self.licence}), {self.url}"


def _repliqa(row: dict[str, Any]) -> BenchmarkQuestion:
    answer = str(row["answer"]).strip()
    is_found = not answer.lower().startswith(NOT_FOUND)
    where = (str(row["document_id"]),) if is_found else ()
    return BenchmarkQuestion(
        str(row["question_id"]), row["question"], answer if is_found else "", where
    )


def _repliqa_documents(row: dict[str, Any]) -> Iterator[Document]:
    text = str(row["document_extracted"])
    yield Document(str(row["document_id"]), text.strip().partition("\n")[0][:100], text)


def _wixqa(row: dict[str, Any]) -> BenchmarkQuestion:
    ids = tuple(map(str, row["article_ids"]))
    id = hashlib.sha256(str(row["question"]).encode()).hexdigest()[:12]  # it has none of its own
    return BenchmarkQuestion(id, row["question"], row["answer"], ids)


def _wixqa_documents(row: dict[str, Any]) -> Iterator[Document]:
    yield Document(str(row["id"]), str(row.get("title") or row["id"]), str(row["contents"]))


def _techqa(row: dict[str, Any]) -> BenchmarkQuestion | None:
    if str(row["is_impossible"]).lower() == "true":
        return BenchmarkQuestion(str(row["id"]), row["question"], "", ())
    if not str(row["answer"]).strip():
        return None
    files = tuple(dict.fromkeys(_base(context["filename"]) for context in row["contexts"]))
    return BenchmarkQuestion(str(row["id"]), row["question"], row["answer"], files)


def _techqa_documents(row: dict[str, Any]) -> Iterator[Document]:
    for context in row["contexts"]:
        yield _technote(_base(context["filename"]), str(context["text"]))


def _base(path: object) -> str:
    return PurePosixPath(str(path)).name


def _technote(name: str, text: str) -> Document:
    """Its head is "Title: ...", and after an empty line "Text:"."""
    head, separator, body = text.strip().partition("\n\nText:\n")
    if not separator:
        head, body = head.partition("\n")[0], head
    return Document(name, head.removeprefix("Title: ")[:200], body)


def _freshstack(row: dict[str, Any]) -> BenchmarkQuestion:
    ids = dict.fromkeys(
        str(id) for nugget in row["nuggets"] for id in nugget["relevant_corpus_ids"]
    )
    text = f"{row['query_title']}\n\n{row['query_text']}"
    return BenchmarkQuestion(str(row["query_id"]), text, row["answer_text"], tuple(ids))


def _freshstack_documents(row: dict[str, Any]) -> Iterator[Document]:
    yield Document(str(row["_id"]), str(row["_id"]), str(row["text"]))


def _enterprise(row: dict[str, Any]) -> BenchmarkQuestion | None:
    if row["question_type"] in ("info_not_found", "unanswerable"):  # since, and before, the release
        return BenchmarkQuestion(str(row["question_id"]), row["question"], "", ())
    ids = tuple(map(str, row["expected_doc_ids"]))
    return (
        BenchmarkQuestion(str(row["question_id"]), row["question"], row["gold_answer"], ids)
        if ids
        else None
    )


def _enterprise_documents(row: dict[str, Any]) -> Iterator[Document]:
    yield Document(str(row["doc_id"]), str(row["title"] or row["doc_id"]), str(row["content"]))


_HUB = "https://huggingface.co/datasets"
BENCHMARKS = {
    "repliqa": Benchmark(
        "RepLiQA", "CC BY 4.0", f"{_HUB}/ServiceNow/repliqa", _repliqa, _repliqa_documents, False
    ),
    "wixqa": Benchmark("WixQA", "MIT", f"{_HUB}/Wix/WixQA", _wixqa, _wixqa_documents, True),
    "techqa": Benchmark(
        "TechQA-RAG-Eval",
        "Apache-2.0",
        f"{_HUB}/nvidia/TechQA-RAG-Eval",
        _techqa,
        _techqa_documents,
        has_corpus=False,
        zipped=_technote,
    ),
    "freshstack": Benchmark(
        "FreshStack",
        "CC BY-SA 4.0",
        f"{_HUB}/freshstack/queries-oct-2024",
        _freshstack,
        _freshstack_documents,
        has_corpus=True,
    ),
    "enterprise": Benchmark(
        "EnterpriseRAG-Bench",
        "MIT",
        f"{_HUB}/onyx-dot-app/EnterpriseRAG-Bench",
        _enterprise,
        _enterprise_documents,
        has_corpus=True,
    ),
}


def convert(name: str, questions: Path, corpus: Path | None, out: Path) -> tuple[int, int, int]:
    """Write the wiki and the questions; returns the numbers of pages, answerable and unanswerable
    questions.

    Raises AskdocsError: a file cannot be read, a row lacks a field, or `out` is not empty or cannot
    be written.
    """
    how = BENCHMARKS[name]
    if how.has_corpus != (corpus is not None) and not how.zipped:
        needs = "has a corpus: add --corpus FILE" if how.has_corpus else "has no corpus of its own"
        raise AskdocsError(f"{name} {needs}")
    if out.is_dir() and any(out.iterdir()):
        raise AskdocsError(f"{out}: is not empty: name another --out DIR")
    pages: dict[str, str] = {}
    texts: dict[str, str] = {}
    for document in _documents(how, questions, corpus):
        path = f"docs/{_file(document.id)}.md"
        pages[document.id] = path
        title = " ".join(document.title.split()) or document.id
        texts[path] = f"# {title}\n\n{document.text.strip()}\n"
    rows = []
    for place, row in _rows(questions):
        benchmark_row = _parsed(place, how.asked, row)
        if benchmark_row is None:
            continue
        where = [pages[id] for id in benchmark_row.documents if id in pages]
        if benchmark_row.answer and not where:
            raise AskdocsError(f"{place}: its documents are not in the corpus")
        answers = {"answer": benchmark_row.answer, "context_doc": where[:1], "context_docs": where}
        rows.append(
            {
                "id": benchmark_row.id,
                "question": benchmark_row.text,
                **(answers if benchmark_row.answer else {"answer": "", "answerable": False}),
                "split": "test",
                "source": how.source,
            }
        )
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    try:
        (out / "docs").mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            (out / path).write_text(text, encoding="utf-8")
        (out / "qa_pairs.jsonl").write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise AskdocsError(
            f"{out}: cannot be written ({error.strerror}): name another --out DIR"
        ) from None
    answerable = sum(bool(row["answer"]) for row in rows)
    return len(texts), answerable, len(rows) - answerable


def _documents(how: Benchmark, questions: Path, corpus: Path | None) -> Iterator[Document]:
    """The documents of the corpus, and those in the questions file, if any."""
    if how.zipped and corpus:
        for name, text in _texts(corpus):
            yield how.zipped(name, text)
    of_rows = questions if how.zipped else corpus or questions
    for place, row in _rows(of_rows):
        yield from _known(place, how.documents, row)


def _texts(file: Path) -> Iterator[tuple[str, str]]:
    """Name and text of each .txt member of an archive, without its folder, in order."""
    try:
        archive = Archive(file, (".txt",), MEMBERS, LARGEST)
        texts = [path for path in archive.names if path.lower().endswith(".txt")]
        # Members such as "__MACOSX/._a.txt" are not texts.
        paths = {name: path for path in texts if not (name := _base(path)).startswith(".")}
        if len(paths) < sum(not _base(path).startswith(".") for path in texts):
            raise ValueError("has two texts with the same name: keep one")
        for name, path in sorted(paths.items()):
            yield name, archive.read(path).decode("utf-8", "replace")
    except ValueError as error:
        raise AskdocsError(f"{file}: {error}") from None


def _rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows with their positions."""
    try:
        text = file.read_text(encoding="utf-8")
        parsed = json.loads(text) if text.lstrip().startswith("[") else None
        rows = (
            parsed if parsed is not None else [json.loads(x) for x in text.split("\n") if x.strip()]
        )
    except OSError as error:
        raise AskdocsError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise AskdocsError(f"{file}: is neither JSON lines nor a JSON list ({error})") from None
    for number, row in enumerate(rows, 1):
        yield f"{file}: row {number}", row


def _parsed(
    place: str, of: Callable[[dict[str, Any]], BenchmarkQuestion | None], row: dict[str, Any]
) -> BenchmarkQuestion | None:
    try:
        return of(row)
    except (KeyError, TypeError) as error:
        raise AskdocsError(f"{place}: lacks {error}: is this the benchmark's file?") from None


def _known(
    place: str, of: Callable[[dict[str, Any]], Iterator[Document]], row: dict[str, Any]
) -> list[Document]:
    try:
        return list(of(row))
    except (KeyError, TypeError) as error:
        raise AskdocsError(f"{place}: lacks {error}: is this the benchmark's file?") from None


def _file(id: str) -> str:
    """A file name that cannot leave its folder; the same for the same id."""
    if _SAFE.fullmatch(id):
        return id
    stem = re.sub(r"[^A-Za-z0-9]+", "-", id[:60]).strip("-") or "page"
    return f"{stem}-{hashlib.sha256(id.encode()).hexdigest()[:8]}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=BENCHMARKS)
    parser.add_argument("--questions", type=Path, required=True, metavar="FILE")
    parser.add_argument("--corpus", type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        pages, answerable, not_ = convert(
            options.name, options.questions, options.corpus, options.out
        )
    except AskdocsError as error:
        print(error, file=sys.stderr)
        return 2
    source = BENCHMARKS[options.name].source
    print(f"{pages:,} pages, {answerable:,} answerable and {not_:,} unanswerable questions")
    print(f"source and licence: {source}")
    print(f"{options.out / 'docs'}, {options.out / 'qa_pairs.jsonl'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
