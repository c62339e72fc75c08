"""`askdocs eval run` up to its first question: what it finds, and what it refuses."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from askdocs.cli import app
from askdocs.evaluation import run_folder
from askdocs.evaluation.bar import EvaluationBar
from askdocs.evaluation.meter import Meter, held_on_gpu, memory
from askdocs.state.database import opened
from askdocs.state.home import Home
from core.errors import AskdocsError
from eval.questions import question
from eval.questions.rows import Row
from eval.running import answer, measured, run
from eval.running.answer import Answer
from eval.running.run import Run
from gateway.answering.grounding.prompt import fingerprint
from gateway.routing import aliases
from gateway.settings import Alias, GatewaySettings
from tests.askdocs.conftest import two_pages
from tests.eval.scripted import Script, Scripted, scripted
from tests.training.versions import FACTS, trained
from training.data.leaks import FILE, encoded
from training.versions.local import Folder
from training.versions.manifest import sha256
from training.versions.store import Store
from wiki.index.index import writing
from wiki.index.store import APPROVED
from wiki.pages.page import Page, Section
from wiki.sources.spec import Spec
from wiki.sources.sync import sync

pytestmark = pytest.mark.slow

SOURCE = "WixQA (MIT), https://huggingface.co/datasets/Wix/WixQA"
ROWS: list[dict[str, Any]] = [
    {
        "question": "Which port is it?",
        "answer": "4000",
        "context_doc": "guide/reference/ports.md",
        "source": SOURCE,
    },
    {"question": "What does it need?", "answer": "Python", "context_doc": "install.md"},
    {"question": "Who won the cup?", "answer": "", "answerable": False},
]
GROUNDING = {"answers": "quote", "page_budget": 700, "prompt": fingerprint()}
Evaluation = Callable[..., Result]


@pytest.fixture
def gateway() -> Iterator[Scripted]:
    nothing = Script(frozenset())
    with scripted({"base": nothing, "docs@v2": nothing}, {}) as server:
        server.told = {"base": {"serves": "small"}, "docs": {"grounding": GROUNDING}}
        yield server


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return file


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wiki and its index."""
    folder = tmp_path_factory.mktemp("indexed")
    wiki = two_pages(folder / "wiki")
    spec = Spec.named(str(wiki), site_url="https://wiki.example.com/")
    sync(spec.open(), partial(writing, folder / "index.db"), spec=spec.stored)
    return folder


@pytest.fixture
def wiki(indexed: Path) -> Path:
    """It is for all tests: none writes to it."""
    return indexed / "wiki"


@pytest.fixture
def examine(
    gateway: Scripted,
    rows: Path,
    indexed: Path,
    wiki: Path,
    home: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Evaluation:
    """Runs the command, dry, on a wiki that is in the index."""
    monkeypatch.setenv("ASKDOCS_GATEWAY_INDEX", str(home.index))
    shutil.copy(indexed / "index.db", home.index)

    def call(*flags: str, **changed: str | None) -> Result:
        options: dict[str, str | None] = {
            "questions": str(rows),
            "docs": str(wiki),
            "base": "base",
            "tuned": "docs@v2",
            "url": gateway.url,
            "key": "ask-secret",
            "home": str(home.root),
            **changed,
        }
        words = [word for name, value in options.items() if value for word in (f"--{name}", value)]
        return CliRunner().invoke(app, ["eval", "run", *words, *flags, "--dry-run", "--json"])

    return call


def test_a_dry_run_tells_all_that_decides_the_answers(examine: Evaluation, home: Home) -> None:
    result = examine()
    assert result.exit_code == 0, result.output
    found = Run.model_validate_json(result.stdout)
    assert len(found.questions.ids) == 3
    assert found.wiki.pages == 2
    assert {role: model.name for role, model in found.models.items()} == {
        "base": "base",
        "tuned": "docs@v2",
    }
    assert found.models["base"].serves == found.provenance.engine_model == "small"
    assert (found.answers, found.page_budget) == ("quote", 700)
    assert found.provenance.versions["lancedb"]
    assert found.provenance.sources == (SOURCE,)
    assert not found.provenance.untuned
    assert not (home.root / "evals").exists()
    assert "contaminated questions are not marked" in result.stderr
    assert "2 answerable questions are few for the release gate" in result.stderr
    assert "of at most 3 points it needs about 2,617" in result.stderr
    assert "1 unanswerable questions are too few for the release gate: it needs 40" in result.stderr
    has_gpu = bool(found.provenance.machine["gpus"])
    assert ("takes       about " if has_gpu else "takes       at least ") in result.stderr
    assert ("--limit 10" in result.stderr) != has_gpu
    assert "costs       at most $" in result.stderr
    assert "ask-secret" not in result.output


def test_without_a_trained_version_the_base_is_asked_once_and_not_called_tuned(
    examine: Evaluation,
) -> None:
    result = examine(tuned="base")
    assert result.exit_code == 0, result.output
    found = Run.model_validate_json(result.stdout)
    assert list(found.models) == ["base"]
    assert not [name for name in found.systems if name.startswith("tuned")]
    assert "there is no tuned model: base is base" in result.stderr
    assert found.provenance.untuned == "base is base, the base model"
    only = examine(tuned="base", systems="tuned-pages")
    assert "--tuned base is base, the base itself" in str(only.exception)


def test_rag_with_another_generator_is_asked_where_one_is_named(
    examine: Evaluation, gateway: Scripted
) -> None:
    gateway.told["claude"] = {"max_model_len": 200_000}
    result = examine(other="claude")
    assert result.exit_code == 0, (result.output, result.exception)
    found = Run.model_validate_json(result.stdout)
    assert found.models["other"].name == "claude"
    assert found.systems[-1] == "other-rag"
    assert not any("other-rag" in pair for pair in found.contrasts)
    assert "other-rag needs a model" in str(examine(systems="other-rag").exception)
    assert "--other gone: the gateway has no such model" in str(examine(other="gone").exception)


def test_recorded_answers_are_further_systems(examine: Evaluation, tmp_path: Path) -> None:
    file = tmp_path / "recorded.jsonl"
    row = {"question": ROWS[0]["question"], "answer": "So.", "system": "now"}
    file.write_text(json.dumps(row) + "\n")
    result = examine(recorded=str(file), systems="always-refuse")
    assert result.exit_code == 0, (result.output, result.exception)
    found = Run.model_validate_json(result.stdout)
    assert found.systems == ("always-refuse", "recorded-now")
    assert found.recorded_sha256 == sha256(file.read_bytes())
    assert "recorded-now has answers to 1 of 3 questions: the others are left" in result.stderr
    file.write_text(json.dumps({**row, "question": "Another?"}) + "\n")
    result = examine(recorded=str(file), systems="always-refuse")
    assert "recorded-now answers none of 3 questions" in str(result.exception)


def test_a_version_knows_itself_what_it_was_trained_on(
    examine: Evaluation, home: Home, tmp_path: Path
) -> None:
    store = Store(Folder(home.root / "versions"))
    for name in ("one", "two"):
        folder = trained(tmp_path / name, name)
        (folder / FILE).write_text(encoded([Row(1, ROWS[0]["question"], "So.")]))
        store.add("docs", folder, FACTS)
    result = examine()
    assert "contaminated questions are not marked" not in result.stderr
    digest = hashlib.sha256((tmp_path / "two" / FILE).read_bytes()).hexdigest()
    assert Run.model_validate_json(result.stdout).questions.trained_sha256 == digest


def test_the_rows_of_a_version_are_found_beside_the_questions(
    examine: Evaluation, home: Home, tmp_path: Path
) -> None:
    """So that the gate, which asks for contaminated questions, passes it without more words."""
    store = Store(Folder(home.root / "versions"))
    learnt = FACTS.dataset.model_copy(update={"file": "learnt.jsonl"})
    for name in ("one", "two"):
        facts = FACTS.model_copy(update={"dataset": learnt})
        store.add("docs", trained(tmp_path / name, name), facts)
    assert "contaminated questions are not marked" in examine().stderr
    (tmp_path / "learnt.jsonl").write_text(json.dumps({**ROWS[0], "split": "train"}) + "\n")
    result = examine()
    assert "contaminated questions are not marked" not in result.stderr
    digest = sha256((tmp_path / "learnt.jsonl").read_bytes())
    found = Run.model_validate_json(result.stdout)
    assert found.questions.trained_sha256 == digest


def test_the_folder_around_the_pages_names_the_wiki_too(
    examine: Evaluation, indexed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(indexed)
    assert examine(docs=".").exit_code == 0


def test_models_and_leaks_are_only_those_of_the_systems(examine: Evaluation) -> None:
    result = examine(systems="base-closed,always-refuse")
    found = Run.model_validate_json(result.stdout)
    assert list(found.models) == ["base"]
    assert found.rag is None
    assert "contaminated questions are not marked" not in result.stderr
    assert "docs@v2" not in result.stderr


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"systems": "base-rga"}, "--systems: there is no 'base-rga'; there are base-clo"),
        ({"tuned": "docs@v9"}, "--tuned docs@v9: the gateway has no such model; it has base, doc"),
        ({"docs": "elsewhere"}, "--docs elsewhere: is not a folder"),
        ({"key": None}, "--url: the gateway requires a key: add --key"),
        ({"url": None}, "askdocs does not run in "),
        ({"url": "http://127.0.0.1:9/v1"}, "no gateway answers at http://127.0.0.1:9"),
        ({"questions": "gone.jsonl"}, "gone.jsonl: cannot be read: No such file"),
        ({"split": "validation"}, "no row has split = 'validation'"),
        ({"answerable": "3"}, "rows.jsonl: has 2 answerable rows: lower --answerable 3"),
        ({"trained": "gone.jsonl"}, "gone.jsonl: cannot be read: No such file"),
    ],
)
def test_a_mistake_is_told_before_anything_is_asked(
    examine: Evaluation, changed: dict[str, str | None], told: str
) -> None:
    result = examine(**changed)
    assert isinstance(result.exception, AskdocsError)
    assert told in str(result.exception)


def test_a_wiki_that_the_gateway_does_not_have_is_refused(
    examine: Evaluation, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    result = examine(docs="other")
    assert "--docs other: is not in the gateway's index, which has /" in str(result.exception)


def test_rows_of_pages_that_are_not_there_are_reported_by_line(
    examine: Evaluation, rows: Path
) -> None:
    lost = {"question": "Where?", "answer": "There.", "context_doc": "lost.md"}
    rows.write_text(json.dumps(ROWS[0]) + "\n" + json.dumps(lost) + "\n")
    result = examine()
    assert f"{rows}:2: the wiki has no page 'lost.md'" in str(result.exception)


def test_near_copies_are_left_out_and_the_one_that_is_asked_leaks_with_them(
    examine: Evaluation, rows: Path, home: Home
) -> None:
    wordings = [
        {**ROWS[0], "id": "w1", "question": "Which PORT, please?", "cluster": "ports"},
        {**ROWS[0], "id": "w2", "question": "Where does it listen?", "cluster": "ports"},
    ]
    rows.write_text("".join(json.dumps(row) + "\n" for row in [*ROWS, *wordings]))
    section = Section("", "", (), "On port 8000.")
    title, url = "where does it listen", "https://example.com/ports/?answer=1"
    with writing(home.index) as writer:
        writer.put(APPROVED, Page("ports.md#answer-1", title, url, (section,)), "")
    asked = set()
    for seed in range(4):
        result = examine(seed=str(seed))
        assert "note: 2 of 5 rows are left out: near copies of another row" in result.stderr
        assert "1 questions count as contaminated" in result.stderr
        found = Run.model_validate_json(result.stdout).questions
        assert (len(found.ids), found.copies) == (3, 2)
        asked.add(found.ids)
    assert len(asked) > 1, "not always the one that the memory has was drawn"
    nothing = str(examine(answerable="0", unanswerable="0").exception)
    assert "no question is drawn: raise --answerable or --unanswerable (it has 2 and 1" in nothing


@pytest.fixture
def known(examine: Evaluation) -> Run:
    return Run.model_validate_json(examine().stdout)


def test_a_folder_takes_one_run_and_goes_on_with_that_alone(known: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_folder.can_start(folder, known, False, tmp_path)
    with run_folder.claimed(folder):
        run_folder.begin(folder, known, [])
        with (
            pytest.raises(AskdocsError, match="another process is running it"),
            run_folder.claimed(folder),
        ):
            pass
    with pytest.raises(AskdocsError, match="holds this run already: add --resume"):
        run_folder.can_start(folder, known, False, tmp_path)
    run_folder.can_start(folder, known, True, tmp_path)
    longer = known.model_copy(update={"max_tokens": 17})
    with pytest.raises(AskdocsError, match=r"another run \(max_tokens = 160 there, 17 here\)"):
        run_folder.can_start(folder, longer, True, tmp_path)
    assert run.read(folder) == known
    assert question.read(folder) == []


@pytest.mark.parametrize(
    ("model", "told", "differs"),
    [
        ("base", {"serves": "other"}, 'serves = "small" there, "other" here'),
        ("docs", {"grounding": GROUNDING | {"answers": "write"}}, 'answers = "quote" there, "wr'),
        ("docs", {"grounding": GROUNDING | {"page_budget": 900}}, "page_budget = 700 there, 900"),
    ],
)
def test_another_model_or_product_behind_the_same_names_is_another_run(
    examine: Evaluation,
    gateway: Scripted,
    known: Run,
    home: Home,
    model: str,
    told: dict[str, Any],
    differs: str,
) -> None:
    folder = run_folder.default_folder(home, known)
    with run_folder.claimed(folder):
        run_folder.begin(folder, known, [])
    assert "holds this run already" in str(examine().exception)
    assert examine("--resume").exit_code == 0
    elsewhere = str(examine("--resume", out=str(folder.with_name("other"))).exception)
    assert f"{folder} (the same: name it with --out)" in elsewhere
    gateway.told[model] = told
    assert f"another run ({differs}" in str(examine(out=str(folder)).exception)
    nothing = str(examine("--resume").exception)
    assert "no such run to resume" in nothing
    assert f": the nearest is {folder} ({differs}" in nothing
    assert examine().exit_code == 0


def test_pages_without_embeddings_are_counted_before_anything_is_asked(
    examine: Evaluation, home: Home
) -> None:
    assert "no embeddings yet" not in examine().stderr, "words alone are searched"
    with writing(home.index) as writer:
        first, *others = writer.missing("m")
        writer.put_vectors(first, np.ones((1, 384), np.float32) / np.sqrt(384), "m")
    assert f"note: {len(others)} pages have no embeddings yet" in examine().stderr


def test_a_run_of_an_earlier_release_is_read_and_not_mixed_with_answers_of_now(
    known: Run, tmp_path: Path
) -> None:
    old = known.model_dump(mode="json")
    del old["answers"], old["resumed"], old["models"]["base"]["serves"]
    (tmp_path / run.FILE).write_text(json.dumps(old))
    assert run.read(tmp_path).models["base"].serves is None
    with pytest.raises(AskdocsError, match=r'another run \(serves = null there, "small" here\)'):
        run_folder.can_start(tmp_path, known, True, tmp_path)


def test_where_else_a_run_went_on_is_kept_with_it(known: Run, tmp_path: Path) -> None:
    elsewhere = known.provenance.model_copy(update={"commit": "of another day"})
    for place in (known.provenance, elsewhere, elsewhere):
        later = place.model_copy(update={"made": datetime.now(UTC)})
        run_folder.begin(tmp_path, known.model_copy(update={"provenance": later}), [])
    found = run.read(tmp_path)
    assert [one.commit for one in found.resumed] == ["of another day"]
    assert found.provenance.commit == known.provenance.commit
    run_folder.can_start(tmp_path, known, True, tmp_path)


def test_all_systems_are_reported_what_the_alias_of_the_version_tells(
    examine: Evaluation, gateway: Scripted, home: Home
) -> None:
    """Else promote, which asks for a verdict on the alias's own prompt, would take none."""
    told = {"grounding": GROUNDING | {"prompt": fingerprint("For HR.")}}
    gateway.told |= {"docs": told, "hr": told, "hr@v1": {}}
    assert "another prompt for docs than it has here" in str(examine().exception)
    with opened(home.root) as database:
        hr = Alias(targets={"base": 1.0}, grounding=True, instructions="For HR.")
        for name in ("docs", "hr"):
            aliases.save(database, name, hr, "ana")
    for changed, alias in (
        ({}, "docs"),
        ({"tuned": "hr@v1"}, "hr"),
        ({"tuned": "hr"}, "hr"),
        ({"tuned": "hr@v1", "alias": "docs"}, "docs"),
    ):
        found = Run.model_validate_json(examine(**changed).stdout)
        assert (found.alias, found.prompt_fingerprint) == (alias, fingerprint("For HR."))
    gateway.told["hr"] = {}
    assert Run.model_validate_json(examine(tuned="hr@v1").stdout).alias == "docs"
    assert "--alias hr: the gateway has no such grounded alias; it has docs" in str(
        examine(alias="hr").exception
    )


def test_other_wikis_that_the_product_answers_from_are_reported_and_make_another_run(
    examine: Evaluation, known: Run, wiki: Path, home: Home, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "install.md").write_text("# Install the other thing\n\nPush it in.\n")
    spec = Spec.named(str(other), site_url="https://other.example.com/")
    sync(spec.open(), partial(writing, home.index), spec=spec.stored)
    result = examine()
    assert f"docs answers from {other}, too, and RAG only from {wiki}" in result.stderr
    found = Run.model_validate_json(result.stdout)
    assert [(one.name, one.pages) for one in found.beside] == [("other", 1)]
    assert found.identity() != known.identity()
    seen = None
    for source, as_before in ((wiki, True), (other, False)):
        with opened(home.root) as database:
            docs = Alias(targets={"base": 1.0}, grounding=True, sources=(str(source),))
            aliases.save(database, "docs", docs, "ana", seen=seen)
            seen = docs
        result = examine()
        if as_before:
            assert Run.model_validate_json(result.stdout).identity() == known.identity()
            assert "too, and RAG" not in result.stderr
        else:
            assert f"docs does not answer from {wiki}, but from {other}" in str(result.exception)


def test_rag_reads_as_many_tokens_as_the_pages_do_unless_its_file_says_otherwise(
    examine: Evaluation, gateway: Scripted, tmp_path: Path
) -> None:
    def budgets(**changed: str) -> tuple[int, int, str]:
        result = examine(**changed)
        found = Run.model_validate_json(result.stdout)
        assert found.rag is not None
        return found.rag.budget, found.page_budget, result.stderr

    assert budgets()[:2] == (700, 700)
    file = tmp_path / "rag.toml"
    file.write_text("chunk_tokens = 1024\n")
    *same, told = budgets(rag=str(file))
    assert same == [700, 700]
    assert "chunks of up to 1,024 tokens and reads 700: longer ones are left out" in told
    file.write_text("budget = 3000\n")
    *other, told = budgets(rag=str(file))
    assert other == [3000, 700]
    assert "RAG reads 3,000 tokens of chunks, the others 700 of pages" in told
    # Context, answer, and what stands beside: 1,700 - 160 - 1,000.
    gateway.told["base"]["max_model_len"] = 1700
    assert budgets(rag=str(file))[:2] == (540, 540)


def test_a_gateway_that_does_not_tell_what_it_reads_is_taken_for_one_set_up_as_here(
    examine: Evaluation, gateway: Scripted
) -> None:
    del gateway.told["docs"]
    result = examine()
    found = Run.model_validate_json(result.stdout)
    assert (found.answers, found.page_budget) == (None, GatewaySettings().page_budget)
    assert "does not report its page budget: 3,000" in result.stderr


def test_a_folder_with_something_else_is_left_alone(known: Run, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(AskdocsError, match="is not empty, and holds no run: name another --out"):
        run_folder.can_start(tmp_path, known, True, tmp_path)
    with pytest.raises(AskdocsError, match="notes: is not a folder"):
        run_folder.can_start(tmp_path / "notes", known, True, tmp_path)


def test_the_last_answer_counts_and_half_a_line_is_asked_again(tmp_path: Path) -> None:
    first = Answer(system="base-rag", question="q1", error="too long")
    with answer.appending(tmp_path) as append:
        append(first)
    with (tmp_path / answer.FILE).open("ab") as file:
        file.write(b'{"system":"base-rag","que')
    second = first.model_copy(update={"error": "", "text": "Yes."})
    with answer.appending(tmp_path) as append:
        append(second)
    assert list(answer.read(tmp_path)) == [first, second]
    assert answer.latest(tmp_path) == {("base-rag", "q1"): second}


def test_what_is_measured_adds_up_over_the_parts_of_a_run(tmp_path: Path) -> None:
    index = tmp_path / "index.db"
    index.write_bytes(b"1234")
    over = {"event": "over", "name": "base-rag", "questions": 5, "wall_s": 2.0, "engine_s": 1.5}
    for _ in range(2):
        with Meter(tmp_path, {"base-rag": os.getpid()}, index) as meter:
            meter.hear({"event": "system", "name": "base-rag", "done": 0, "total": 5})
            meter.hear({"event": "index", "name": "rag", "bytes": 77})
            meter.hear(over)
    found = measured.read(tmp_path)
    assert (found.took["base-rag"].questions, found.took["base-rag"].wall_s) == (10, 4.0)
    assert found.index_bytes == {"pages": 4, "rag": 77}
    assert found.engine_bytes["base-rag"] > 10e6
    assert memory(2**22 + 1) == 0  # no process has that number


def test_memory_is_of_the_system_that_answers_and_of_its_processes_on_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text(
        f"""#!/bin/sh
case "$*" in
"--query-compute-apps=pid,used_gpu_memory --format=csv,noheader,nounits")
    printf '{os.getpid()}, 14853\\n{os.getpid()}, 147\\n1, 77\\n' ;;
*) exit 6 ;;
esac
"""
    )
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    engines = {"base-rag": os.getpid(), "tuned-rag": os.getpid()}
    with Meter(tmp_path, engines, smi) as meter:
        for name in ("base-rag", "always-refuse"):
            meter.hear({"event": "system", "name": name, "done": 0, "total": 5})
            times = {"questions": 5, "wall_s": 2.0, "engine_s": 1.5}
            meter.hear({"event": "over", "name": name, **times})
    found = measured.read(tmp_path)
    assert list(found.engine_bytes) == ["base-rag"]
    assert found.gpu_bytes == {"base-rag": 15_000 * 2**20}  # two GPUs


def test_what_nvidia_smi_does_not_tell_is_nothing() -> None:
    assert held_on_gpu("", [7]) == 0
    assert held_on_gpu("7, [N/A]\n[N/A], 12\n", [7]) == 0
    assert held_on_gpu("7, [Insufficient Permissions]\n8, 3\n", [7]) == 0


def test_the_bar_knows_how_long_the_rest_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    clock = iter([0.0, *[10.0] * 99])
    monkeypatch.setattr("askdocs.evaluation.bar.time.monotonic", lambda: next(clock))
    bar = EvaluationBar(Console(), answered=4, total=14)
    bar.show({"event": "system", "name": "base-rag", "done": 4, "total": 14})
    bar.show({"event": "answered", "name": "base-rag", "error": ""})
    bar.show({"event": "answered", "name": "base-rag", "error": "too long"})
    assert bar.counts("base-rag") == "40 s left, 1 errors"
