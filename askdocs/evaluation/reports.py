"""Reports of evaluation runs: scores with judges and groundedness, and the files of a report."""

import asyncio
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from askdocs.evaluation import plan
from askdocs.state.home import write
from core.errors import AskdocsError
from eval.questions import question
from eval.report import build, cost, html, markdown
from eval.report import report as report_file
from eval.report.report import FILE, Report
from eval.running import run as runs
from eval.scoring import judge as judging
from eval.scoring import mark, scored, similarity
from eval.scoring.groundedness import Groundedness
from eval.scoring.judge import AND, AT, SILENT, Judge, Panel
from eval.scoring.mark import Grounded, Mark, Similar
from eval.scoring.scored import Scored
from eval.scoring.similarity import Similarity
from wiki.index.embed import load
from wiki.pages.page import Page
from wiki.sources.sync import Progress


def score(
    run: Path,
    progress: Progress,
    by_meaning: bool,
    judges: Sequence[tuple[str, str]],
    pages: Sequence[Page],
) -> tuple[Scored, Panel | None]:
    """Score a run, with new judgements and the groundedness of its answers if asked for.

    Args:
        by_meaning: compare answers with reference answers by meaning, too.
        judges: models with their endpoints.
        pages: the wiki's pages; empty: groundedness is not measured.
    """
    plain = _marked(run)
    panel = None
    if judges:
        written, key = mark.attempted_answers(plain), os.environ.get("OPENAI_API_KEY")
        texts = {page.path: page.text for page in pages}
        panel = Panel([Judge(run, model, url, key, texts) for model, url in judges])
        for judge in panel.judges:
            asyncio.run(judge.ask(written, lambda done, total: progress("judging", done, total)))
    grounded = groundedness(run, pages, progress)
    similar = similar_texts(run, mark.compared(plain), progress) if by_meaning else None
    return scored.score(run, similar, panel, grounded), panel


def groundedness(run: Path, pages: Sequence[Page], progress: Progress) -> Grounded | None:
    """The groundedness of a run's answers; None without the wiki's pages."""
    if not pages:
        return None
    grounded = Groundedness(run, pages)
    answers = [(marked.question, marked.answer) for marked in _marked(run) if marked.answered]
    asyncio.run(grounded.measure(answers, partial(progress, "checking against the pages")))
    return grounded


def _marked(run: Path) -> list[Mark]:
    """The answers of all systems, marked by word comparison."""
    return [marked for marks in mark.marks(*mark.read(run)).values() for marked in marks]


def similar_texts(
    run: Path, texts: Sequence[tuple[str, str]], progress: Progress
) -> Similar | None:
    """The similarity of pairs of texts by meaning; None, with the reason logged, where the embedder
    cannot run."""
    embedder = load()
    if embedder is None:
        return None
    similar = Similarity(run, embedder)
    similar.compare(texts, lambda done, total: progress("comparing meanings", done, total))
    return similar


def make(
    scored: Scored,
    progress: Progress,
    prices: Any,
    system: str | None,
    panel: Panel | None = None,
    labels: Any = None,
) -> Report:
    """Make a report, and write report.html, report.md and report.json."""
    made = build.report(
        scored, prices, system, panel.name if panel else None, labels, panel, progress
    )
    write(scored.folder / "report.html", html.html(made))
    write(scored.folder / "report.md", markdown.markdown(made))
    # The last, since its presence means that all are there.
    write(scored.folder / FILE, made.model_dump_json(indent=2) + "\n")
    return made


def of_run(run: Path, system: str | None, progress: Progress, index: Path | None = None) -> Report:
    """The report of a run; made where there is none, with the pages in an index.

    Raises AskdocsError: there is one, of other questions or answers or about another system. It
    is not made again, since a judge, labels or prices may have been named for it.
    """
    file = run / FILE
    if not file.is_file():
        scored_run = stored_scores(run, None, (run / similarity.FILE).is_file(), progress, index)
        return make(scored_run, progress, cost.read(), system)
    stored = report_file.read(run)
    again = f"create it again with {command(run, system or stored.subject, stored.judge)}"
    if system not in (None, stored.subject):
        raise AskdocsError(f"{file}: was made for {stored.subject}: {again}")
    if stored.answers_sha256 != report_file.sha256_of_answers(run):
        raise AskdocsError(f"{file}: does not cover all answers: {again}")
    counted = sum(stored.questions[kind] for kind in ("answerable", "unanswerable", "contaminated"))
    if counted != len(question.distinct(question.read(run))):  # earlier releases counted copies
        raise AskdocsError(f"{file}: counts near copies of questions: {again}")
    return stored


def command(run: Path, system: str, judge: str | None) -> str:
    """The command that makes such a report."""
    judges = (part.partition(AT) for part in judge.split(AND)) if judge else ()
    judged = "".join(
        f" --judge-model {model} --judge-url {url or 'URL'}" for model, _, url in judges
    )
    return f"`askdocs eval report {run} --system {system}{judged}`"


def judge_of(run: Path) -> str | None:
    """The judges of its report; None if there are none, or no report."""
    return report_file.read(run).judge if (run / FILE).is_file() else None


def stored_scores(
    run: Path, judge: str | None, similar: bool, progress: Progress, index: Path | None = None
) -> Scored:
    """Score a run with the stored judgements of a judge, and by meaning if `similar`.

    `index`: measures groundedness with the pages there, if they are still those of the run.
    """
    meanings = None
    if similar:
        plain = _marked(run)
        meanings = similar_texts(run, mark.compared(plain), progress)
    pages = plan.pages_of(index, runs.read(run).wiki) if index else ()
    panel = judging.stored_panel(run, judge) if judge else None
    return scored.score(run, meanings, panel, groundedness(run, pages, progress))


def check_judged(scored: Scored, judge: str | None, names: Sequence[str]) -> None:
    """Raises AskdocsError: the judge has not said what it holds of these systems' answers.

    What it has not judged is left out, and refusals, which need no judge, are not: the rest would
    say how often it refuses.
    """
    for name in names if judge else ():
        answered = [
            marked
            for marked in scored.marks[name]
            if marked.question.answerable and marked.answered
        ]
        silent = sum(marked.judged is None for marked in answered)
        if silent > SILENT * len(answered):
            raise AskdocsError(
                f"{scored.folder}: {judge} has not judged {silent} of {len(answered)} answers of "
                f"{name}: run {command(scored.folder, name, judge)}"
            )
