"""Derives artefacts from a version (merged, GGUF) and probes each in a real engine."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from askdocs import environments
from askdocs.models import base, deriving, probing
from askdocs.models.registry import opened_store
from askdocs.state import home as homes
from askdocs.state.home import Home
from askdocs.state.scratch import scratch
from askdocs.terminal.bar import Bar
from core.errors import AskdocsError
from training.artefacts import probe
from training.artefacts.probe import ProbeResult
from training.versions.store import Store
from wiki.sources.sync import Progress

SCRATCH = ".deriving-"


class Export(StrEnum):
    """What a version can be written as: merged weights, or a GGUF file of these weights."""

    MERGED = "merged"
    BF16 = "bf16"
    Q8_0 = "q8_0"
    Q4_1 = "q4_1"

    @property
    def artefact(self) -> str:
        """Its name in the store."""
        return self if self is Export.MERGED else f"gguf-{self}"


MERGED = Export.MERGED
BITS = {kind.artefact: bits for kind, bits in zip(Export, (16, 16, 8, 4), strict=True)}


class ProbesFailed(AskdocsError):
    """The artefact does not behave like the version."""


@dataclass(frozen=True)
class Work:
    """Derives artefacts from a version."""

    store: Store
    name: str
    home: Home
    scratch: Path
    progress: Progress

    def artefact(self, kind: str, derive: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """The facts of an artefact; it is made, probed and stored if it does not exist.

        Raises:
            AskdocsError: the artefact could not be made.
            ProbesFailed: it does not behave like the version.
        """
        if kind in self.store.artefacts(self.name):
            return {**self.store.artefact(self.name, kind).facts, "kind": kind, "made": False}
        folder = self.scratch / kind
        folder.mkdir()
        facts = derive(folder)
        result = self.probe(kind, folder)
        if not result.passed:
            why = "; ".join(result.problems)
            raise ProbesFailed(f"{self.name}: {kind} fails its probes and was discarded: {why}")
        facts = {**facts, "probes": result.facts()}
        self.store.add_artefact(self.name, kind, folder, facts, self.progress)
        return {**facts, "kind": kind, "made": True}

    def probe(self, kind: str, folder: Path) -> ProbeResult:
        """Probe in an engine that serves this kind: merged weights in vLLM if installed, else in
        llama.cpp as a GGUF file with identical numbers."""
        probes = probe.read(self.store.fetch(self.name) / probe.FILE)
        python = None
        if kind == MERGED:
            python = environments.find_vllm(self.home.root)
            if python is None:
                self.export(folder, self.scratch / probing.GGUF, Export.BF16)
                folder = self.scratch
        return probing.probed(folder, BITS[kind], probes, python, self.progress)

    def merged(self) -> Path:
        """The folder of the merged model: the artefact, or a temporary copy."""
        if MERGED in self.store.artefacts(self.name):
            return self.store.fetch(self.name, MERGED, self.progress)
        folder = self.scratch / "for-now"
        if not folder.exists():
            self.merge(folder)
        return folder

    def merge(self, folder: Path) -> dict[str, Any]:
        python, version = self.python(), self.store.fetch(self.name, progress=self.progress)
        model = base.find(self.store.manifest(self.name).base_model)
        job = {
            "base": str(model.folder(python, self.home, self.say)),
            "adapter": str(version / "adapter"),
            "out": str(folder),
        }
        return deriving.derive(python, "merge", job, self.progress)

    def export(self, model: Path, file: Path, kind: Export) -> dict[str, Any]:
        job = {"model": str(model), "out": str(file), "type": kind}
        return deriving.derive(self.python(), "export", job, self.progress)

    def derived(self, kind: Export) -> dict[str, Any]:
        """The facts of the artefact, as from `artefact`."""

        def derive(folder: Path) -> dict[str, Any]:
            return self.export(self.merged(), folder / probing.GGUF, kind)

        return self.artefact(kind.artefact, self.merge if kind is MERGED else derive)

    def python(self) -> Path:
        return environments.ensure(environments.trainer(), self.home.root, self.say)

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def make(name: str, kind: Literal["gguf", "merged"], home_dir: Path | None) -> None:
    """Make and probe the artefact that llama.cpp (gguf) or vLLM (merged) serves.

    For llama.cpp in 8 bits; if rounding loses what the version learned, in 16.

    Raises:
        AskdocsError: the artefact could not be made, or fails its probes.
    """
    with work(name, home_dir) as working:
        if kind == "merged":
            working.derived(MERGED)
            return
        try:
            working.derived(Export.Q8_0)
        except ProbesFailed as error:
            working.say(f"{error}; trying 16 bits")
            working.derived(Export.BF16)


@contextmanager
def work(name: str, home_dir: Path | None) -> Iterator[Work]:
    place, store = homes.find(home_dir), opened_store(home_dir)
    store.manifest(name)  # before anything is made
    place.make()
    # In the home, usually on the store's disk: it may be large.
    with scratch(place.root, SCRATCH) as folder, Bar() as bar:
        yield Work(store, name, place, folder, bar.show)
