"""What a run was: all that decides its answers, and where and with what it was made.

It is written before the first question is asked.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from eval.systems.rag.settings import RagSettings
from gateway.core.errors import AskdocsError, first_problem

FILE = "run.json"
_STRICT = ConfigDict(frozen=True, extra="forbid")


class QuestionSet(BaseModel):
    """Which questions."""

    model_config = _STRICT

    file: str
    """Its name, without its folder."""
    sha256: str
    split: str
    """Empty: of all rows."""
    seed: int
    ids: tuple[str, ...]
    copies: int = 0
    """Rows that were left out, since they ask almost the same as another one, or have its cluster.
    Earlier releases left none out."""
    trained_sha256: str | None = None
    """Of the rows that the tuned model was trained on; None: they were not compared."""


class WikiRecord(BaseModel):
    """The pages that answers stand on."""

    model_config = _STRICT

    name: str
    """Of its folder."""
    pages: int
    sha256: str
    """Of paths, titles and texts."""


class Model(BaseModel):
    """A model as the gateway has it."""

    model_config = _STRICT

    named: str
    """As it was asked for, which may be an alias."""
    name: str
    """The model that answers: no alias, and asked by this name."""
    context: int | None
    """Tokens of prompt and answer together, as the gateway tells them."""
    serves: str | None = None
    """What its engine serves under that name; None: the gateway does not tell."""
    manifest_sha256: str | None = None
    """Of the version's manifest; None: it is no version, or served by a gateway elsewhere."""


class Provenance(BaseModel):
    """Where it was made, and with what. It does not decide the answers, but the times."""

    model_config = _STRICT

    made: datetime
    commit: str
    """Of askdocs, with -dirty; empty where it is no checkout."""
    versions: dict[str, str]
    """Of python, askdocs, lancedb, and of the gateway's askdocs where it tells."""
    engine: str
    """llama.cpp, vllm or other; empty where it cannot be asked."""
    engine_model: str
    """What the engine serves as `base`, for people."""
    machine: dict[str, str | int | list[str]]
    """system, processor, cores, memory (bytes), gpus."""
    sources: tuple[str, ...] = ()
    """Where the questions come from, as most of their rows say: of a public benchmark its name,
    licence and address."""
    untuned: str = ""
    """Why no tuned system was asked: the tuned model is the base model."""


class Run(BaseModel):
    """A run."""

    model_config = _STRICT

    questions: QuestionSet
    wiki: WikiRecord
    beside: tuple[WikiRecord, ...] = ()
    """Other wikis that the product answers from, too, and RAG does not."""
    memory: str | None = None
    """Which answered questions vote for the pages that the product finds, and what that weighs;
    off: none do; None: an earlier release did not look."""
    systems: tuple[str, ...]
    contrasts: tuple[tuple[str, str], ...] = ()
    """What it tests, see `eval.statistics.contrasts`; none in runs of earlier releases."""
    models: dict[str, Model]
    """By role: base, tuned."""
    alias: str
    """Whose grounding the systems with pages have."""
    answers: Literal["write", "quote"] | None = None
    """How the product answers; None: the gateway does not tell."""
    page_budget: int
    """Tokens of pages in a prompt at most."""
    max_tokens: int
    """Of an answer."""
    temperature: float = 0.0
    at_once: int
    """Questions that are asked at the same time."""
    rag: RagSettings | None
    """None: no system uses it."""
    recorded_sha256: str | None = None
    """Of the file of recorded answers, if there is one."""
    prompt_fingerprint: str
    provenance: Provenance
    resumed: tuple[Provenance, ...] = ()
    """Where and with what it went on, each time that this differed from the time before."""

    def identity(self) -> dict[str, Any]:
        """What two runs have in common if one may go on where the other has ended."""
        return self.model_dump(mode="json", exclude={"provenance", "resumed"})


def read(run: Path) -> Run:
    """Raises AskdocsError: the folder is no run, or of another release."""
    file = run / FILE
    try:
        return Run.model_validate_json(file.read_bytes())
    except OSError as error:
        raise AskdocsError(
            f"{file}: cannot be read ({error.strerror}): name a folder that `askdocs eval run` made"
        ) from None
    except ValidationError as error:
        where, what = first_problem(error)
        raise AskdocsError(
            f"{file}: {where}: {what}: it was damaged, or is of another release; run the"
            " evaluation again"
        ) from None
