"""`askdocs models merge|export|quantise|probe`: derive artefacts from a version and verify them.

Each step makes an artefact beside the version, unless it is there, and probes it in a real engine
first: what fails is not kept.
"""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askdocs.commands.options import HomeOption, JsonOption
from askdocs.models import artefacts
from askdocs.models.artefacts import MERGED, GgufType, Scheme
from gateway.core.errors import AskdocsError

if TYPE_CHECKING:
    pass

VersionArgument = Annotated[
    str, typer.Argument(metavar="VERSION", help="A version, such as docs@v7.")
]


def merge(name: VersionArgument, home_dir: HomeOption = None, as_json: JsonOption = False) -> None:
    """Merge a version into its base model, for vLLM without adapters, and probe it."""
    with artefacts.work(name, home_dir) as work:
        _show(work.artefact(MERGED, work.merge), name, as_json)


def export(
    name: VersionArgument,
    kind: Annotated[
        GgufType, typer.Option("--type", help="Data type of the weights; q4_1 is the smallest.")
    ] = GgufType.Q8_0,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a version as a GGUF file, for llama.cpp, and probe it."""
    with artefacts.work(name, home_dir) as work:
        _show(work.gguf(kind), name, as_json)


def quantise(
    name: VersionArgument,
    scheme: Annotated[
        Scheme, typer.Option(help="Weights: fp8 needs half the memory, w4a16 a quarter.")
    ] = Scheme.FP8,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Quantise a version, for vLLM on a GPU, and probe it."""
    with artefacts.work(name, home_dir) as work:
        facts = work.artefact(scheme, lambda folder: work.quantise(folder, scheme))
        _show(facts, name, as_json)


def probe(
    name: VersionArgument,
    kinds: Annotated[
        list[str] | None, typer.Argument(metavar="[KIND]...", help="Artefacts (default: all).")
    ] = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start the artefacts of a version, run its probes on them, and report the results.

    The exit code is 1 if a probe failed.
    """
    with artefacts.work(name, home_dir) as work:
        results = {
            kind: work.probe(kind, work.store.fetch(name, kind, work.progress))
            for kind in kinds or work.store.artefacts(name)
        }
    if not results:
        raise AskdocsError(f"{name}: has no artefacts yet: merge, export or quantise it")
    if as_json:
        print(json.dumps({kind: result.facts() for kind, result in results.items()}, indent=2))
    else:
        for kind, result in results.items():
            print(f"{name} {kind}: {_probe_summary(result.facts())}")
    if not all(result.passed for result in results.values()):
        raise typer.Exit(1)


def _show(facts: dict[str, Any], name: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"version": name, **facts}, indent=2))
        return
    how = "made" if facts["made"] else "is there already"
    print(f"{name} {facts['kind']} {how}; its probes: {_probe_summary(facts['probes'])}")


def _probe_summary(probes: dict[str, Any]) -> str:
    numbers = (
        f"log-probabilities off by {probes['mean']:.3f} on average and {probes['furthest']:.2f} at"
        f" most, {probes['agreed']} of {probes['clear']} clear tokens the same,"
        f" {probes['share']:.0%} of the adapter's effect preserved"
    )
    failed = "; ".join(probes["problems"])
    return f"FAILED ({failed}); {numbers}" if failed else numbers
