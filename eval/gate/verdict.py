"""The gate's verdict: may a version answer for an alias, for all users or a share of them?

A verdict applies to one version and one prompt contract. It is stored beside the version, outside
the files covered by its manifest. `askdocs models promote` and `canary` honour it.
"""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import AskdocsError, first_problem

Decision = Literal["promote", "canary", "stop"]


class Verdict(BaseModel):
    """The gate's verdict on a version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    """`docs@v7`."""
    manifest_sha256: str | None = None
    """SHA-256 of its manifest, since another store may have another version of that name. None:
    unknown."""
    prompt_fingerprint: str
    """Fingerprint of the prompt contract used; see gateway/answering/grounding/prompt.py."""
    decision: Decision
    """promote: better, or as good within the margin; canary: its readers decide; stop: harm."""
    reasons: tuple[str, ...] = ()
    """Why not promote: a sentence for each missed threshold."""
    report_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the report that it is based on."""
    made: datetime

    def allows(self, action: Literal["promote", "canary"]) -> bool:
        return self.decision in ("promote", action)


def read(file: Path) -> Verdict:
    """Raises AskdocsError: the file cannot be read, or is not a verdict."""
    try:
        return Verdict.model_validate_json(file.read_bytes())
    except OSError as error:
        raise AskdocsError(f"{file}: cannot be read ({error.strerror}): name a verdict") from None
    except ValidationError as error:
        where, message = first_problem(error)
        raise AskdocsError(
            f"{file}: {where or 'its beginning'}: {message}: it is not a verdict of the release "
            "gate; name another file"
        ) from None
