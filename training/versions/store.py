"""The store of model versions: adding, reading, and records beside them.

    docs@v7/            adapter/, training.json, ...: files in the manifest, which never change
    docs@v7/manifest.json
    docs@v7/artefacts/gguf/     derived from it, with its own manifest
    docs@v7/verdicts/           verdicts of the gate
    docs@v7/thresholds/         thresholds for checking its answers
    docs@v7/retired.json        it must no longer be served

`training.versions.open` opens the store that the settings name.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import JsonValue, ValidationError

from core.errors import AskdocsError
from eval.gate.verdict import Verdict
from training.versions import name as names
from training.versions.files import measure
from training.versions.manifest import (
    ARTEFACTS,
    BESIDE,
    MANIFEST,
    RETIRED,
    THRESHOLDS,
    VERDICTS,
    Artefact,
    Facts,
    Files,
    Manifest,
    Threshold,
    decode,
    encode,
    sha256,
)
from training.versions.storage import VersionStorage
from wiki.sources.sync import Progress


def quiet(step: str, done: int, total: int | None) -> None:
    """A `Progress` that shows nothing."""


M = TypeVar("M", Verdict, Threshold)


class Store:
    """Versions at a place. Every method raises AskdocsError if the place cannot be used."""

    def __init__(self, place: VersionStorage) -> None:
        self.place = place

    def names(self) -> list[str]:
        """All versions, including retired ones, by alias and number."""
        ends = (path.split("/") for path in self.place.list())
        versions = (end[0] for end in ends if end[1:] == [MANIFEST] and names.is_version(end[0]))
        return sorted(versions, key=names.parse)

    def manifest(self, name: str) -> Manifest:
        """Raises AskdocsError: the version does not exist, or its manifest is invalid."""
        return self._version(name, self.manifest_bytes(name), f"{self.place}/{name}/{MANIFEST}")

    def manifest_bytes(self, name: str, artefact: str | None = None) -> bytes:
        """The file's bytes, whose SHA-256 identifies the version in any store."""
        names.parse(name)
        content = self.place.read(f"{_path(name, artefact)}/{MANIFEST}")
        if content is not None:
            return content
        if artefact is None:
            known = ", ".join(self.names()) or "none yet"
            raise AskdocsError(f"{name}: no such version in {self.place}; it has: {known}")
        self.manifest_bytes(name)
        known = ", ".join(self.artefacts(name)) or "none yet"
        raise AskdocsError(f"{name}: has no artefact {artefact!r}; there are: {known}")

    def add(self, alias: str, folder: Path, facts: Facts, progress: Progress = quiet) -> str:
        """Add a folder's files as the next version of an alias, and return its name.

        Concurrent calls get different numbers. `folder` is not changed.
        """
        names.check_alias(alias)
        files = measure(folder, progress)
        if taken := sorted({path.split("/")[0] for path in files} & set(BESIDE)):
            raise AskdocsError(
                f"{folder / taken[0]}: is not allowed in a version: rename or move it"
            )
        while True:
            name = str(names.Name(alias, self._last(alias) + 1))
            created = datetime.now(UTC)
            manifest = Manifest(name=name, created=created, files=files, **dict(facts))
            if self.place.publish(name, folder, encode(manifest), files, progress):
                return name

    def has(self, name: str, artefact: str | None, content: bytes) -> bool:
        """Does the store have it, with this manifest?"""
        return self.place.read(f"{_path(name, artefact)}/{MANIFEST}") == content

    def put(
        self,
        name: str,
        artefact: str | None,
        content: bytes,
        folder: Path,
        progress: Progress = quiet,
    ) -> None:
        """Store a version or artefact that was made elsewhere, under its own name.

        Args:
            content: the bytes of its manifest.
            folder: its files.

        Raises:
            AskdocsError: the name is taken by another; the artefact was derived from another
                version; a file does not match the manifest.
        """
        files = self._files(name, artefact, content, f"the manifest of {_path(name, artefact)}")
        if not self.place.publish(_path(name, artefact), folder, content, files, progress):
            there = sha256(self.manifest_bytes(name, artefact))
            raise AskdocsError(
                f"{self.place}/{_path(name, artefact)}: differs (its manifest is {there}, not "
                f"{sha256(content)}): train or derive it again in one of the two stores"
            )

    def fetch(self, name: str, artefact: str | None = None, progress: Progress = quiet) -> Path:
        """A local folder with the files of a version or artefact; do not write to it.

        Raises:
            AskdocsError: a file does not match the manifest.
        """
        content = self.manifest_bytes(name, artefact)
        if retired := self.retired(name):
            raise AskdocsError(
                f"{name}: was retired on {retired:%Y-%m-%d}, and must not be used: use another"
            )
        path = _path(name, artefact)
        files = self._files(name, artefact, content, f"{self.place}/{path}/{MANIFEST}")
        return self.place.fetch(path, content, files, progress)

    def artefacts(self, name: str) -> list[str]:
        """The kinds of artefacts that a version has."""
        paths = (path.split("/") for path in self.place.list(f"{name}/{ARTEFACTS}"))
        return sorted(path[2] for path in paths if path[3:] == [MANIFEST])

    def artefact(self, name: str, kind: str) -> Artefact:
        """Raises AskdocsError: it does not exist, or was derived from another version."""
        content = self.manifest_bytes(name, kind)
        return self._derived(name, kind, content, f"{self.place}/{_path(name, kind)}/{MANIFEST}")

    def add_artefact(
        self,
        name: str,
        kind: str,
        folder: Path,
        facts: dict[str, JsonValue],
        progress: Progress = quiet,
    ) -> None:
        """Store an artefact beside its version.

        Raises:
            AskdocsError: the version has an artefact of this kind; the name of the kind is invalid.
        """
        version = sha256(self.manifest_bytes(name))
        files = measure(folder, progress)
        try:
            artefact = Artefact(
                kind=kind,
                version=name,
                manifest_sha256=version,
                created=datetime.now(UTC),
                facts=facts,
                files=files,
            )
        except ValidationError as error:
            raise AskdocsError(
                f"{kind!r}: cannot be an artefact ({error.errors()[0]['msg']}): choose another name"
            ) from None
        if not self.place.publish(_path(name, kind), folder, encode(artefact), files, progress):
            raise AskdocsError(f"{name}: already has an artefact {kind!r}, which never changes")

    def add_verdict(self, name: str, verdict: Verdict) -> None:
        """Store the gate's verdict on a version. Raises AskdocsError: it is about another
        version."""
        self._add(name, VERDICTS, verdict)

    def verdicts(self, name: str) -> list[Verdict]:
        """Oldest first."""
        return self._added(name, VERDICTS, Verdict)

    def add_threshold(self, name: str, threshold: Threshold) -> None:
        """Store a threshold of a version. Raises AskdocsError: it is about another version."""
        self._add(name, THRESHOLDS, threshold)

    def thresholds(self, name: str) -> list[Threshold]:
        """Oldest first; for each checker the newest counts."""
        return self._added(name, THRESHOLDS, Threshold)

    def _add(self, name: str, folder: str, measured: Verdict | Threshold) -> None:
        manifest = sha256(self.manifest_bytes(name))
        what = folder.removesuffix("s")
        if measured.version != name:
            raise AskdocsError(f"the {what} is about {measured.version}, not about {name}")
        if measured.manifest_sha256 not in (None, manifest):
            raise AskdocsError(
                f"the {what} is about a different {name} from the one in {self.place}: measure "
                "this one"
            )
        content = (measured.model_dump_json(indent=2) + "\n").encode()
        # Names sort by time; adding the same record twice stores it once.
        made = f"{measured.made.astimezone(UTC):%Y%m%dT%H%M%S.%f}"
        self.place.create(f"{name}/{folder}/{made}-{sha256(content)[:8]}.json", content)

    def _added(self, name: str, folder: str, model: type[M]) -> list[M]:
        records = []
        for path in sorted(self.place.list(f"{name}/{folder}")):
            try:
                records.append(model.model_validate_json(self.place.read(path) or b""))
            except ValidationError:
                raise AskdocsError(
                    f"{self.place}/{path}: is not a {folder.removesuffix('s')}: remove it, and"
                    " measure the version again"
                ) from None
        return records

    def retire(self, name: str) -> bool:
        """Retire a version, which is then no longer served. False: it is already retired."""
        self.manifest_bytes(name)
        content = json.dumps({"retired": datetime.now(UTC).isoformat()}) + "\n"
        return self.place.create(f"{name}/{RETIRED}", content.encode())

    def retired(self, name: str) -> datetime | None:
        """When it was retired, in UTC."""
        content = self.place.read(f"{name}/{RETIRED}")
        if content is None:
            return None
        try:
            return datetime.fromisoformat(json.loads(content)["retired"])
        except (ValueError, KeyError, TypeError):
            raise AskdocsError(
                f"{self.place}/{name}/{RETIRED}: is not valid: remove it, and retire {name} again"
            ) from None

    def _files(self, name: str, artefact: str | None, content: bytes, place: str) -> Files:
        """The files of a manifest, if it belongs here. Raises AskdocsError."""
        if artefact is None:
            return self._version(name, content, place).files
        return self._derived(name, artefact, content, place).files

    def _version(self, name: str, content: bytes, place: str) -> Manifest:
        """Parse a version's manifest. Raises AskdocsError: it belongs to another version."""
        manifest = decode(Manifest, content, place)
        if manifest.name != name:
            raise AskdocsError(
                f"{place}: is the manifest of {manifest.name}: remove the folder {name}"
            )
        return manifest

    def _derived(self, name: str, kind: str, content: bytes, place: str) -> Artefact:
        """Parse an artefact's manifest. Raises AskdocsError: it belongs to another version."""
        artefact = decode(Artefact, content, place)
        version = sha256(self.manifest_bytes(name))
        if (artefact.version, artefact.kind, artefact.manifest_sha256) != (name, kind, version):
            raise AskdocsError(
                f"{place}: belongs to another version ({artefact.version},"
                f" {artefact.manifest_sha256}):"
                " remove it and derive it again"
            )
        return artefact

    def _last(self, alias: str) -> int:
        """The highest number in use."""
        folders = {path.split("/")[0] for path in self.place.list()}
        taken = [names.parse(folder) for folder in folders if names.is_version(folder)]
        return max(
            (number_taken.number for number_taken in taken if number_taken.alias == alias),
            default=0,
        )


def _path(name: str, artefact: str | None) -> str:
    return name if artefact is None else f"{name}/{ARTEFACTS}/{artefact}"
