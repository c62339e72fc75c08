import subprocess
from pathlib import Path

import pytest

from askdocs import environments
from gateway.upstream.engines.processor import has_bfloat16, prefers_bfloat16
from tests.parts import require
from tests.starting import REPO


@pytest.mark.parametrize(
    ("flags", "has", "prefers"),
    [
        ("fpu sse2 avx2 fma", False, False),
        ("fpu avx2 avx512f avx512bw", False, False),
        ("fpu avx2 avx512f avx512dq avx512bw avx512vl", True, False),
        ("fpu avx2 avx512f avx512dq avx512bw avx512vl avx512_bf16", True, False),
        ("fpu avx2 avx512f avx512dq avx512bw avx512vl avx512_bf16 amx_bf16", True, True),
        ("fpu avx2 avx_ne_convert", True, False),
    ],
)
def test_bfloat16_needs_avx_512_or_what_came_after_it_and_is_fast_with_amx(
    tmp_path: Path, flags: str, has: bool, prefers: bool
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n")
    assert has_bfloat16(file) is has
    assert prefers_bfloat16(file) is prefers


def test_nothing_is_changed_where_the_processor_does_not_tell(tmp_path: Path) -> None:
    assert has_bfloat16(tmp_path / "none")
    assert prefers_bfloat16(tmp_path / "none")


@pytest.mark.slow
def test_pytorch_says_the_same_of_this_machine() -> None:
    python = environments.find(environments.trainer(), REPO / ".cache" / "train")
    require(python is not None, "python -m askdocs.environments train --home .cache/train")
    asks = "import torch; print(torch.ops.mkldnn._is_mkldnn_bf16_supported())"
    said = subprocess.run([python, "-Ic", asks], capture_output=True, text=True, check=True)
    assert said.stdout.split() == [str(has_bfloat16())]
