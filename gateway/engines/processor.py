"""What this machine's processor computes with."""

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
AVX512 = {"avx512bw", "avx512vl", "avx512dq"}


def has_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether PyTorch multiplies bfloat16 with oneDNN here, as it does with AVX-512 or later.

    Elsewhere it is 8 times slower than float32, and 40 times in the backward pass. PyTorch asks
    the same by `torch.ops.mkldnn._is_mkldnn_bf16_supported()`; here it need not be installed.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return True
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return {*flags} >= AVX512 or "avx_ne_convert" in flags
