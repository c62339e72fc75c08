"""RAG with its real stores, in the environment `eval`, asked for by the script of the sweep.

That environment is looked for in `.cache/eval`, or where TEST_EVAL_HOME says.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from askdocs import environments
from eval.systems.rag import measure, sweep
from eval.systems.rag.measure import RetrievalResult
from eval.systems.rag.settings import RagSettings
from tests.eval.rag_gateway import Models, serving
from tests.parts import require
from wiki.index import embed, index
from wiki.pages.page import Page
from wiki.sources.markdown import parse

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HOME = Path(os.environ.get("TEST_EVAL_HOME", ROOT / ".cache" / "eval"))
INSTALL = ".venv/bin/python -m askdocs.environments eval --home .cache/eval"
THINGS = ("pump", "lamp", "fan", "drill", "valve", "sensor", "spring", "cable", "filter", "switch")
COLOURS = ("red", "blue", "green", "grey", "black", "white", "yellow")
NAMES = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
STAGES = [{"rerank": [False]}]


@pytest.fixture(scope="module")
def python() -> Path:
    found = environments.find(environments.EVAL, HOME)
    require(found is not None, INSTALL)
    assert found is not None
    return found


@pytest.fixture
def models() -> Models:
    loaded = embed.load()
    require(loaded is not None, "the embedding model is not installed: run make setup")
    assert loaded is not None
    return Models(loaded)


@pytest.fixture
def url(models: Models) -> Iterator[str]:
    with serving(models.app()) as url:
        yield f"{url}/v1"


def page(name: str, text: str) -> Page:
    return parse(f"{name.replace(' ', '-')}.md", f"# The {name}\n\n{text}", "http://wiki/")


def wiki(**changed: str) -> list[Page]:
    return [
        page(name, changed.get(name.replace(" ", "_"), f"Clean the {name} every {n + 3} weeks."))
        for n, name in enumerate(NAMES)
    ]


class Sweep:
    """A folder with all that a sweep needs."""

    def __init__(self, python: Path, folder: Path, url: str, pages: Sequence[Page]) -> None:
        self.python, self.folder = python, folder
        self.out = folder / "out"
        self.out.mkdir(parents=True)
        index.build(folder / "index.db", pages)
        with closing(index.Index(folder / "index.db")) as opened:
            (source,) = opened.sources()
        self.job: dict[str, Any] = {
            "out": str(self.out),
            "questions": [
                {"id": name, "text": f"How often is the {name} cleaned?", "pages": [page.path]}
                for name, page in list(zip(NAMES, pages, strict=False))[::12]
            ],
            "settings": RagSettings(k=10).model_dump(),
            "stages": STAGES,
            "gateway": url,
            "index": str(folder / "index.db"),
            "source": source.name,
            "tokenizer": str(embed.tokenizer_file()),
            "stores": str(folder / "stores"),
        }

    def start(self, **env: str) -> "subprocess.Popen[bytes]":
        file = self.folder / "job.json"
        file.write_text(json.dumps(self.job))
        process = subprocess.Popen(
            [str(self.python), "-I", sweep.__file__, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **env},
        )
        assert process.stdin is not None
        process.stdin.write(b"ask-key\n")
        process.stdin.close()
        process.stdin = None
        return process

    def run(self, **env: str) -> list[dict[str, Any]]:
        """All events."""
        process = self.start(**env)
        told, _ = process.communicate(timeout=200)
        return [json.loads(line) for line in told.splitlines()]

    def results(self) -> list[RetrievalResult]:
        return measure.read(self.out)


def test_a_killed_build_goes_on_and_nothing_is_embedded_twice(
    python: Path, tmp_path: Path, models: Models, url: str
) -> None:
    pages = wiki()
    one = Sweep(python, tmp_path, url, pages)
    models.hold_after = 64
    process = one.start()
    assert models.held.wait(100)
    process.kill()
    process.communicate()
    models.hold_after = None
    assert len(models.embedded) == 64
    assert one.results() == []

    events = one.run()
    assert events[-1] == {"event": "done"}
    assert {"event": "step", "name": "chunks of 512, overlap 64: embedding chunks"} | {
        "done": 70,
        "total": 70,
    } in events
    documents = models.documents()
    assert len(documents) == len(set(documents)) == len(pages)
    assert models.keys == {"Bearer ask-key"}
    (base, plain) = one.results()
    assert [(one.settings.k, one.settings.rerank) for one in (base, plain)] == [
        (10, True),
        (10, False),
    ]
    for result in (base, plain):
        for found, question in zip(result.found, one.job["questions"], strict=True):
            assert found.pages[0] == question["pages"][0]
            assert len(found.pages) == 5

    asked = len(models.embedded)
    assert one.run() == [{"event": "done"}]  # all of it is there
    assert len(models.embedded) == asked

    # One page has changed.
    again = Sweep(python, tmp_path / "again", url, wiki(red_pump="It is never cleaned."))
    again.job["stores"] = one.job["stores"]
    again.run()
    assert again.results()[0].found[0].pages[0] == "red-pump.md"


def test_a_question_that_is_too_long_is_not_found(python: Path, tmp_path: Path, url: str) -> None:
    one = Sweep(python, tmp_path, url, wiki()[:2])
    log = {"id": "log", "text": "error 42 " * 9000, "pages": ["red-lamp.md"]}
    one.job["questions"].append(log)
    assert one.run()[-1] == {"event": "done"}
    assert [len(found.pages) for result in one.results() for found in result.found] == [2, 0, 2, 0]
