"""The vector instructions that this machine's CPU supports."""

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
AVX512 = {"avx512bw", "avx512vl", "avx512dq"}


def has_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether PyTorch multiplies bfloat16 with oneDNN here, which requires AVX-512 or later.

    Elsewhere it is 8 times slower than float32, and 40 times in the backward pass. PyTorch checks
    the same in `torch.ops.mkldnn._is_mkldnn_bf16_supported()`; here it need not be installed.
    """
    flags = _flags(cpuinfo)
    return flags is None or flags >= AVX512 or "avx_ne_convert" in flags


def prefers_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether bfloat16 is faster than float32 here, as with AMX.

    With only AVX-512, float32 trains 1.9 times as fast, even with its bfloat16 instructions
    (research/notebook.md#processors-without-bfloat16).
    """
    flags = _flags(cpuinfo)
    return flags is None or "amx_bf16" in flags


def _flags(cpuinfo: Path) -> set[str] | None:
    """The CPU's flags; None: unknown."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    flags = (line.partition(":")[2] for line in lines if line.startswith("flags"))
    return {*next(flags, "").split()}
