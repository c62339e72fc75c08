"""`askdocs eval sweep`: what it refuses, for which evaluation it chooses, and what it writes.

Its environment is looked for in `.cache/eval`, or where TEST_EVAL_HOME says.
"""

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from typer.testing import CliRunner

from askdocs import environments
from askdocs.cli import app
from askdocs.commands import eval_sweep
from askdocs.evaluation import target
from askdocs.state.database import opened
from askdocs.state.home import Home
from eval.systems.rag import measure, settings
from eval.systems.rag.settings import RagSettings
from gateway.routing import aliases
from gateway.settings import Alias, GatewaySettings
from tests.eval.rag_gateway import Models, serving
from tests.eval.scripted import Script, Scripted, scripted
from tests.parts import require
from wiki.index import embed
from wiki.index.index import writing
from wiki.sources.spec import Spec
from wiki.sources.sync import sync

EVAL_HOME = Path(
    os.environ.get("TEST_EVAL_HOME", Path(__file__).parents[2] / ".cache" / "eval")
).absolute()
INSTALL = ".venv/bin/python -m askdocs.environments eval --home .cache/eval"
DOCS = {"grounding": {"page_budget": 700}}
ROWS = [
    {"question": "What do you need?", "answer": "Python and make", "context_doc": "install.md"},
    {"question": "Which port is it?", "answer": "4000", "context_doc": "ports.md"},
]


@pytest.fixture
def gateway() -> Iterator[Scripted]:
    with scripted({"base": Script(frozenset())}, {}) as server:
        server.told = {"base": {}, "docs": DOCS}
        yield server


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--split", "test"], "--split 'test': has rows of the test"),
        (["--split", ""], "--split '': has rows of the test"),
        (["--try", "k=ten"], "k = ten cannot be tried"),
        (["--try", "k"], "--try k: write NAME=VALUES, such as keep=5,10"),
        (["--try", "chunk_tokens=512,100"], "chunk_tokens = 100 cannot be tried"),
        (["--rag", "none.toml"], "none.toml: cannot be read"),
    ],
)
def test_what_cannot_be_swept_is_one_line_before_anything_is_asked(
    options: list[str], told: str, tmp_path: Path
) -> None:
    rows = [{"question": f"{split}?", "answer": "Yes.", "split": split, "context_doc": "a.md"}
            for split in ("validation", "test")]  # fmt: skip
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    place = ["--url", "http://127.0.0.1:9/v1", "--key", "k"]
    sweep = ["eval", "sweep", "--questions", "q.jsonl", "--docs", ".", *place]
    done = CliRunner().invoke(app, [*sweep, *options])
    assert told in str(done.exception)
    assert "\n" not in str(done.exception)


def test_it_chooses_for_as_many_tokens_as_an_evaluation_reads(
    gateway: Scripted, home: Home
) -> None:
    place = target.find(home, gateway.url, "k")

    def budget(**given: int) -> int:
        found = eval_sweep.budgets(RagSettings.model_validate(given), [1, 9000], place, home.root)
        assert set(found[1:]) <= {9000}, "what the models cannot read is not tried"
        return found[0]

    assert (budget(), budget(keep=3), budget(budget=3000)) == (700, 700, 3000)
    # Context, answer, and what stands beside: 1,700 - 160 - 1,000.
    gateway.told["base"]["max_model_len"] = 1700
    assert (budget(), budget(keep=3), budget(budget=3000)) == (540, 540, 540)
    with opened(home.root) as database:
        told = Alias(targets={"base": 1.0}, grounding=True, instructions="Be brief. " * 30)
        aliases.save(database, "docs", told, "ana")
    assert budget() == 440
    # A key may be for the models of RAG alone.
    gateway.models, gateway.told = [], {"minilm": {}}
    assert (budget(), budget(budget=900)) == (GatewaySettings().page_budget, 900)


@pytest.mark.slow
def test_the_settings_that_it_writes_are_for_the_evaluation(
    wiki: Path, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(environments.find(environments.EVAL, EVAL_HOME) is not None, INSTALL)
    embedder = embed.load()
    require(embedder is not None, "the embedding model is not installed: run make setup")
    assert embedder is not None
    (home.root / "environments").symlink_to(EVAL_HOME / "environments")
    monkeypatch.setenv("ASKDOCS_GATEWAY_INDEX", str(home.index))
    spec = Spec.named(str(wiki), site_url="https://wiki.example.com/")
    sync(spec.open(), partial(writing, home.index), spec=spec.stored)
    copy = {**ROWS[1], "id": "again", "question": "Which PORT is it, please?"}
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*ROWS, copy]))
    (tmp_path / "given.toml").write_text("k = 2\nkeep = 2\n")

    async def listed(_: Request) -> Response:
        entries = [{"id": "base", "max_model_len": 1700}, {"id": "docs", **DOCS}]
        return JSONResponse({"data": entries})

    routes = [Route("/v1/models", listed), Mount("/", Models(embedder).app())]
    words = ["eval", "sweep", "--questions", "q.jsonl", "--split", "", "--docs", str(wiki)]
    words += ["--rag", "given.toml", "--out", "out", "--home", str(home.root), "--key", "k"]
    tried = ("chunk_tokens=512", "overlap=64", "k=2", "mmr_lambda=1", "budget=540", "keep=2")
    words += [word for text in (*tried, "hyde=false") for word in ("--try", text)]
    with serving(Starlette(routes=routes)) as url:
        done = CliRunner().invoke(app, [*words, "--url", f"{url}/v1"])
    assert done.exit_code == 0, (done.output, done.exception)
    found = settings.load(tmp_path / "out" / eval_sweep.OUT)
    assert (found.budget, found.keep) == (540, 2)
    measured = measure.read(tmp_path / "out")
    assert {one.settings.budget for one in measured} == {540}
    assert {len(one.found) for one in measured} == {len(ROWS)}
