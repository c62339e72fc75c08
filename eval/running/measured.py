"""Measurements of a run besides its answers."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import AskdocsError

FILE = "measured.json"
_STRICT = ConfigDict(frozen=True, extra="forbid")


class Took(BaseModel):
    """The time of one system, in seconds. Excludes what a killed run asked."""

    model_config = _STRICT

    questions: int
    wall_s: float
    """Seconds for all its questions, logging included."""
    engine_s: float
    """Seconds of the requests alone, divided by the number in parallel: the rest of `wall_s` is the
    evaluation's own overhead."""

    def __add__(self, other: "Took") -> "Took":
        return Took(
            questions=self.questions + other.questions,
            wall_s=self.wall_s + other.wall_s,
            engine_s=self.engine_s + other.engine_s,
        )


class Measured(BaseModel):
    """Times, and sizes in bytes."""

    model_config = _STRICT

    took: dict[str, Took] = {}
    """By system."""
    engine_bytes: dict[str, int] = {}
    """Peak resident memory of the engine's processes while a system answered, by system; only for
    engines on this machine."""
    gpu_bytes: dict[str, int] = {}
    """The same for GPU memory, from nvidia-smi."""
    index_bytes: dict[str, int] = {}
    """Size on disk of `pages`, the search index, and `rag`, the vector store."""


def read(run: Path) -> Measured:
    """Empty if nothing was measured yet. Raises AskdocsError: the file is damaged."""
    file = run / FILE
    try:
        return Measured.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return Measured()
    except (OSError, ValidationError):
        raise AskdocsError(f"{file}: is damaged: delete it; its numbers are lost") from None
