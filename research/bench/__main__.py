"""Compare the gateway's overhead, and find the load that this machine sustains.

    .venv/bin/python -m research.bench gateway|load|writing [--help]

`gateway` asks a fake engine, `load` a stand-in of a GPU, `writing` a writer of recorded answers.
"""

import fcntl
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from askdocs import environments
from askdocs.commands.options import HomeOption
from askdocs.state import home
from askdocs.terminal.consoles import say
from core.errors import AskdocsError
from research.bench import gateway as bench
from research.bench import sustained
from research.bench import writing as answers

app = typer.Typer(
    help="Benchmark the gateway and the widget on this machine.", no_args_is_help=True
)

LOCK = "bench.lock"


@app.command("gateway")
def gateway(
    seconds: Annotated[float, typer.Option(min=0.2, help="Seconds per measurement.")] = 2.0,
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds; medians are reported.")] = 3,
    clients: Annotated[
        str, typer.Option(help="Numbers of concurrent clients, separated by commas.")
    ] = "1,16,64",
    systems: Annotated[
        str | None,
        typer.Option(
            help="Systems: nothing, vllm-router, litellm, askdocs, separated by commas "
            "(default: all)."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    home_dir: HomeOption = None,
) -> None:
    """Compare the gateway with others, on a fake engine: throughput, latency, CPU, memory."""
    counts = _counts(clients)
    names = [name.strip() for name in systems.split(",")] if systems else []
    chosen = bench.choose(names)
    root = home.find(home_dir).root
    pythons = {}
    for name in {system.name for system in chosen} & {"vllm-router", "litellm"}:
        pythons[name] = ensure_router(root) if name == "vllm-router" else _litellm(root)
    with _parts_stopped():
        report = bench.run(names, counts, seconds, rounds, pythons, say)
    print(report.to_json() if as_json else bench.table(report))
    if sum(point.errors for point in report.points) + sum(point.errors for point in report.paced):
        raise AskdocsError("some requests failed: do not trust the numbers above")


@app.command("load")
def load(
    docs: Annotated[
        Path,
        typer.Option(exists=True, help="Wiki whose headings become questions: a folder of pages."),
    ] = Path("docs"),
    rate: Annotated[
        float, typer.Option(min=0.1, help="Mean questions per second (random arrivals).")
    ] = 50.0,
    seconds: Annotated[
        float,
        typer.Option(min=0, help="Seconds at this rate; 0: only search for the highest rate."),
    ] = 600.0,
    workers: Annotated[int, typer.Option(min=1, help="Number of gateway workers.")] = 1,
    warm_up: Annotated[float, typer.Option(min=0, help="Warm-up seconds, not measured.")] = 60.0,
    search: Annotated[
        str | None,
        typer.Option(
            help="Systems whose highest rate is searched for: nothing, askdocs, "
            "askdocs-docs, litellm, separated by commas; none: skip the search "
            "(default: all)."
        ),
    ] = None,
    search_seconds: Annotated[
        float, typer.Option(min=1, help="Seconds at each rate of the search.")
    ] = 20.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    home_dir: HomeOption = None,
) -> None:
    """Load-test widget and gateway at a rate, on a simulated engine with a GPU's latency."""
    names = list(sustained.SYSTEM_NAMES)
    if search is not None:
        names = [] if search == "none" else [name.strip() for name in search.split(",")]
    with _parts_stopped():
        litellm = _litellm(home.find(home_dir).root) if "litellm" in names else Path(sys.executable)
        report = sustained.run(
            docs, rate, seconds, workers, warm_up, names, search_seconds, litellm, say
        )
    print(report.to_json() if as_json else sustained.table(report))
    if report.errors:
        raise AskdocsError(f"{report.errors} questions failed; the first: {report.steady[0].error}")


@app.command("writing")
def writing(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Recorded answers, JSON lines with question and answer."
        ),
    ],
    docs: Annotated[
        Path, typer.Option(exists=True, help="Wiki that the answers are about: a folder of pages.")
    ] = Path("docs"),
    rounds: Annotated[int, typer.Option(min=1, help="How many times to ask each question.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Measure the latency that search and check add to instantly replayed answers."""
    with _parts_stopped():
        report = answers.run(file, docs, rounds, say)
    print(report.to_json() if as_json else answers.table(report))


@contextmanager
def _parts_stopped() -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does, so that the programs that it started are stopped."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _litellm(root: Path) -> Path:
    return environments.ensure(environments.PROVIDERS, root, say)


def ensure_router(root: Path) -> Path:
    """The Python of an environment that has vllm-router, made under `root` on first use.

    The marker is written last, so that a set-up that was stopped is begun again.

    Raises:
        AskdocsError: it could not be installed.
    """
    place = root.absolute() / "environments" / "bench"
    lock = environments.requirements() / LOCK
    wanted = hashlib.sha256(lock.read_bytes() + repr(sys.version_info[:2]).encode()).hexdigest()
    marker = place / "askdocs.json"
    python = place / "bin" / "python"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name("bench.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if marker.is_file() and json.loads(marker.read_text())["digest"] == wanted:
            return python
        say("vllm-router: an environment of its own, once")
        shutil.rmtree(place, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(place)], lock)
        hashed = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
        uv = Path(sys.executable).with_name("uv")
        if uv.is_file():
            say("vllm-router: installing from requirements/bench.lock")
            _run([str(uv), "pip", "install", "--quiet", "--python", str(python), *hashed], lock)
        else:
            say("vllm-router: installing from requirements/bench.lock, a minute by pip")
            _run([str(python), "-m", "pip", "install", "--quiet", "--no-input", *hashed], lock)
        _run([str(python), "-c", "import vllm_router.launch_router"], lock)
        marker.write_text(json.dumps({"digest": wanted}) + "\n")
    return python


def _run(command: Sequence[str], lock: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        output = (done.stderr or done.stdout).strip()[-800:]
        raise AskdocsError(
            f"{lock}: could not be installed ({output}); check the connection or pip's index"
            " settings, or leave it out: --systems nothing,litellm,askdocs"
        )


def _counts(text: str) -> list[int]:
    """Raises AskdocsError."""
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1 or max(counts) > 10_000:
        raise AskdocsError(f"--clients {text!r}: write numbers from 1 on, such as 1,16,64")
    return counts


if __name__ == "__main__":
    try:
        app()
    except AskdocsError as error:
        sys.exit(str(error))
