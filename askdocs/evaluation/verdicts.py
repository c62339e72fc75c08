"""Verdicts of the release gate: what a run is compared with, and where its verdict is kept."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from askdocs.evaluation import reports
from askdocs.models.registry import opened_store
from askdocs.state.home import write
from core.errors import AskdocsError
from eval.gate.gate import Reference
from eval.gate.verdict import Decision, Verdict
from eval.report import comparison
from eval.report.build import numbers
from eval.report.report import FILE, Report
from eval.running.pair import Pair
from eval.running.run import Run
from training.versions.manifest import sha256
from training.versions.name import is_version
from wiki.sources.sync import Progress

VERDICT = "verdict.json"
PRODUCT = "tuned-pages"
"""The system that answers readers once its version is promoted."""


def reference(
    run: Path,
    summary: Report,
    against: Path | None,
    pair: Pair,
    progress: Progress,
    index: Path | None = None,
) -> Reference:
    """What the subject is compared with: the same system in another run, or the base model.

    Raises AskdocsError: there is nothing to compare it with.
    """
    name, same = summary.subject, pair.same_machine and pair.same_load
    if against is None:
        base = name.replace("tuned-", "base-")
        other = summary.system(base)
        if base == name or other is None:
            raise AskdocsError(
                f"{run}: there is nothing to compare {name} with: run the evaluation with"
                f" --systems {base},{name},... or name a run of the model in use with --against RUN"
            )
        comparisons = [
            comparison for comparison in summary.comparisons if comparison.second == base
        ]
        return Reference(base, other.measures, comparisons, same)
    now, before = (
        reports.stored_scores(folder, summary.judge, False, progress, index)
        for folder in (run, against)
    )
    for side in (now, before):
        reports.check_judged(side, summary.judge, [side.subject(name)])
    label = f"{name} of {against.name}"
    comparisons = comparison.compare([((name, now.fair[name]), (label, before.fair[name]))])
    measures = numbers(before.fair[name])
    return Reference(label, measures, comparisons, same)


def repeated(
    run: Path,
    summary: Report,
    against: Path | None,
    repeats: Sequence[Path],
    reference: Reference,
    errors: float,
    progress: Progress,
    index: Path | None = None,
) -> Reference:
    """The same with the comparison of all runs, pooled.

    Raises AskdocsError: a run is of another version or setup, has a larger share of `errors`, or
        there is another run to compare with.
    """
    if against is not None:
        raise AskdocsError("--repeat and --against: runs can be pooled only against the base model")
    name = summary.subject
    base = name.replace("tuned-", "base-")
    sides, tuned = [], summary.provenance.models.get("tuned")
    for folder in dict.fromkeys(path.resolve() for path in (run, *repeats)):
        scored_run = reports.stored_scores(folder, summary.judge, False, progress, index)
        if scored_run.run.models.get("tuned") != tuned:
            raise AskdocsError(
                f"{folder}: --repeat is about another version than {run}: run it with --tuned"
                f" {tuned.named if tuned else 'VERSION'}"
            )
        if differs := _setup_differs(summary.provenance, scored_run.run, name):
            raise AskdocsError(
                f"{folder}: --repeat is about another setup than {run} ({', '.join(differs)}):"
                " pooled runs may differ only in their questions"
            )
        for system in (name, base):
            scored_run.subject(system)
            failed = sum(bool(mark.answer.error) for mark in scored_run.fair[system])
            # Those of the first run are a check of the gate.
            if folder != run.resolve() and failed > errors * len(scored_run.fair[system]):
                raise AskdocsError(
                    f"{folder}: {failed} of {len(scored_run.fair[system])} questions to {system}"
                    " ended in an error: `askdocs eval run --resume` asks them again"
                )
        reports.check_judged(scored_run, summary.judge, [name, base])
        sides.append(((name, scored_run.fair[name]), (base, scored_run.fair[base])))
    by_run: dict[str, list[float]] = {}
    for pair in sides:
        for difference in comparison.compare([pair]):
            by_run.setdefault(difference.measure, []).append(difference.value)
    return reference._replace(pooled=comparison.pooled(sides), by_run=by_run)


def _setup_differs(run: Run, other: Run, system: str) -> list[str]:
    """Settings that decide the answers of a system, or which of them count, and differ."""
    ignored: tuple[str, ...] = ("at_once", "contrasts", "models.other")
    if not system.endswith("-rag"):
        ignored += ("rag",)
    differs = [name for name in Pair(run, other).differs if not name.startswith(ignored)]
    if run.wiki.sha256 != other.wiki.sha256:
        differs.append("wiki")
    # Of a run without these rows no contaminated question is left out.
    if run.questions.trained_sha256 != other.questions.trained_sha256:
        differs.append("questions.trained_sha256")
    return differs


def keep(
    run: Path, summary: Report, decision: Decision, failed: list[str], home_dir: Path | None
) -> str | None:
    """Store the verdict in the run's folder, and beside the version.

    Returns where it is stored; None if the run is not about the product with a version.
    """
    model = summary.provenance.models.get("tuned")
    if model is None or summary.subject != PRODUCT or not is_version(model.name):
        return None
    verdict = Verdict(
        version=model.name,
        manifest_sha256=model.manifest_sha256,
        prompt_fingerprint=summary.provenance.prompt_fingerprint,
        decision=decision,
        reasons=tuple(failed),
        report_sha256=hashlib.sha256((run / FILE).read_bytes()).hexdigest(),
        made=datetime.now(UTC),
    )
    file = run / VERDICT
    write(file, verdict.model_dump_json(indent=2) + "\n")
    store = opened_store(home_dir)
    if model.name not in store.names():
        return f"{file} ({model.name} is not in {store.place}: add it there by --verdict)"
    if model.manifest_sha256 not in (None, sha256(store.manifest_bytes(model.name))):
        return f"{file} ({model.name} in {store.place} is not the one that was measured)"
    store.add_verdict(model.name, verdict)
    return f"{file}, and beside {model.name}"
