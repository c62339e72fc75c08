"""The small model with the fill-in-the-middle tokens of a code model, served by llama.cpp."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import starting

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
def serving_markers(folder: Path, markers: tuple[str, ...]) -> Iterator[str]:
    """A model that has the markers as tokens: the base URL of its API."""
    variant = folder / "variant.gguf"
    variant.write_bytes(with_markers(starting.shipped().read_bytes(), markers))
    with starting.engine(folder, gguf=variant, name="small", context=512, parallel=1) as engine:
        yield engine.url
