"""Facts about GPUs, from gpus.toml."""

import difflib
import re
import tomllib
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from core.errors import AskdocsError

FILE = Path(__file__).with_name("gpus.toml")


class Gpu(BaseModel):
    """A GPU."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_gib: float = Field(gt=0)
    """As reported by CUDA."""
    bandwidth_gbs: float = Field(gt=0)
    """Memory bandwidth, 10^9 bytes per second."""
    tflops: dict[str, float]
    """Dense, by type of weights and activations."""
    capability: float
    """CUDA compute capability."""
    seen: str
    """Part of the name that nvidia-smi shows."""
    read: date
    source: str

    @property
    def memory(self) -> int:
        """In bytes."""
        return int(self.memory_gib * 2**30)

    @property
    def dtype(self) -> str:
        """vLLM's compute dtype: bfloat16, or float16 if the GPU lacks bfloat16."""
        return "bf16" if "bf16" in self.tflops else "fp16"


GPUS = {
    name: Gpu.model_validate(facts)
    for name, facts in tomllib.loads(FILE.read_text(encoding="utf-8")).items()
}


def find(name: str) -> Gpu:
    """Raises AskdocsError: the GPU is unknown."""
    if name not in GPUS:
        near = _near(name)
        meant = f", did you mean {' or '.join(near)}? They are" if near else ", they are"
        raise AskdocsError(f"--gpu {name}: unknown GPU{meant} {', '.join(GPUS)}")
    return GPUS[name]


def _near(name: str) -> list[str]:
    """Names with this prefix in any case, or else similar names."""
    lower = {known.lower(): known for known in GPUS}
    begin = [known for known in lower if known.startswith(name.lower())]
    return [lower[known] for known in begin or difflib.get_close_matches(name.lower(), lower)]


def seen(device: str) -> str | None:
    """The GPU that nvidia-smi shows: the one whose longest name part matches."""
    names = [name for name, gpu in GPUS.items() if re.search(rf"\b{gpu.seen}\b", device)]
    return max(names, key=lambda name: len(GPUS[name].seen), default=None)
