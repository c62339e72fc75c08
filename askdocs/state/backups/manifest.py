"""The manifest.json of a backup: its contents, with the SHA-256 of every file."""

import re
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Annotated, Literal, get_args

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from gateway.core.errors import AskdocsError
from gateway.storage import database
from training.versions.manifest import File

MANIFEST = "manifest.json"
# Increase it when an older askdocs could not read the new format.
FORMAT = 1

Part = Literal["database", "index", "versions", "settings"]
PARTS: tuple[Part, ...] = get_args(Part)
# The parts that a restore puts back; settings are only for reading.
RESTORED: tuple[Part, ...] = ("database", "index", "versions")
DATABASE, DUMP = "database/askdocs.db", "database/postgresql.dump"
INDEX = "index/index.db"
SETTINGS = "settings/askdocs.toml"


def _inside(path: str) -> str:
    """A backup may come from elsewhere: its paths must stay inside their folder."""
    parts = PurePosixPath(path).parts
    if path != "/".join(parts) or ".." in parts or "\\" in path or parts[0] not in PARTS:
        raise ValueError(f"{path!r} is not a path of a backup")
    return path


class Manifest(BaseModel):
    """The manifest.json of a backup."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    askdocs: str
    """Version of the askdocs that made it."""
    made: datetime
    """In UTC."""
    revision: str | None = None
    """The database's schema."""
    live: dict[str, dict[str, float]] = {}
    """The models of each alias, with their weights."""
    versions: dict[str, str] = {}
    """SHA-256 of the manifest of every model version."""
    weights: bool = False
    """Does it include these versions' files?"""
    files: dict[Annotated[str, AfterValidator(_inside)], File] = Field(min_length=1)

    def of(self, part: Part) -> dict[str, File]:
        """The files of a part."""
        return {path: file for path, file in self.files.items() if part_of(path) == part}

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files.values())


def part_of(path: str) -> str:
    return path.partition("/")[0]


def askdocs_version() -> str:
    return version("askdocs")


def encode(manifest: Manifest) -> bytes:
    """The file's content."""
    return (manifest.model_dump_json(indent=2) + "\n").encode()


def decode(content: bytes, place: str) -> Manifest:
    """Parse the manifest of the backup at `place`.

    Raises AskdocsError: it is invalid, or from a newer askdocs.
    """
    try:
        values = orjson.loads(content)
        if not isinstance(values, Mapping):
            raise ValueError("it is not an object")
        _refuse_newer(values, place)
        return Manifest.model_validate(values)
    except (ValidationError, ValueError) as error:
        first = error.errors(include_url=False)[0] if isinstance(error, ValidationError) else None
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else str(error)
        raise AskdocsError(
            f"{place}: its {MANIFEST} cannot be read ({why}): use another backup"
        ) from None


def _refuse_newer(values: Mapping[str, object], place: str) -> None:
    """Raises AskdocsError."""
    form, revision = values.get("format"), values.get("revision")
    newer = isinstance(form, int) and form > FORMAT
    if newer or (isinstance(revision, str) and revision > database.HEAD):
        raise AskdocsError(
            f"{place}: was made by a newer askdocs ({_shown(values.get('askdocs'))}, schema"
            f" {_shown(revision)}; this is {askdocs_version()}, schema {database.HEAD}): upgrade "
            "askdocs first"
        )


def _shown(value: object) -> str:
    return re.sub(r"[^\w.+-]", "?", str(value))[:40]
