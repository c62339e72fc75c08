"""The small model with the fill-in-the-middle tokens of a code model, served by llama.cpp."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from askdocs import model
from gateway.engines import llamacpp
from gateway.errors import AskdocsError
from tests.gateway.conftest import free_port, is_up
from tests.parts import require

# Special tokens of SmolLM2 that no test and no template uses.
SPARE = ["<issue_closed>", "<jupyter_text>", "<jupyter_code>"]
FILLER = "<jupyter_output>"
ALIGNMENT = 32  # of the weights in a GGUF file, from its beginning


def field(name: str) -> bytes:
    """A string as GGUF writes it."""
    data = name.encode()
    return len(data).to_bytes(8, "little") + data


def with_markers(gguf: bytes, markers: tuple[str, ...]) -> bytes:
    """The same model, in which spare tokens are called like the markers.

    Names of other lengths move the weights, so one more name grows until they are aligned again.
    """
    before = len(gguf)
    for old, new in zip(SPARE, markers, strict=False):
        assert gguf.count(field(old)) == 1
        gguf = gguf.replace(field(old), field(new))
    gap = (before - len(gguf)) % ALIGNMENT
    return gguf.replace(field(FILLER), field(FILLER + "x" * gap))


@contextmanager
def serving(gguf: Path) -> Iterator[str]:
    """llama.cpp's server with this file: the base URL of its API."""
    port = free_port()
    launch = llamacpp.launch(
        gguf, port=port, served_name="small", context=512, threads=2, parallel=1
    )
    log = gguf.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            launch.argv,
            env={**os.environ, **launch.env},
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parents[2],
        )
    try:
        deadline = time.monotonic() + 60
        while not is_up(port):
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


@contextmanager
def serving_markers(folder: Path, markers: tuple[str, ...]) -> Iterator[str]:
    """A model that has the markers as tokens: the base URL of its API."""
    try:
        shipped = Path(model.shipped().source)
    except AskdocsError:
        shipped = Path()
    require(shipped.is_file(), "make setup")
    variant = folder / "variant.gguf"
    variant.write_bytes(with_markers(shipped.read_bytes(), markers))
    with serving(variant) as url:
        yield url
