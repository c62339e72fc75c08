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
from eval.questions import draw, rows
from eval.systems.rag import measure, settings, table
from eval.systems.rag import sweep as script
from eval.systems.rag.measure import RetrievedPages
from gateway.core.errors import AskdocsError
from gateway.knowledge.search import embed
from gateway.knowledge.search.index import Index
from gateway.knowledge.search.search import Search
from gateway.routing.aliases import BASE, DOCS
from gateway.upstream.engine import estimated

if TYPE_CHECKING:
    from askdocs.evaluation.target import EvaluatedGateway
    from eval.questions.question import Question
    from eval.systems.rag.settings import RagSettings
    from eval.systems.systems import Role

OUT = "rag.toml"
SWEEP = "sweep.json"
SIZES, OVERLAPS, KS, LAMBDAS = "256,512,1024,2048", "0,64,128", "20,100,150", "0.7,1"
BUDGETS, KEEPS = "3000,8000,16000", "5,10,20,40"


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
    chunk_tokens: Annotated[str, typer.Option(help="Chunk sizes to try, in tokens.")] = SIZES,
    overlap: Annotated[str, typer.Option(help="Overlaps of chunks to try, in tokens.")] = OVERLAPS,
    k: Annotated[str, typer.Option(help="Numbers of chunks to rerank.")] = KS,
    mmr_lambda: Annotated[
        str, typer.Option(help="Weights of relevance in MMR; 1 turns it off.")
    ] = LAMBDAS,
    expand: Annotated[bool, typer.Option("--expand", help="Also search for paraphrases.")] = False,
    decompose: Annotated[
        bool, typer.Option("--decompose", help="Also search for the parts of a question.")
    ] = False,
    budget: Annotated[
        str,
        typer.Option(help="Token budgets for chunks in the prompt, within the models' context."),
    ] = BUDGETS,
    keep: Annotated[str, typer.Option(help="Numbers of chunks to keep in the prompt.")] = KEEPS,
    hyde: Annotated[
        bool, typer.Option("--hyde", help="Also search with a hypothetical answer (HyDE).")
    ] = False,
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
    grid: dict[str, list[Any]] = {
        "chunk_tokens": _numbers("--chunk-tokens", chunk_tokens),
        "overlap": _numbers("--overlap", overlap),
        "k": _numbers("--k", k),
        "mmr_lambda": _numbers("--mmr-lambda", mmr_lambda, float),
        "rerank": [False, True],
        "mmr_after": [False, True],
        "expand": [False, True] if expand else [False],
        "decompose": [False, True] if decompose else [False],
        "budget": _numbers("--budget", budget),
        "keep": _numbers("--keep", keep),
        "hyde": [False, True] if hyde else [False],
    }
    state = home.find(home_dir)
    place = target.find(state, url, key)
    base = settings.load(rag) if rag else settings.RagSettings()
    # What is not possible is said now, and not after an hour.
    _ = script.first(base, grid), script.second(base, grid), script.fourth(base, grid)
    read = budgets(base, grid["budget"], place, home_dir)
    base = base.model_copy(update={"budget": read[0]})
    grid["budget"] = sorted(set(read))
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
            "grid": grid,
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
            "rows": [table.facts(row) for row in results_table],
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


def _numbers(option: str, text: str, kind: type[int] | type[float] = int) -> list[float]:
    try:
        return sorted({kind(part) for part in text.split(",")})
    except ValueError:
        raise AskdocsError(f"{option} {text}: write numbers with commas, such as 10,20") from None


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
