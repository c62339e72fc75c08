"""Describes a run: everything that determines its answers, and its provenance.

Written before the first question is asked.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import AskdocsError, first_problem
from eval.systems.rag.settings import RagSettings

FILE = "run.json"
_STRICT = ConfigDict(frozen=True, extra="forbid")


class QuestionSet(BaseModel):
    """The selected questions."""

    model_config = _STRICT

    file: str
    """File name without its folder."""
    sha256: str
    split: str
    """Empty: all rows."""
    seed: int
    ids: tuple[str, ...]
    copies: int = 0
    """Rows left out as near copies of another row or members of its cluster. Earlier releases left
    none out."""
    trained_sha256: str | None = None
    """Hash of the rows that the tuned model was trained on; None: not compared."""


class WikiRecord(BaseModel):
    """The wiki that answers are based on."""

    model_config = _STRICT

    name: str
    """Commit of its folder."""
    pages: int
    sha256: str
    """Hash of paths, titles and texts."""


class Model(BaseModel):
    """A model as configured in the gateway."""

    model_config = _STRICT

    named: str
    """The requested name, possibly an alias."""
    name: str
    """The model that answers, never an alias; requests use this name."""
    context: int | None
    """Tokens of prompt and answer together, as reported by the gateway."""
    serves: str | None = None
    """What its engine serves under that name; None: the gateway does not say."""
    manifest_sha256: str | None = None
    """Hash of the version's manifest; None: not a version, or served by a remote gateway."""


class Provenance(BaseModel):
    """Where and with what the run was made. Affects times, but not answers."""

    model_config = _STRICT

    made: datetime
    commit: str
    """Commit of askdocs, with -dirty; empty outside a checkout."""
    versions: dict[str, str]
    """Versions of python, askdocs, lancedb, and of the gateway's askdocs if it reports it."""
    engine: str
    """llama.cpp, vllm or other; empty if the engine cannot be asked."""
    engine_model: str
    """What the engine serves as `base`, for people."""
    machine: dict[str, str | int | list[str]]
    """system, processor, cores, memory (bytes), gpus."""
    sources: tuple[str, ...] = ()
    """Origin of the questions, as given by most rows; for a public benchmark its name, licence and
    address."""
    untuned: str = ""
    """Why no tuned system was asked: the tuned model is the base model."""


class Run(BaseModel):
    """An evaluation run."""

    model_config = _STRICT

    questions: QuestionSet
    wiki: WikiRecord
    beside: tuple[WikiRecord, ...] = ()
    """Other wikis that the product also answers from, unlike RAG."""
    systems: tuple[str, ...]
    contrasts: tuple[tuple[str, str], ...] = ()
    """The hypotheses, see `eval.statistics.contrasts`; none in runs of earlier releases."""
    models: dict[str, Model]
    """By role: base, tuned."""
    alias: str
    """The alias whose grounding settings apply to the systems with pages."""
    answers: Literal["write", "quote"] | None = None
    """The product's answer mode; None: the gateway does not say."""
    page_budget: int
    """Maximum tokens of pages in a prompt."""
    max_tokens: int
    """Maximum tokens of an answer."""
    temperature: float = 0.0
    at_once: int
    """Number of questions asked in parallel."""
    rag: RagSettings | None
    """None: no system uses RAG."""
    recorded_sha256: str | None = None
    """Hash of the file of recorded answers, if any."""
    prompt_fingerprint: str
    provenance: Provenance
    resumed: tuple[Provenance, ...] = ()
    """Provenance of each resumption that differed from the one before."""

    def identity(self) -> dict[str, Any]:
        """What must be equal for one run to continue another."""
        return self.model_dump(mode="json", exclude={"provenance", "resumed"})


def read(run: Path) -> Run:
    """Raises AskdocsError: the folder is not a run, or from another release."""
    file = run / FILE
    try:
        return Run.model_validate_json(file.read_bytes())
    except OSError as error:
        raise AskdocsError(
            f"{file}: cannot be read ({error.strerror}): name a folder that `askdocs eval run` "
            "wrote"
        ) from None
    except ValidationError as error:
        where, message = first_problem(error)
        raise AskdocsError(
            f"{file}: {where}: {message}: it is damaged, or of another release; run the evaluation "
            "again"
        ) from None
