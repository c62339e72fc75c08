"""Manifests of versions and of artefacts derived from them.

A manifest contains the SHA-256 of every file and is written last: its presence means "complete". It
is copied byte for byte with a version, so its own SHA-256 identifies the version.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
)

from core.errors import AskdocsError
from training.versions import name

MANIFEST = "manifest.json"
# Stored beside a version's files after it was made; covered by no manifest.
ARTEFACTS, VERDICTS, RETIRED = "artefacts", "verdicts", "retired.json"
THRESHOLDS = "thresholds"
MEASURED = (VERDICTS, THRESHOLDS)
BESIDE = (MANIFEST, ARTEFACTS, *MEASURED, RETIRED)

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _inside(path: str) -> str:
    """A manifest may come from elsewhere: its paths must stay inside their folder."""
    parts = PurePosixPath(path).parts
    if not parts or path != "/".join(parts) or path[0] == "/" or ".." in parts or "\\" in path:
        raise ValueError(f"{path!r} is not a path inside the version")
    if parts[0] in BESIDE:
        raise ValueError(f"{parts[0]!r} is not for a version's own files")
    return path


def _named(text: str) -> str:
    if not name.is_version(text):
        raise ValueError(f"{text!r} is not the name of a version, such as docs@v7")
    return text


Version = Annotated[str, AfterValidator(_named)]
ArtefactKind = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,39}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class File(_Strict):
    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


Files = Annotated[dict[Annotated[str, AfterValidator(_inside)], File], Field(min_length=1)]


class Dataset(_Strict):
    """The training dataset: a folder made by `askdocs dataset build`."""

    file: str
    """Name of the file of questions and answers."""
    examples: dict[str, int]
    """Number of examples by split: train, validation."""
    sha256: Sha256
    """SHA-256 of card.json, which contains all other hashes."""


class Facts(_Strict):
    """Facts supplied when a version is added."""

    base_model: str
    """Hub id or name of the base model."""
    dataset: Dataset
    recipe: dict[str, JsonValue]
    """Every field of training/plan/recipe.py."""
    prompt_fingerprint: str
    """From gateway/answering/grounding/prompt.py; gateways with another prompt do not serve the
    version."""
    commit: str
    """Commit of the training code, "" if unknown; "-dirty" marks local changes."""
    metrics: dict[str, float]
    """`eval_loss` is the validation loss of the kept checkpoint; others as measured."""
    checks: dict[str, JsonValue]
    """Checks made before it was added, by name."""


class Manifest(Facts):
    """A version's manifest.json."""

    name: Version
    created: datetime
    """In UTC."""
    files: Files
    """By path relative to the version's folder."""


class Artefact(_Strict):
    """The manifest.json of an artefact of a version: merged weights, a GGUF, ..."""

    kind: ArtefactKind
    version: Version
    manifest_sha256: Sha256
    """SHA-256 of the version's manifest file."""
    created: datetime
    facts: dict[str, JsonValue]
    files: Files


class Threshold(_Strict):
    """The score below which the check marks sentences in a version's answers."""

    version: Version
    manifest_sha256: Sha256
    """SHA-256 of the version's manifest, since another store may have another version of that
    name."""
    checker: str
    """`rules`, or the checker's name in the settings."""
    value: Annotated[float, Field(ge=0, le=1)]
    false_alarms: Annotated[float, Field(ge=0, le=1)]
    """Share of the supported sentences that it marks."""
    supported: Annotated[int, Field(ge=1)]
    """Number of labelled sentences used for fitting."""
    answers_sha256: Sha256
    """SHA-256 of the file of labelled answers."""
    made: datetime
    """In UTC."""


M = TypeVar("M", Manifest, Artefact)


def encode(manifest: Manifest | Artefact) -> bytes:
    """The file's content."""
    return (manifest.model_dump_json(indent=2) + "\n").encode()


def decode(model: type[M], content: bytes, place: str) -> M:
    """Parse the manifest at `place`. Raises AskdocsError: it is invalid."""
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise AskdocsError(
            f"{place}: is not a manifest ({f'{where}: ' if where else ''}{message}):"
            " put it back with `askdocs restore FILE --only versions`, or pull the version again"
        ) from None


def sha256(content: bytes) -> str:
    """As hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def total(files: Mapping[str, File]) -> int:
    """Total bytes."""
    return sum(file.bytes for file in files.values())
