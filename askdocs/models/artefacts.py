"""Derives artefacts from a version (merged, GGUF, quantised) and probes each in a real engine."""

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
from gateway.core.errors import AskdocsError
from gateway.knowledge.sources.sync import Progress
from training.artefacts import probe
from training.artefacts.probe import ProbeResult
from training.versions.store import Store

MERGED = "merged"


SCRATCH = ".deriving-"


class GgufType(StrEnum):
    """Weight formats of a GGUF file."""

    BF16 = "bf16"
    Q8_0 = "q8_0"
    Q4_1 = "q4_1"


class Scheme(StrEnum):
    """Quantisation schemes for vLLM."""

    FP8 = "fp8"
    W4A16 = "w4a16"


BITS = {
    MERGED: 16,
    **{f"gguf-{kind}": bits for kind, bits in zip(GgufType, (16, 8, 4), strict=True)},
    # 3 mantissa bits, for activations, too: as inaccurate as 4 bits (docs/results/notebook.md).
    Scheme.FP8: 4,
    Scheme.W4A16: 4,
}


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
        if kind not in BITS:
            known = ", ".join(BITS)
            raise AskdocsError(
                f"{self.name}: no limits for {kind!r}; there are limits for: {known}"
            )
        probes = probe.read(self.store.fetch(self.name) / probe.FILE)
        python = None
        if kind == MERGED:
            python = environments.find_vllm(self.home.root)
            if python is None:
                self.export(folder, self.scratch / probing.GGUF, GgufType.BF16)
                folder = self.scratch
        elif not kind.startswith("gguf-"):
            python = environments.ensure_vllm(self.home.root, self.say)
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

    def export(self, model: Path, file: Path, kind: GgufType) -> dict[str, Any]:
        job = {"model": str(model), "out": str(file), "type": kind}
        return deriving.derive(self.python(), "export", job, self.progress)

    def gguf(self, kind: GgufType) -> dict[str, Any]:
        """The facts of the artefact, as from `artefact`."""

        def derive(folder: Path) -> dict[str, Any]:
            return self.export(self.merged(), folder / probing.GGUF, kind)

        return self.artefact(f"gguf-{kind}", derive)

    def quantise(self, folder: Path, scheme: Scheme) -> dict[str, Any]:
        python = environments.ensure(environments.QUANTISE, self.home.root, self.say)
        job = {"model": str(self.merged()), "out": str(folder), "scheme": scheme}
        return deriving.derive(python, "quantise", job, self.progress)

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
            working.artefact(MERGED, working.merge)
            return
        try:
            working.gguf(GgufType.Q8_0)
        except ProbesFailed as error:
            working.say(f"{error}; trying 16 bits")
            working.gguf(GgufType.BF16)


@contextmanager
def work(name: str, home_dir: Path | None) -> Iterator[Work]:
    place, store = homes.find(home_dir), opened_store(home_dir)
    store.manifest(name)  # before anything is made
    place.make()
    # In the home, usually on the store's disk: it may be large.
    with scratch(place.root, SCRATCH) as folder, Bar() as bar:
        yield Work(store, name, place, folder, bar.show)
