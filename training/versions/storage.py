"""Where versions are kept: what a folder and a bucket have in common."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from gateway.knowledge.sources.sync import Progress
from training.versions.manifest import File


class FileInfo(NamedTuple):
    bytes: int
    modified: datetime
    """In UTC."""


class VersionStorage(Protocol):
    """A tree of files, whose paths are relative and have "/".

    What is published or created appears whole or not at all, for good: never over what is there,
    however many write at once.
    """

    def __str__(self) -> str:
        """For messages: the folder, or s3://BUCKET/PREFIX."""
        ...

    def list(self, under: str = "") -> dict[str, FileInfo]:
        """The files under a folder, by their whole path; none where there is no such folder."""
        ...

    def read(self, path: str) -> bytes | None:
        """A file's content; None if there is none."""
        ...

    def create(self, path: str, content: bytes) -> bool:
        """Write a small file. False: there is another one."""
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

        Returns False if `path` is taken by another manifest. Raises AskdocsError: a file is not
        what `files` says.
        """
        ...

    def fetch(
        self, path: str, manifest: bytes, files: Mapping[str, File], progress: Progress
    ) -> Path:
        """A folder of this machine with what was published at `path`, every SHA-256 verified.

        Raises AskdocsError: a file is missing, corrupt or one too many.
        """
        ...

    def remains(self) -> dict[str, FileInfo]:
        """What writes that were cut off have left, or that go on now have written."""
        ...

    def remove(self, path: str) -> None:
        """A file, or one of `remains`; if it is gone, all is well."""
        ...
