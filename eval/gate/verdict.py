"""The verdict of the gate: may a version answer for an alias?

It is about one version and one prompt contract, and lies beside the version, never inside of what
the version's manifest covers. `askdocs models promote` asks for one that has passed.
"""

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.core.errors import AskdocsError, first_problem


class Verdict(BaseModel):
    """What the gate said of a version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    """`docs@v7`."""
    manifest_sha256: str | None = None
    """Of its manifest: another store may have another version of that name. None: not known."""
    prompt_fingerprint: str
    """Of the prompt contract that it was measured with; see
    gateway/answering/grounding/prompt.py."""
    passed: bool
    reasons: tuple[str, ...] = ()
    """Why it did not pass: a sentence for each threshold that was missed."""
    report_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the report that it was decided by."""
    made: datetime


def read(file: Path) -> Verdict:
    """Raises AskdocsError: the file cannot be read, or is no verdict."""
    try:
        return Verdict.model_validate_json(file.read_bytes())
    except OSError as error:
        raise AskdocsError(f"{file}: cannot be read ({error.strerror}): name a verdict") from None
    except ValidationError as error:
        where, what = first_problem(error)
        raise AskdocsError(
            f"{file}: {where or 'its beginning'}: {what}: it is no verdict of the gate;"
            " name another file"
        ) from None
