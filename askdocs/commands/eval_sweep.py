"""`askdocs eval sweep`: find the retrieval settings that work best for a wiki."""

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askdocs import environments
from askdocs.commands.options import (
    ANSWER,
    FolderOption,
    GatewayOption,
    HomeOption,
    JsonOption,
    KeyOption,
    QuestionsOption,
)
from askdocs.evaluation import run_folder, target
from askdocs.evaluation.plan import source_of
from askdocs.models.aliases import in_force
from askdocs.models.finetuning import follow
from askdocs.state import home
from askdocs.terminal.bar import Bar
from askdocs.terminal.consoles import say
from askdocs.wikis.index import index_file
from core.errors import AskdocsError
from eval.questions import draw, rows
from eval.systems.rag import measure, settings, table
from eval.systems.rag import sweep as script
from eval.systems.rag.measure import RetrievedPages
from gateway.routing.aliases import BASE, DOCS
from gateway.upstream.engine import estimated
from wiki.index import embed
from wiki.index.index import Index
from wiki.search.search import Search

if TYPE_CHECKING:
    from askdocs.evaluation.target import EvaluatedGateway
    from eval.questions.question import Question
    from eval.systems.rag.settings import RagSettings
    from eval.systems.systems import Role

OUT = "rag.toml"
SWEEP = "sweep.json"


def sweep(
    questions: QuestionsOption,
    docs: FolderOption,
    split: Annotated[str, typer.Option(help="Rows of this split; not test.")] = "validation",
    limit: Annotated[
        int | None, typer.Option(min=2, help="Number of questions, always the same sample.")
    ] = None,
    rag: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Values of the settings not swept, as in rag.toml."),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            metavar="NAME=VALUES",
            help="Values of a setting to try instead of the usual ones, such as keep=5,10 or "
            "hyde=false,true.",
        ),
    ] = None,
    url: GatewayOption = None,
    key: KeyOption = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the sweep (default: in the state folder)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Allow tuning on the test split.")] = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tune the retrieval settings of RAG. After Ctrl-C the same command resumes."""
    of_split, _ = draw.of_split(questions, rows.read(questions), split)
    if not force and any(row.split == "test" for row in of_split):
        raise AskdocsError(
            f"--split {split!r}: has rows of the test split, and tuning on them makes the test "
            "invalid: use validation, or add --force"
        )
    state = home.find(home_dir)
    place = target.find(state, url, key)
    base = settings.load(rag) if rag else settings.RagSettings()
    # What is not possible is said now, and not after an hour.
    stages = wanted(base, values or [])
    *_, room = stages
    own, *tried = budgets(base, room["budget"], place, home_dir)
    base = base.model_copy(update={"budget": own})
    room["budget"] = sorted({own, *tried})
    index = index_file(home_dir)
    source, pages = source_of(index, docs)
    answerable = draw.distinct([row for row in of_split if row.answerable], seed=0)
    drawn = draw.draw(questions, answerable, seed=0, limit=limit)
    chosen = draw.questions(questions, drawn, [page.path for page in pages], ())
    if not chosen:
        raise AskdocsError(
            f"{questions}: split {split} has no answerable row: name another --split"
        )
    about = {
        "questions": [question.model_dump(include={"id", "text", "pages"}) for question in chosen],
        "settings": base.model_dump(),
        "pages": hashlib.sha256(
            json.dumps(sorted((page.path, page.title, page.text) for page in pages)).encode()
        ).hexdigest(),
    }
    which = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    folder = (out or state.root / "evals" / f"sweep-{which[:8]}").absolute()
    try:
        tokenizer = embed.tokenizer_file()
    except OSError as error:
        raise AskdocsError(f"pages cannot be cut: {error}") from None
    with run_folder.claimed(folder) as lock:
        _claim(folder, which, about)
        job = {
            "out": str(folder),
            "questions": about["questions"],
            "settings": about["settings"],
            "stages": stages,
            "gateway": place.url,
            "index": str(index.absolute()),
            "source": source,
            "tokenizer": str(tokenizer),
            "stores": str(state.root / "evals" / "rag"),
        }
        _run(job, place.key, state, folder, lock)
        results = measure.read(folder)
        gold = [question.pages for question in chosen]
        best = max(results, key=lambda result: result.rank(gold))
        home.write(folder / OUT, best.settings.toml())
    with closing(Index(index)) as opened:
        others = _own(opened, source, chosen, base.keep)
    results_table = table.rows(results, gold, base, others)
    if as_json:
        shown = {
            "questions": len(chosen),
            "rag": str(folder / OUT),
            "settings": best.settings.model_dump(),
            "rows": [row.facts() for row in results_table],
        }
        print(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    print("\n".join(table.markdown(results_table)))
    print(f"\n{len(chosen):,} questions, {len(pages):,} pages; the best settings: {folder / OUT}")


def budgets(
    given: "RagSettings", tried: Sequence[int], place: "EvaluatedGateway", home_dir: Path | None
) -> list[int]:
    """Tokens of chunks in a prompt: first those that `eval run` gives these settings by default,
    then those to be tried that the models can read."""
    listed = target.listed(place)
    pages = target.reads(place, listed).page_budget
    wanted = given.budget if "budget" in given.model_fields_set else pages
    instructions = in_force(home_dir)[DOCS].instructions or ""
    reserved = ANSWER + estimated(instructions)
    named: dict[Role, str] = {"base": BASE, "tuned": DOCS}
    may_ask = {role: name for role, name in named.items() if name in listed}
    models = list(target.models(listed, may_ask).values())
    own = target.budget(wanted, reserved, models)
    return [own, *(size for size in tried if target.budget(size, reserved, models) == size)]


def wanted(base: "RagSettings", values: Sequence[str]) -> list[dict[str, list[Any]]]:
    """The stages of the sweep with the values of --try. Raises AskdocsError: one is invalid."""
    stages = [{name: list(tried) for name, tried in stage.items()} for stage in script.STAGES]
    for text in values:
        name, found, listed = text.partition("=")
        if not found or name not in settings.RagSettings.model_fields:
            raise AskdocsError(f"--try {text}: write NAME=VALUES, such as keep=5,10 or hyde=true")
        stage = next((stage for stage in reversed(stages) if name in stage), None)
        if stage is None:  # a setting that is not swept usually
            stage = {}
            stages.insert(-1, stage)
        stage[name] = [
            getattr(script.changed(base, **_fitting(name, part)), name)
            for part in listed.split(",")
        ]
    return stages


def _fitting(name: str, value: str) -> dict[str, object]:
    """The value, with others that allow it alone: combinations are checked when they are tried."""
    return {"overlap": 0, "chunk_tokens": 8192, "keep": 1, "k": 200, name: value}


def _claim(folder: Path, which: str, about: dict[str, Any]) -> None:
    """Write what the sweep is about. Raises AskdocsError: the folder is of something else."""
    old = home.read_json(folder / SWEEP)
    if old is None and any(path.name != "lock" for path in folder.iterdir()):
        raise AskdocsError(f"{folder}: is not empty, and holds no sweep: name another --out DIR")
    if old is not None and old.get("id") != which:
        raise AskdocsError(
            f"{folder}: holds a sweep of other questions, pages or settings: name another --out DIR"
        )
    if old is None:
        home.write_json(folder / SWEEP, {"id": which, **about})


def _run(job: dict[str, Any], key: str, state: home.Home, folder: Path, lock: int) -> None:
    """Try what was not tried yet, with a bar. Raises AskdocsError."""
    python = environments.ensure(environments.EVAL, state.root, say)
    with TemporaryDirectory() as work:
        file = Path(work) / "job.json"
        home.write_json(file, job)
        argv = [str(python), "-I", script.__file__, str(file)]
        running = follow(argv, folder, [lock], "the sweep", f"{key}\n".encode())
        try:
            with Bar() as bar, closing(running) as events:
                for event in events:
                    if event["event"] == "step":
                        bar.show(event["name"], event["done"], event["total"])
        except AskdocsError as error:
            raise AskdocsError(f"{error}; run the same command to continue") from None
        except KeyboardInterrupt:
            say("interrupted; run the same command to continue where this one stopped")
            raise typer.Exit(130) from None


def _own(
    index: "Index", source: str, questions: Sequence["Question"], keep: int
) -> dict[str, tuple[int, Sequence["RetrievedPages"]]]:
    """What the product's search finds: as many pages as RAG has chunks, and the best one."""
    search = Search(index, embed.load())
    ranked = []
    for question in questions:
        began = time.perf_counter()
        sought = search.sought(question.text)
        paths = tuple(hit.page.path for hit in search.hits(sought, None, keep, [source]))
        ranked.append((question.id, paths, time.perf_counter() - began))
    return {
        f"whole pages, {most} found": (
            most,
            [
                RetrievedPages(question=id, pages=paths[:most], tokens=0, seconds=seconds)
                for id, paths, seconds in ranked
            ],
        )
        for most in (keep, 1)
    }
