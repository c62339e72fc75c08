"""`askdocs models merge|export|quantise|probe`: what is derived from a version, and is it that one?

Each step makes an artefact beside the version, unless it is there, and probes it in a real engine
first: what fails is not kept.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from askdocs.commands.options import HomeOption, JsonOption
from gateway.core.errors import AskdocsError

if TYPE_CHECKING:
    from askdocs.state.home import Home
    from gateway.knowledge.sources.sync import Progress
    from training.artefacts.probe import Result
    from training.versions.store import Store

VersionArgument = Annotated[str, typer.Argument(metavar="VERSION", help="A version, as docs@v7.")]
MERGED = "merged"
SCRATCH = ".deriving-"


class GgufType(StrEnum):
    """Numbers of the weights in a GGUF file."""

    BF16 = "bf16"
    Q8_0 = "q8_0"
    Q4_1 = "q4_1"


class Scheme(StrEnum):
    """Ways to quantise for vLLM."""

    FP8 = "fp8"
    W4A16 = "w4a16"


BITS = {
    MERGED: 16,
    **{f"gguf-{kind}": bits for kind, bits in zip(GgufType, (16, 8, 4), strict=True)},
    # 3 bits of mantissa, of activations, too: as far off as 4 bits are (docs/results/notebook.md).
    Scheme.FP8: 4,
    Scheme.W4A16: 4,
}


class ProbesFailed(AskdocsError):
    """What was derived is not the version."""


@dataclass(frozen=True)
class Work:
    """A version that something is derived from."""

    store: "Store"
    name: str
    home: "Home"
    scratch: Path
    progress: "Progress"

    def artefact(self, kind: str, derive: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """The facts of an artefact; made, probed and added now if it is not there.

        Raises:
            AskdocsError: it could not be made.
            ProbesFailed: it is not the version.
        """
        if kind in self.store.artefacts(self.name):
            return {**self.store.artefact(self.name, kind).facts, "kind": kind, "made": False}
        folder = self.scratch / kind
        folder.mkdir()
        facts = derive(folder)
        result = self.probe(kind, folder)
        if not result.passed:
            why = "; ".join(result.problems)
            raise ProbesFailed(f"{self.name}: {kind} fails its probes and is not kept: {why}")
        facts = {**facts, "probes": result.facts()}
        self.store.add_artefact(self.name, kind, folder, facts, self.progress)
        return {**facts, "kind": kind, "made": True}

    def probe(self, kind: str, folder: Path) -> "Result":
        """Ask an engine that serves this kind. Merged weights are asked in vLLM where it is there,
        else in llama.cpp, as a GGUF file of the very same numbers."""
        from askdocs import environments
        from askdocs.models import probing
        from training.artefacts import probe

        if kind not in BITS:
            known = ", ".join(BITS)
            raise AskdocsError(f"{self.name}: no limits are known for {kind!r}; there are: {known}")
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
        """The folder of the merged model: the artefact, or made for now."""
        if MERGED in self.store.artefacts(self.name):
            return self.store.fetch(self.name, MERGED, self.progress)
        folder = self.scratch / "for-now"
        if not folder.exists():
            self.merge(folder)
        return folder

    def merge(self, folder: Path) -> dict[str, Any]:
        from askdocs.models import base, deriving

        python, version = self.python(), self.store.fetch(self.name, progress=self.progress)
        model = base.find(self.store.manifest(self.name).base_model)
        job = {
            "base": str(model.folder(python, self.home, self.say)),
            "adapter": str(version / "adapter"),
            "out": str(folder),
        }
        return deriving.derive(python, "merge", job, self.progress)

    def export(self, model: Path, file: Path, kind: GgufType) -> dict[str, Any]:
        from askdocs.models import deriving

        job = {"model": str(model), "out": str(file), "type": kind}
        return deriving.derive(self.python(), "export", job, self.progress)

    def gguf(self, kind: GgufType) -> dict[str, Any]:
        """The facts of the artefact, as `artefact` gives them."""
        from askdocs.models.probing import GGUF

        def derive(folder: Path) -> dict[str, Any]:
            return self.export(self.merged(), folder / GGUF, kind)

        return self.artefact(f"gguf-{kind}", derive)

    def quantise(self, folder: Path, scheme: Scheme) -> dict[str, Any]:
        from askdocs import environments
        from askdocs.models import deriving

        python = environments.ensure(environments.QUANTISE, self.home.root, self.say)
        job = {"model": str(self.merged()), "out": str(folder), "scheme": scheme}
        return deriving.derive(python, "quantise", job, self.progress)

    def python(self) -> Path:
        from askdocs import environments

        return environments.ensure(environments.trainer(), self.home.root, self.say)

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def make(name: str, kind: Literal["gguf", "merged"], home_dir: Path | None) -> None:
    """Derive from a version what llama.cpp (gguf) or vLLM (merged) serves, and probe it.

    For llama.cpp in 8 bits; where those round away what the version has learnt, in 16.

    Raises:
        AskdocsError: it could not be made, or fails its probes.
    """
    with _work(name, home_dir) as work:
        if kind == "merged":
            work.artefact(MERGED, work.merge)
            return
        try:
            work.gguf(GgufType.Q8_0)
        except ProbesFailed as error:
            work.say(f"{error}; trying 16 bits")
            work.gguf(GgufType.BF16)


def merge(name: VersionArgument, home_dir: HomeOption = None, as_json: JsonOption = False) -> None:
    """Merge a version into its base model, for vLLM without adapters, and probe it."""
    with _work(name, home_dir) as work:
        _show(work.artefact(MERGED, work.merge), name, as_json)


def export(
    name: VersionArgument,
    kind: Annotated[
        GgufType, typer.Option("--type", help="Numbers of the weights; q4_1 is the smallest.")
    ] = GgufType.Q8_0,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a version as a GGUF file, for llama.cpp, and probe it."""
    with _work(name, home_dir) as work:
        _show(work.gguf(kind), name, as_json)


def quantise(
    name: VersionArgument,
    scheme: Annotated[
        Scheme, typer.Option(help="fp8 halves the memory of the weights, w4a16 quarters it.")
    ] = Scheme.FP8,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Quantise a version, for vLLM on a GPU, and probe it."""
    with _work(name, home_dir) as work:
        facts = work.artefact(scheme, lambda folder: work.quantise(folder, scheme))
        _show(facts, name, as_json)


def probe(
    name: VersionArgument,
    kinds: Annotated[
        list[str] | None, typer.Argument(metavar="[KIND]...", help="Artefacts; all if none.")
    ] = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start the artefacts of a version, ask them its probes, and say how they did.

    The exit code is 1 if one failed.
    """
    with _work(name, home_dir) as work:
        results = {
            kind: work.probe(kind, work.store.fetch(name, kind, work.progress))
            for kind in kinds or work.store.artefacts(name)
        }
    if not results:
        raise AskdocsError(f"{name}: has no artefact yet: merge, export or quantise it")
    if as_json:
        print(json.dumps({kind: result.facts() for kind, result in results.items()}, indent=2))
    else:
        for kind, result in results.items():
            print(f"{name} {kind}: {_told(result.facts())}")
    if not all(result.passed for result in results.values()):
        raise typer.Exit(1)


@contextmanager
def _work(name: str, home_dir: Path | None) -> Iterator[Work]:
    from askdocs.commands.models import opened_store
    from askdocs.state import home
    from askdocs.state.scratch import scratch
    from askdocs.terminal.bar import Bar

    place, store = home.find(home_dir), opened_store(home_dir)
    store.manifest(name)  # before anything is made
    place.make()
    # Beside the store, mostly: it may be large.
    with scratch(place.root, SCRATCH) as folder, Bar() as bar:
        yield Work(store, name, place, folder, bar.show)


def _show(facts: dict[str, Any], name: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"version": name, **facts}, indent=2))
        return
    how = "made" if facts["made"] else "is there already"
    print(f"{name} {facts['kind']} {how}; its probes: {_told(facts['probes'])}")


def _told(probes: dict[str, Any]) -> str:
    numbers = (
        f"log-probabilities off by {probes['mean']:.3f} on average and {probes['furthest']:.2f} at"
        f" most, {probes['agreed']} of {probes['clear']} clear tokens the same,"
        f" {probes['share']:.0%} of the adapter there"
    )
    failed = "; ".join(probes["problems"])
    return f"FAILED ({failed}); {numbers}" if failed else numbers
