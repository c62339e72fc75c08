"""Resolves the options of `askdocs eval run` to a complete configuration."""

import asyncio
import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from askdocs.evaluation import target
from askdocs.evaluation.target import EvaluatedGateway
from askdocs.models.aliases import in_force
from askdocs.models.registry import opened_store
from askdocs.wikis.index import index_file
from core.errors import AskdocsError
from eval.gate import gate
from eval.questions import draw, rows
from eval.questions.question import Question
from eval.questions.rows import Row
from eval.running.run import Model, QuestionSet, Run, WikiRecord
from eval.statistics.contrasts import declared
from eval.systems.rag.settings import RagSettings
from eval.systems.recorded import Recorded
from eval.systems.systems import ROLES, Role, System, parse
from eval.systems.wiki import Wiki
from gateway.answering.grounding import prompt
from gateway.routing.aliases import BASE
from gateway.upstream.engine import estimated
from training.data import leaks
from training.versions.manifest import sha256
from training.versions.name import is_version
from wiki.index import embed
from wiki.index.index import Index
from wiki.index.store import APPROVED
from wiki.pages.page import Page


@dataclass(frozen=True)
class Options:
    """The command line options."""

    questions: Path
    docs: Path
    systems: tuple[System, ...]
    named: dict[Role, str]
    """Models by role."""
    alias: str | None
    """The alias whose product is evaluated."""
    split: str | None
    limit: int | None
    answerable: int | None
    unanswerable: int | None
    seed: int
    trained: Path | None
    rag: RagSettings
    max_tokens: int
    at_once: int | None
    recorded: Path | None = None
    """File with answers of other tools."""

    @property
    def models(self) -> dict[Role, str]:
        """The models that the systems need."""
        roles = {system.role for system in self.systems if system.role}
        return {role: self.named[role] for role in ROLES if role in roles}


@dataclass(frozen=True)
class EvaluationPlan:
    """A run that is ready to start."""

    run: Run
    asked: list[Question]
    place: EvaluatedGateway
    index: Path
    source: str
    """The wiki's name in the index."""
    instructions: str
    """The alias's instructions."""
    sources: tuple[str, ...]
    """The wikis that the alias is limited to; empty: no limit."""
    recorded: Path | None
    notes: list[str] = field(default_factory=list)
    """Notes for readers of the results."""

    @property
    def processes(self) -> dict[str, int]:
        """Pids of local engines, by system."""
        known = self.place.processes
        pids = {}
        for system in parse(self.run.systems):
            name = self.run.models[system.role].name if system.role else ""
            # An adapter runs in its base model's process.
            pid = known.get(name) or (known.get(BASE) if is_version(name) else None)
            if pid:
                pids[system.name] = pid
        return pids

    def job(self, folder: Path, shared: Path) -> dict[str, str | tuple[str, ...] | None]:
        """The job for eval/running/ask.py: the run in `folder`, data common to all runs in
        `shared`.

        Raises:
            AskdocsError: RAG needs a tokenizer that is not installed.
        """
        weights: str | None = None
        tokenizer: str | None = None
        try:
            weights, tokenizer = str(embed.weights_file()), str(embed.tokenizer_file())
        except OSError as error:
            if self.run.rag:
                raise AskdocsError(f"RAG cannot cut pages: {error}") from None
        return {
            "run": str(folder),
            "gateway": self.place.url,
            "index": str(self.index.absolute()),
            "source": self.source,
            "instructions": self.instructions,
            "sources": self.sources,
            "engine": self.place.engine,
            "weights": weights,
            "tokenizer": tokenizer,
            "rag": str(shared / "rag"),
            "recorded": str(self.recorded.absolute()) if self.recorded else None,
        }


def plan(
    options: Options, place: EvaluatedGateway, home_dir: Path | None, to_come: Collection[str] = ()
) -> EvaluationPlan:
    """Check everything; models `to_come` are not served until the evaluation begins.

    Raises:
        AskdocsError: the rows are invalid, or the gateway is unavailable, lacks a model, or has
            another wiki.
    """
    file, chosen = options.questions, options.systems
    of_split, split = draw.of_split(file, rows.read(file), options.split)
    different = draw.distinct(of_split, options.seed)
    drawn = draw.draw(
        file, different, options.seed, options.limit, options.answerable, options.unanswerable
    )
    listed = target.listed(place)
    models = target.models(listed, options.models, to_come)
    alias = target.alias(listed, options.alias, options.named["tuned"])
    reads = target.reads(place, listed, alias)
    instructions = _instructions(alias, reads.prompt, home_dir)
    reserved = options.max_tokens + estimated(instructions)
    if place.is_of_home:
        models = {role: _with_manifest(model, home_dir) for role, model in models.items()}
    kind, slots = target.engine_facts(place)
    notes = [
        f"{name} is not served yet: the evaluation serves it while it runs" for name in to_come
    ]
    if copies := len(of_split) - len(different):
        notes.append(
            f"{copies:,} of {len(of_split):,} rows are left out: near copies of another row, or "
            "in its cluster"
        )
    untuned = ""
    base, tuned = options.named["base"], models.get("tuned")
    if tuned and base in listed and tuned.name == (listed[base].get("root") or base):
        # It would repeat the base model's answers under a misleading name.
        untuned = f"{options.named['tuned']} is {tuned.name}, the base model"
        notes.append(
            f"there is no tuned model: {options.named['tuned']} is {tuned.name}, which is already "
            "asked as base; train a version, or name another with --tuned"
        )
        chosen = tuple(system for system in chosen if system.role != "tuned")
        if not chosen:
            raise AskdocsError(
                f"--tuned {options.named['tuned']} is {tuned.name}, the base itself: name"
                " a trained version"
            )
        del models["tuned"]
    if not place.is_of_home and reads.answers is None:
        notes.append(
            f"the gateway does not report its page budget: {reads.page_budget:,}, from [gateway] "
            "page_budget here, is assumed"
        )
    learnt = None
    if "tuned" in models:
        name = models["tuned"].name
        learnt = options.trained or _hashes(name, home_dir) or _learnt(file, name, home_dir)
        if learnt is None:
            notes.append(
                "contaminated questions are not marked: name the training rows with --trained"
            )
    known = [] if learnt is None else _known(learnt)
    index = index_file(home_dir)
    source, pages = source_of(index, options.docs)
    sources, others = _sources(index, source, alias, home_dir)
    if others:
        notes.append(
            f"{alias} answers from {', '.join(others)}, too, and RAG only from {source}:"
            f" `askdocs aliases set {alias} --source {source}` makes them equal"
        )
    if missing := _without_vectors(index):
        notes.append(
            f"{missing:,} pages have no embeddings yet, so the product finds fewer pages: wait "
            "until `askdocs docs stats` shows all of them"
        )
    # Include copies that were left out: a model that knows one knows the question that is asked.
    here = {row.line for row in drawn}
    lines = leaks.contaminated(of_split, known) & here
    if of_answers := leaks.contaminated(of_split, _approved(index)) & here:
        lines |= of_answers
        notes.append(
            f"{len(of_answers):,} questions count as contaminated because approved answers to them"
            " or near copies are pages of the index"
        )
    sample = draw.questions(file, drawn, (page.path for page in pages), lines)
    if "tuned" in models:
        thresholds = gate.read()
        margin = thresholds.margin
        needed = max(gate.questions_needed(margin), thresholds.answerable)
        fair = [question for question in sample if not question.contaminated]
        answerable = sum(question.answerable for question in fair)
        if (unanswerable := len(fair) - answerable) < thresholds.unanswerable:
            notes.append(
                f"{unanswerable:,} unanswerable questions are too few for the release gate: it"
                f" needs {thresholds.unanswerable:,}"
            )
        if answerable < needed:
            notes.append(
                f"{answerable:,} answerable questions are few for the release gate: to show a loss"
                f" of at most {100 * margin:g} points it needs about {needed:,}, or a larger"
                " `margin` in a file that `askdocs eval gate --thresholds` names"
            )
    recorded = Recorded(options.recorded)
    for name in recorded.systems:
        if not (has := sum(recorded.has(name, question) for question in sample)):
            raise AskdocsError(
                f"--recorded {options.recorded}: {name} answers none of {len(sample):,} questions:"
                " write each `question` as the questions file has it"
            )
        if has < len(sample):
            notes.append(
                f"{name} has answers to {has:,} of {len(sample):,} questions: the others are left "
                "out for it"
            )
    budget = target.budget(reads.page_budget, reserved, list(models.values()))
    rag = None
    if any(system.method == "rag" for system in chosen):
        rag = _rag(options.rag, budget, reserved, list(models.values()))
        if rag.budget != budget:
            notes.append(
                f"RAG reads {rag.budget:,} tokens of chunks, the others {budget:,} of pages"
            )
        if rag.chunk_tokens > rag.budget:
            notes.append(
                f"RAG has chunks of up to {rag.chunk_tokens:,} tokens and reads {rag.budget:,}:"
                " longer ones are left out; cut smaller ones with --rag"
            )
    run = Run(
        questions=QuestionSet(
            file=file.name,
            sha256=sha256(file.read_bytes()),
            split=split,
            seed=options.seed,
            ids=tuple(question.id for question in sample),
            copies=copies,
            trained_sha256=None if learnt is None else sha256(learnt.read_bytes()),
        ),
        wiki=wiki_of(source, pages),
        beside=tuple(wiki_of(name, other) for name, other in others.items()),
        systems=tuple(system.name for system in chosen),
        contrasts=declared([system.name for system in chosen]),
        models=models,
        alias=alias,
        answers=reads.answers,
        page_budget=budget,
        max_tokens=options.max_tokens,
        at_once=options.at_once or slots,
        rag=rag,
        recorded_sha256=sha256(options.recorded.read_bytes()) if options.recorded else None,
        prompt_fingerprint=prompt.fingerprint(instructions),
        provenance=target.provenance(place, listed, kind).model_copy(
            update={"sources": _origins(drawn), "untuned": untuned}
        ),
    )
    counted = asyncio.run(_counted(sample, index, source, place.engine))
    return EvaluationPlan(
        run, counted, place, index, source, instructions, sources, options.recorded, notes
    )


def _origins(drawn: Sequence[Row]) -> tuple[str, ...]:
    """The most frequent sources of the rows, five at most."""
    return tuple(
        source for source, _ in Counter(row.source for row in drawn).most_common(5) if source
    )


def _instructions(alias: str, fingerprint: str | None, home_dir: Path | None) -> str:
    """The alias's instructions; `fingerprint` is of the prompt that the gateway uses.

    Raises AskdocsError: the gateway's prompt differs from the local one.
    """
    if fingerprint == prompt.fingerprint():
        return ""
    stored_alias = in_force(home_dir).get(alias)
    known = (stored_alias and stored_alias.instructions) or ""
    if fingerprint not in (None, prompt.fingerprint(known)):
        raise AskdocsError(
            f"the gateway asks with another prompt for {alias} than it has here, so that systems"
            " cannot be compared: copy the gateway's instructions with `askdocs aliases set"
            f" {alias} --instructions FILE`, and use the same release of askdocs as the gateway"
        )
    return known


def _rag(
    given: RagSettings, page_budget: int, reserved: int, models: Sequence[Model]
) -> RagSettings:
    """RAG settings with the pages' token budget, or the file's own, limited by the context."""
    wanted = given.budget if "budget" in given.model_fields_set else page_budget
    fitting = target.budget(wanted, reserved, models)
    return given.model_copy(update={"budget": fitting})


def _with_manifest(model: Model, home_dir: Path | None) -> Model:
    """Add a version's manifest hash, since another store may have a version of that name."""
    if not is_version(model.name):
        return model
    try:
        content = opened_store(home_dir).manifest_bytes(model.name)
    except AskdocsError:
        return model  # an engine serves it under that name, but the store does not know it
    return model.model_copy(update={"manifest_sha256": sha256(content)})


def _known(learnt: Path) -> list[Row]:
    """What a model knows, from a file of rows or of hashes."""
    return leaks.read(learnt) if learnt.name == leaks.FILE else leaks.trained(rows.read(learnt))


def _hashes(model: str, home_dir: Path | None) -> Path | None:
    """The stored hashes of a version's training rows."""
    if not is_version(model):
        return None
    store = opened_store(home_dir)
    try:
        has_hashes = leaks.FILE in store.manifest(model).files
        return store.fetch(model) / leaks.FILE if has_hashes else None
    except AskdocsError:
        return None  # it is from another store


def _learnt(file: Path, model: str, home_dir: Path | None) -> Path | None:
    """A version's training rows, if the file is beside the questions."""
    if not is_version(model):
        return None
    try:
        name = opened_store(home_dir).manifest(model).dataset.file
    except AskdocsError:
        return None  # it is from another store
    hashes_file = file.with_name(name)
    return hashes_file if hashes_file.is_file() else None


def source_of(file: Path, docs: Path) -> tuple[str, list[Page]]:
    """The name of a wiki in the index, and its pages.

    Raises:
        AskdocsError: the folder does not exist, or is not in the gateway's index.
    """
    if not docs.is_dir():
        raise AskdocsError(f"--docs {docs}: is not a folder: name the folder of the wiki")
    folder = Path(os.path.abspath(docs))
    with closing(Index(file)) as index:
        names = [stored.name for stored in index.sources()]
        for name in names:
            # Accept a parent folder, such as the one with mkdocs.yml.
            if Path(name) == folder or folder in Path(name).parents:
                return name, _pages(index, name)
    raise AskdocsError(
        f"--docs {docs}: is not in the gateway's index, which has "
        f"{', '.join(names) or 'no wiki'}: name one of them, or run `askdocs docs sync {docs}`"
    )


def _sources(
    file: Path, source: str, alias: str, home_dir: Path | None
) -> tuple[tuple[str, ...], dict[str, list[Page]]]:
    """The wikis that an alias is limited to, if any; and the pages of its wikis other than
    `source`.

    Raises AskdocsError: the alias does not answer from `source`.
    """
    with closing(Index(file)) as index:
        names = [stored.name for stored in index.sources()]
        if names == [source]:
            return (), {}
        stored_alias = in_force(home_dir).get(alias)
        limits = stored_alias.sources if stored_alias else ()
        if limits and source not in limits:
            raise AskdocsError(
                f"--docs: {alias} does not answer from {source}, but from {', '.join(limits)}:"
                " name one of these, or another --alias"
            )
        others = [name for name in limits or names if name in names and name != source]
        return limits, {name: _pages(index, name) for name in others}


def _pages(index: Index, source: str) -> list[Page]:
    return [index.page(number) for number in sorted(index.of([source]))]


def _without_vectors(file: Path) -> int:
    """Number of pages without embeddings yet; 0 if search uses only words."""
    with closing(Index(file)) as index, index.snapshot():
        model, embedded = index.embedded()
        return index.size - embedded if model else 0


def _approved(file: Path) -> list[Row]:
    """The questions of approved answers in the index."""
    with closing(Index(file)) as index:
        return [Row(line=0, question=page.title, answer="") for page in _pages(index, APPROVED)]


def pages_of(file: Path, wiki: WikiRecord) -> list[Page]:
    """The pages of a run's wiki; empty if an index does not have them, or they changed."""
    if not file.is_file():
        return []
    with closing(Index(file)) as index:
        for stored in index.sources():
            if Path(stored.name).name == wiki.name:
                pages = _pages(index, stored.name)
                if wiki_of(stored.name, pages).sha256 == wiki.sha256:
                    return pages
    return []


def wiki_of(name: str, pages: Sequence[Page]) -> WikiRecord:
    digest = hashlib.sha256()
    for page in sorted(pages, key=lambda page: page.path):
        digest.update(json.dumps([page.path, page.title, page.text]).encode())
    return WikiRecord(name=Path(name).name, pages=len(pages), sha256=digest.hexdigest())


async def _counted(
    questions: Sequence[Question], index: Path, source: str, engine: str | None
) -> list[Question]:
    """The questions with the token counts of their pages."""
    wiki = Wiki(index, source, None, engine)
    try:
        paths = dict.fromkeys(question.pages[0] for question in questions if question.pages)
        return draw.counted(questions, {path: await wiki.tokens(path) for path in paths})
    finally:
        await wiki.close()
