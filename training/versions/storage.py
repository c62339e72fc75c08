"""The interface of version stores: a folder or a bucket."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from training.versions.manifest import File
from wiki.sources.sync import Progress


class FileInfo(NamedTuple):
    bytes: int
    modified: datetime
    """In UTC."""


class VersionStorage(Protocol):
    """A tree of files with relative paths and "/".

    Publishing and creating are atomic and permanent: nothing is ever overwritten, however many
    writers there are.
    """

    def __str__(self) -> str:
        """For messages: the folder, or s3://BUCKET/PREFIX."""
        ...

    def list(self, under: str = "") -> dict[str, FileInfo]:
        """The files under a folder, by their full path; none if the folder does not exist."""
        ...

    def read(self, path: str) -> bytes | None:
        """A file's content; None if it does not exist."""
        ...

    def create(self, path: str, content: bytes) -> bool:
        """Write a small file. False: another file exists."""
        ...

    def publish(
        self,
        path: str,
        folder: Path,
        manifest: bytes,
        files: Mapping[str, File],
        progress: Progress,
    ) -> bool:
        """Copy `files` of `folder` to the folder `path`, and `manifest` last, as manifest.json.

        Returns False if `path` has another manifest. Raises AskdocsError: a file does not match
        `files`.
        """
        ...

    def fetch(
        self, path: str, manifest: bytes, files: Mapping[str, File], progress: Progress
    ) -> Path:
        """A local folder with the files published at `path`, every SHA-256 verified.

        Raises AskdocsError: a file is missing, corrupt or superfluous.
        """
        ...

    def remains(self) -> dict[str, FileInfo]:
        """Temporary files of interrupted writes, or of writes in progress."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file, or one of `remains`; succeeds if it is already gone."""
        ...
