"""`askdocs docs calibrate`: what is fitted, what is stored, and when there is too little."""

import json
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from askdocs.wikis.calibrate import _surely, facts, run, show, store
from gateway.answering.grounding.ground import Grounding
from gateway.core.errors import AskdocsError
from gateway.knowledge.search import embed, index
from gateway.knowledge.search.calibration import Fit
from gateway.knowledge.search.embed import MODEL
from gateway.knowledge.search.index import Index
from gateway.knowledge.search.missing import embed_missing
from gateway.knowledge.search.search import Search
from gateway.knowledge.sources.markdown import parse
from gateway.upstream.engine import estimates
from tests.parts import require

THINGS = [
    "kettle",
    "lamp",
    "printer",
    "ladder",
    "oven",
    "freezer",
    "drill",
    "saw",
    "hammer",
    "camera",
    "radio",
    "scanner",
    "bicycle",
    "trolley",
    "heater",
    "fan",
    "pump",
    "compressor",
    "welder",
    "lathe",
    "grinder",
    "sander",
    "mixer",
    "blender",
    "toaster",
    "projector",
    "microscope",
    "telescope",
    "piano",
    "guitar",
    "violin",
    "drum",
]
FOREIGN = [
    "capital of France",
    "who won the cup",
    "write a python decorator",
    "train a neural network",
    "css center a div",
    "stripe refunds",
    "weather in Kyoto",
    "income tax deadline",
    "merge two branches",
    "kubernetes ingress",
]


def silent(step: str, done: int, total: int) -> None:
    """No bar."""


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Index]:
    loaded = embed.load()
    require(loaded is not None, "the embedding model is not installed: run make setup")
    assert loaded is not None
    pages = [
        parse(
            f"{thing}.md",
            f"# The {thing}\n\n## Cleaning\n\nWipe the {thing} with cloth {number}.\n\n"
            f"## Repair\n\nCall line {number} when the {thing} is broken.",
            "http://wiki/",
        )
        for number, thing in enumerate(THINGS, 100)
    ]
    file = tmp_path / "index.db"
    index.build(file, pages)
    embed_missing(partial(index.writing, file), loaded)
    found = Index(file)
    yield found
    found.close()


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    known = [
        {"question": f"clean the {thing}", "words": [f"cloth {number}"]}
        for number, thing in enumerate(THINGS, 100)
    ]
    foreign = [{"question": question, "answerable": False} for question in FOREIGN]
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join(map(json.dumps, [*known, *foreign])))
    return file


def test_bad_numbers_are_mended_stored_and_used(
    opened: Index, questions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writing = partial(index.writing, opened.file)
    with writing() as writer:
        writer.put_embedder(MODEL, {"fit": Fit(about=0.999, caution=0.9).dump()})
    search = Search(opened, embed.load())
    grounding = Grounding(opened, estimates, search=search)
    assert search.serving_fit().about == 0.999
    found = run(search, questions, silent)
    assert (found.answerable, found.unanswerable) == (len(THINGS), len(FOREIGN))
    assert found.after.about is not None
    assert found.after.about < 0.8
    assert found.after.caution is not None
    assert found.after.caution <= 0.4
    before, after = found.measured["answerable ones kept"]
    assert before < 0.5 < 0.9 <= after
    assert found.measured["unanswerable ones refused"][1] >= 0.8
    show(found, dry_run=True)
    said = capsys.readouterr().out
    assert "about: 0.999 -> " in said
    assert "not stored: --dry-run" in said
    assert facts(found, dry_run=True)["stored"] is False
    assert search.serving_fit().about == 0.999
    store(writing, found)
    assert search.serving_fit() == found.after
    looked = grounding._look_up("clean the kettle", None, (), (), 5)
    assert looked.is_answered
    assert looked.caution == found.after.caution
    again = run(search, questions, silent)
    assert not again.changed
    show(again, dry_run=False)
    assert "nothing changed" in capsys.readouterr().out


def test_too_little_to_calibrate_is_refused_with_the_reason(
    opened: Index, questions: Path, tmp_path: Path
) -> None:
    search = Search(opened, embed.load())
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join(questions.read_text().splitlines()[:12]))
    with pytest.raises(AskdocsError, match="has 12 questions with an answer; at least 30"):
        run(search, few, silent)
    with pytest.raises(AskdocsError, match="name a file with --questions FILE"):
        run(search, None, silent)
    with pytest.raises(AskdocsError, match="the search has no embedder to calibrate"):
        run(Search(opened, None), questions, silent)
    index.build(tmp_path / "new.db", [parse("new.md", "# New\n\nA page.", "http://wiki/")])
    with (
        closing(Index(tmp_path / "new.db")) as new,
        pytest.raises(AskdocsError, match="1 of 1 pages have no vectors"),
    ):
        run(Search(new, embed.load()), questions, silent)


def test_a_gain_of_a_few_questions_is_chance() -> None:
    assert _surely([0.5] + [0.0] * 30) < 0
    assert _surely([0.5] * 10 + [0.0] * 20) > 0
