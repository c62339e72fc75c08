"""What a run has measured beside its answers."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.core.errors import AskdocsError

FILE = "measured.json"
_STRICT = ConfigDict(frozen=True, extra="forbid")


class Took(BaseModel):
    """The time of one system, in seconds. What a killed run has asked is not in it."""

    model_config = _STRICT

    questions: int
    wall_s: float
    """Of all its questions, with what is logged."""
    engine_s: float
    """What the requests alone took, one after the other as many at once as were asked at once: the
    rest of `wall_s` is what the evaluation itself costs."""

    def __add__(self, other: "Took") -> "Took":
        return Took(
            questions=self.questions + other.questions,
            wall_s=self.wall_s + other.wall_s,
            engine_s=self.engine_s + other.engine_s,
        )


class Measured(BaseModel):
    """Times, and bytes of memory."""

    model_config = _STRICT

    took: dict[str, Took] = {}
    """By system."""
    engine_bytes: dict[str, int] = {}
    """Resident memory: the most that the engine's processes held while a system answered, by
    system; only of engines on this machine. Earlier releases: in the whole run, by model."""
    gpu_bytes: dict[str, int] = {}
    """The same on GPUs, as nvidia-smi tells it."""
    index_bytes: dict[str, int] = {}
    """On disk, of `pages`, the search index, and of `rag`, the vector store."""


def read(run: Path) -> Measured:
    """Nothing where nothing was measured yet. Raises AskdocsError: the file was damaged."""
    file = run / FILE
    try:
        return Measured.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return Measured()
    except (OSError, ValidationError):
        raise AskdocsError(f"{file}: was damaged: delete it, its numbers are lost") from None
