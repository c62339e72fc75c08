"""Real vLLM and llama.cpp of the same small model, for tests of what they do.

vLLM's environment is looked for in `.cache/vllm`, or where TEST_VLLM_HOME says.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from askdocs import environments
from askdocs.models import model
from askdocs.supervision.checks import free_port
from gateway.upstream.engines import llamacpp, vllm
from gateway.upstream.engines.launch import Launch
from tests import starting
from tests.libraries import Libraries, libraries
from tests.monitoring.otlp import Collector, collector
from tests.parts import require

ROOT = Path(__file__).parent.parent
CONVERT = ROOT / "training" / "artefacts" / "convert.py"
INSTALL = ".venv/bin/python -m askdocs.environments vllm --home .cache/vllm"
CORES = len(os.sched_getaffinity(0))
CONTEXT = 2048
PLACES = 3
"""For adapters."""
PARSES = """
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser

def parsed(options):
    parser = make_arg_parser(FlexibleArgumentParser())
    try:
        known = parser.parse_args(options)
        validate_parsed_serve_args(known)
    except SystemExit as refused:
        return refused.code
    return [getattr(known, name) for name in names]

said = [parsed(options) for options in commands]
"""
"""What vLLM's own parser makes of `commands`: the values of `names`, or the exit code."""


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    home = Path(os.environ.get("TEST_VLLM_HOME", ROOT / ".cache" / "vllm"))
    found = environments.find_vllm(home)
    require(found is not None, INSTALL)
    assert found is not None
    return found


@pytest.fixture(scope="session")
def small_gguf() -> Path:
    """The file of the small model."""
    return Path(model.shipped().source)


@pytest.fixture(scope="session")
def small_folder(
    vllm_python: Path, small_gguf: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The small model as a Hugging Face folder."""
    return convert(vllm_python, small_gguf, tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="session")
def vllm_libraries(
    vllm_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Libraries]:
    """vLLM's environment, for questions to its libraries."""
    with libraries(vllm_python, tmp_path_factory.mktemp("libraries") / "log") as asked:
        yield asked


@pytest.fixture(scope="session")
def vllm_spans() -> Iterator[Collector]:
    """What the vLLM of `vllm_url` says of its requests in traces."""
    with collector() as received:
        yield received


@pytest.fixture(scope="session")
def vllm_url(
    vllm_python: Path,
    small_folder: Path,
    vllm_spans: Collector,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """A vLLM with the small model; it takes half a minute to start, and next to nothing idle.

    It has places for adapters, for tests/engines/test_adapters_slow.py.
    """
    log = tmp_path_factory.mktemp("vllm") / "log"
    traces = f"{vllm_spans.url}/v1/traces"
    with serving_folder(vllm_python, small_folder, log, adapters=PLACES, traces=traces) as url:
        yield url


def convert(python: Path, gguf: Path, out: Path) -> Path:
    subprocess.run([python, CONVERT, gguf, out], check=True)
    return out


@contextmanager
def serving_gguf(gguf: Path) -> Iterator[str]:
    port = free_port()
    launch = llamacpp.launch(
        gguf, port=port, served_name="base", context=CONTEXT, threads=CORES, parallel=1
    )
    with running(launch, port, gguf.parent / os.devnull) as url:
        yield url


@contextmanager
def serving_folder(
    python: Path, folder: Path, log: Path, adapters: int = 0, traces: str = ""
) -> Iterator[str]:
    port = free_port()
    launch = vllm.launch(
        python,
        str(folder),
        port=port,
        served_name="base",
        context=CONTEXT,
        gpu=environments.has_gpu(),
        # Threads wait for each other after each step: beside other tests on two cores two of them
        # wrote 0.5 tokens a second, and one 4.
        threads=1,
        kv_gib=1,
        adapters=adapters,
        traces=traces,
    )
    with running(launch, port, log) as url:
        yield url


@contextmanager
def running(launch: Launch, port: int, log: Path) -> Iterator[str]:
    """The base URL of the engine once it is ready; afterwards nothing of it is left."""
    url = f"http://127.0.0.1:{port}"
    with log.open("w") as output:
        process = subprocess.Popen(
            launch.argv,
            env={**os.environ, **launch.env},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=ROOT,
        )
    try:
        deadline = time.monotonic() + 500  # beside other work it took 296 s
        while not starting.is_up(f"{url}/health", 5):
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.2)
        yield url
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        deadline = time.monotonic() + 60
        while members(process.pid):
            assert time.monotonic() < deadline, members(process.pid)
            time.sleep(0.1)


def members(group: int) -> list[str]:
    """The processes of this process group that are still running."""
    listing = subprocess.check_output(["ps", "-eo", "pgid=,stat=,args="], text=True)
    rows = [line.split(None, 2) for line in listing.splitlines()]
    return [row[2] for row in rows if row[0] == str(group) and not row[1].startswith("Z")]
